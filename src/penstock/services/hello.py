"""Hello: the server speaks first.

Wire format: on connect the server sends ``Got a connection from server LF``. The client answers with one line, which
is printed as ``peer: message``; then the server closes. The line may end in CR LF, with the stream, or in 400 ms of
silence. Needs connections.
"""

from dataclasses import replace
from typing import Any

from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, callbacks
from .definition import LINES, Definition
from .display import show

GREETING = b"Got a connection from server"


class Hello(Handler[Any]):
    """Greet, listen, leave."""

    def on_connect(self, conn: ConnectionBase[Any]) -> None:
        """Speak first."""
        conn.post(GREETING)

    def on_message(self, conn: ConnectionBase[Any], message: Any) -> None:
        """Print the answer and leave."""
        show(conn, message)
        conn.close()


def make() -> Service[bytes]:
    """Make the service."""
    # A datagram makes no connection, so there is no moment to speak first.
    return replace(callbacks(Hello, name="hello", codec=LINES), datagram=None)


DEFINITION = Definition("hello", "Send a greeting, print one reply, then close.", make)
