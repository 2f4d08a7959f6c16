"""Greeter: a guest has five seconds to say the word.

Wire format: the client sends one line. ``1 LF`` is answered with ``welcome to server! LF``, any other line with
``please go out! LF``; then the server closes. The line may end in CR LF, with the stream, or in 400 ms of silence: so
``1`` alone is answered, too. Five seconds without a whole line are logged as ``time out``, and the server closes
without a word. Datagrams are answered likewise, without the LF; a datagram is not waited for.
"""

import logging

from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from ..core.timeouts import Timeout
from .definition import LINES, Definition

PATIENCE_S = 5.0
WORD = b"1"
WELCOME = b"welcome to server!"
FAREWELL = b"please go out!"

logger = logging.getLogger("penstock")


class Greeter(Handler[bytes]):
    """Greet or send away."""

    def on_connect(self, conn: ConnectionBase[bytes]) -> None:
        """Begin to wait."""
        conn.set_timeouts(first_message_s=PATIENCE_S)

    def on_message(self, conn: ConnectionBase[bytes], message: bytes) -> bytes:
        """Answer, and close."""
        conn.close()
        return WELCOME if message.rstrip(b"\r\n") == WORD else FAREWELL

    def on_timeout(self, conn: ConnectionBase[bytes], which: Timeout) -> None:
        """Note who never spoke; the server closes."""
        if which is Timeout.FIRST_MESSAGE:
            logger.info("time out", extra={"event": "time_out", "peer": str(conn.peer)})


def make() -> Service[bytes]:
    """Make the service."""
    return callbacks(Greeter, name="greeter", codec=LINES)


DEFINITION = Definition("greeter", "Welcome clients that send 1 within 5 seconds; turn the others away.", make)
