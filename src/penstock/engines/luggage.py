"""What is told between a connection that moves and its server, on every engine."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..address import Address, Peer
from ..codecs.base import Codec
from ..config import Limits, Timeouts
from ..core.handlers import Handler
from ..core.handover.law import Ages
from ..core.inbound import Remembered

if TYPE_CHECKING:
    from ..core.handover.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Luggage:
    """What only a connection itself can say of its bytes.

    Attributes:
        pending: What was read and no message has taken.
        remembered: What the codec knows of that.
        owed: What was sent and the kernel has not taken.
        waiting: What waits behind that, as its queue tells it.
        state: What its handler has to say.
    """

    pending: bytes
    remembered: Remembered | None
    owed: bytes
    waiting: tuple[bytes, list[int], dict[int, Hashable]]
    state: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection as it was told, checked, and with its clocks as of now.

    Attributes:
        snapshot: What was told.
        ages: With the time since then.
        local: The address at this end.
        peer: Who is at the other end.
        codec: What cuts its stream.
        remembered: What that knows of what is pending.
        timeouts: Those it goes by.
        limits: Likewise.
        names: The keys of what waits, as `SendQueue.recall` takes them.
        state: What the handler in the other process has said, as this one's takes it.
    """

    snapshot: Snapshot
    ages: Ages
    local: Address
    peer: Peer
    codec: Codec[Any]
    remembered: Remembered | None
    timeouts: Timeouts
    limits: Limits
    names: Mapping[int, Hashable]
    state: Any


@dataclass(frozen=True, slots=True)
class Late:
    """What has happened to a connection while it moved, and is to be done where it is now.

    Attributes:
        data: What was sent, whole frames.
        closes: It was closed.
        lost: Why it was ended at once; empty where it was not.
    """

    data: bytes
    closes: bool
    lost: str = ""


# Why a connection stays, see `made_of`.
EXCHANGED: Final = "its handler is another one, by set_handler"


def made_of(conn: Any, made: Handler[Any] | None, before: Handler[Any], handler: Handler[Any]) -> Handler[Any] | None:
    """Return the handler that was made for a connection, if it may move, and has another one from now on.

    The next process makes one of the service's, whom the state of another one tells nothing: such a connection stays.

    Args:
        conn: The connection.
        made: What this has returned before; None where it has not.
        before: The handler that it has.
        handler: The one that it has from now on.
    """
    if getattr(conn.server, "mover", None) is None:
        return None
    first = before if made is None else made
    return None if first is handler else first


def take_state(conn: Any, callbacks: Handler[Any] | None, state: Any, places: Sequence[Any]) -> None:
    """Have a connection in its groups and under its keys again, then its handler take over."""
    if places:
        conn.server.take_places(conn, places)
    if callbacks is None:
        conn.state = state
    else:
        callbacks.on_takeover(conn, state)
