"""What happens to a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...reasons import Refusal
from .event import EventName, EventOfServer, ListenerAddress

if TYPE_CHECKING:
    from ...address import Address, Peer
    from ..memory import Pressure


@dataclass(slots=True, eq=False)
class Listening(EventOfServer):
    """An address is listened on."""

    name = EventName.LISTENING

    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class Refused(EventOfServer):
    """A peer was not let in."""

    name = EventName.REFUSED

    reason: Refusal
    peer: Peer
    listener: ListenerAddress


class _At(NamedTuple):
    """A listener of which no more is known than where it is."""

    address: Address


def refused_at(reason: Refusal, peer: Peer, address: Address) -> Refused:
    """Return the event of a peer that a connection knows, and not its listener: one whom a proxy speaks for."""
    return Refused(reason, peer, _At(address))


@dataclass(slots=True, eq=False)
class AcceptFailed(EventOfServer):
    """accept(2) failed, and not for the peer's fault.

    Attributes:
        error: The errno's name.
        first: Whether the trouble begins.
    """

    name = EventName.ACCEPT_FAILED

    error: str
    listener: ListenerAddress
    first: bool


@dataclass(slots=True, eq=False)
class AcceptRecovered(EventOfServer):
    """The trouble with accept(2) is over."""

    name = EventName.ACCEPT_RECOVERED

    failures: int
    duration_s: float


@dataclass(slots=True, eq=False)
class Stalled(EventOfServer):
    """A handler holds the loop; the frames are those of the code that does, innermost first."""

    name = EventName.STALLED

    frames: Sequence[str]


@dataclass(slots=True, eq=False)
class StallEnded(EventOfServer):
    """It holds it no longer."""

    name = EventName.STALL_ENDED

    duration_s: float


@dataclass(slots=True, eq=False)
class PressureChanged(EventOfServer):
    """Memory is shorter, or less short, than before."""

    name = EventName.PRESSURE

    pressure: Pressure
    used_bytes: int
    limit_bytes: int


@dataclass(slots=True, eq=False)
class Suspended(EventOfServer):
    """The server stopped accepting."""

    name = EventName.SUSPENDED


@dataclass(slots=True, eq=False)
class Resumed(EventOfServer):
    """The server accepts again."""

    name = EventName.RESUMED


@dataclass(slots=True, eq=False)
class Draining(EventOfServer):
    """The server began to drain; so many connections were open."""

    name = EventName.DRAINING

    connections: int


@dataclass(slots=True, eq=False)
class Stopped(EventOfServer):
    """The server has ended."""

    name = EventName.STOPPED
