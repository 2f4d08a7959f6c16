"""Quote of the day (RFC 865): a short text, to each client.

Wire format: on connect the server sends one quotation of fewer than 512 ASCII characters, its lines ended by CR LF,
and closes; what the client sends is thrown away. Over UDP any datagram, the empty one too, is answered with one that
holds the quotation. It changes at midnight UTC.
"""

import time
from collections.abc import Callable

from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from .definition import Definition

MAX_CHARACTERS = 511
SECONDS_PER_DAY = 86400

QUOTES = (
    ("We are all in the gutter, but some of us are looking at the stars.", "Oscar Wilde"),
    ("The only way to get rid of a temptation is to yield to it.", "Oscar Wilde"),
    ("If I have seen further it is by standing on the shoulders of giants.", "Isaac Newton"),
    ("What's in a name? That which we call a rose\r\nBy any other name would smell as sweet.", "William Shakespeare"),
    ("Brevity is the soul of wit.", "William Shakespeare"),
    ("No man ever steps in the same river twice.", "Heraclitus"),
    ("It is a capital mistake to theorize before one has data.", "Arthur Conan Doyle"),
    ("The Analytical Engine has no pretensions whatever to originate anything.", "Ada Lovelace"),
    ("In the middle of the journey of our life\r\nI found myself within a dark wood.", "Dante Alighieri"),
    ("Simplify, simplify.", "Henry David Thoreau"),
    ("Begin at the beginning, and go on till you come to the end: then stop.", "Lewis Carroll"),
    ("A little learning is a dangerous thing.", "Alexander Pope"),
)


def quotation(day: int) -> bytes:
    """Return the quotation of a day, counted from the epoch."""
    text, author = QUOTES[day % len(QUOTES)]
    return f"{text}\r\n    -- {author}\r\n".encode("ascii")


def make(*, clock: Callable[[], float] = time.time) -> Service[bytes]:
    """Make the service.

    Args:
        clock: Tells the time, in seconds since the epoch.
    """

    class Quote(Handler[bytes]):
        """Quote and leave."""

        def on_connect(self, conn: ConnectionBase[bytes]) -> None:
            """Quote, whatever the peer has to say."""
            conn.post(quotation(int(clock()) // SECONDS_PER_DAY))
            conn.close()

    return callbacks(Quote, name="qotd", codec="raw")


DEFINITION = Definition("qotd", "Send a quotation of the day, then close (RFC 865).", make)
