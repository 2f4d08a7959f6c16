"""Character generator (RFC 864): text without end.

Wire format: on connect the server begins to send lines of 72 ASCII characters and CR LF, each line beginning one
character further in the ring of the 95 printable ones. It ends when the peer leaves or ends its side; what the peer
sends is thrown away. A peer that does not read is not written to: the server waits, at most ``--timeout-write``. Over
UDP any datagram, the empty one too, is answered with one of 0 to 512 characters, as many as chance has it.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.contract import Connection
from ..core.decorators import on_connection
from ..core.handlers import ConnectionHandler, MessageHandler
from ..core.service import Service
from ..errors import EndOfStreamError
from .definition import Definition

if TYPE_CHECKING:
    from ..core.blocking import BlockingConnection

LINE_CHARACTERS = 72
MAX_DATAGRAM_CHARACTERS = 512

_RING = bytes(range(0x20, 0x7F))
_TWICE = _RING * 2
# After as many lines as the ring has characters everything begins again.
PAGE = b"".join([_TWICE[start : start + LINE_CHARACTERS] + b"\r\n" for start in range(len(_RING))])


def make(*, characters: Callable[[], int] = lambda: random.randint(0, MAX_DATAGRAM_CHARACTERS)) -> Service[bytes]:  # noqa: S311  # no secret
    """Make the service.

    Args:
        characters: Says how many a datagram has, from 0 to 512.
    """

    def answer(_message: bytes) -> bytes:
        return PAGE[: characters()]

    return replace(
        on_connection(codec="raw", name="chargen")(generate),
        datagram=MessageHandler(answer, takes_connection=False, is_async=False),
        threaded=ConnectionHandler(generate_in_thread, is_async=False),
    )


async def generate(conn: Connection[bytes]) -> None:
    """Send pages until the peer's EOF, or the server's drain."""
    conn.set_timeouts(first_message_s=None)  # the peer has nothing to say
    listener = asyncio.create_task(_ignore(conn))
    try:
        while True:
            await conn.send(PAGE)
            if listener.done():
                return
    finally:
        listener.cancel()


async def _ignore(conn: Connection[bytes]) -> None:
    async for _ in conn:
        pass


def generate_in_thread(conn: "BlockingConnection[bytes]") -> None:
    """Do the same in a thread of its own: between two pages, throw away what the peer sent."""
    conn.set_timeouts(first_message_s=None)
    while True:
        conn.send(PAGE)
        try:
            conn.receive(timeout_s=0)
        except TimeoutError:
            pass
        except EndOfStreamError:
            return


DEFINITION = Definition("chargen", "Send lines of characters until the client leaves (RFC 864).", make)
