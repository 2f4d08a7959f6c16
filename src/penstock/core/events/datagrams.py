"""What happens to datagrams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .event import Event, EventName, EventOfServer, ListenerAddress

if TYPE_CHECKING:
    from ..contract import ConnectionBase


@dataclass(slots=True, eq=False)
class DatagramHandled(Event):
    """One datagram was handled."""

    name = EventName.DATAGRAM

    connection: ConnectionBase[Any]
    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class ReceiveFailed(EventOfServer):
    """Datagrams cannot be received, and that is not the peer's fault.

    Attributes:
        error: The errno's name.
        first: Whether the trouble begins.
    """

    name = EventName.RECEIVE_FAILED

    error: str
    listener: ListenerAddress
    first: bool


@dataclass(slots=True, eq=False)
class DatagramDropped(EventOfServer):
    """Datagrams were dropped, on their way in or out."""

    name = EventName.DATAGRAM_DROPPED

    reason: str
    listener: ListenerAddress
    count: int = 1
