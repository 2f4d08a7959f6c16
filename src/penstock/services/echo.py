"""Echo (RFC 862): what came goes back.

Wire format: a byte stream, returned as it is; with ``--codec``, messages, returned one by one. With ``--prefix
'Echo=>'`` those bytes stand before each message: over the raw stream a message is whatever one read brought, so that
a prefix there says where the reads were cut, and nothing else. Over datagrams every datagram is returned, the empty
one too.

The peer's EOF ends the connection once everything has been sent back.
"""

from typing import Any

from ..config import Option, Text
from ..core.decorators import on_message
from ..core.service import Service
from .definition import Definition


def make(*, prefix: str = "") -> Service[Any]:
    """Make the service.

    Args:
        prefix: Stands before each message. Then messages have to be bytes, as they are for every codec of plain bytes.
    """
    before = prefix.encode("utf-8", "surrogateescape")

    def echo(message: Any) -> Any:
        """Send back what came."""
        return message

    def echo_prefixed(message: bytes) -> bytes:
        """Send back what came, after a prefix."""
        return before + message

    decorate = on_message(codec="raw", name="echo")
    return decorate(echo_prefixed) if before else decorate(echo)


DEFINITION = Definition(
    "echo",
    "Echo everything back (RFC 862).",
    make,
    (Option(name="prefix", kind=Text("TEXT"), help="Prefix for each message", default=""),),
)
