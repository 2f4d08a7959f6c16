"""Discard (RFC 863): what came is thrown away.

Wire format: a byte stream, or datagrams, of which nothing is answered. The peer's EOF ends the connection.
"""

from ..core.decorators import on_message
from ..core.service import Service
from .definition import Definition


def make() -> Service[bytes]:
    """Make the service."""
    return on_message(codec="raw", name="discard")(discard)


def discard(_message: object) -> None:
    """Throw it away."""


DEFINITION = Definition("discard", "Discard everything (RFC 863).", make)
