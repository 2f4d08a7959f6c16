"""Print: what peers say, on standard output.

Wire format: one message per LF, of which nothing is answered; a line may end in CR LF, or in 400 ms of silence as long
as the peer has ended none, and the last one need not end at all. A datagram is a message, the empty one too.

Each message is printed as ``peer: message`` on a line of its own: ``127.0.0.1:51234: hello``. What is not UTF-8, and
what would move a terminal's cursor, is printed as its escape. ``--once`` serves one client's first message,
``--one-at-a-time`` one client after the other.
"""

from typing import Any

from ..core.contract import ConnectionBase
from ..core.decorators import on_message
from ..core.service import Service
from .definition import LINES, Definition
from .display import show


def make() -> Service[bytes]:
    """Make the service."""
    return on_message(codec=LINES, name="print")(print_message)


def print_message(conn: ConnectionBase[Any], message: Any) -> None:
    """Print each message with its sender."""
    show(conn, message)


DEFINITION = Definition("print", "Print each message with its sender.", make)
