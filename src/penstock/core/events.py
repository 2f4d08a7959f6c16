"""What happens: one small class for each kind of event, with its fields. Logs, counters and tests read the same ones.

An event is not to be changed. It is no frozen dataclass all the same: that costs three times as much to make, and two
are made for each connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from ..config import SlowConsumer
from ..errors import CodecError, RemoteProtocolError, TlsError
from ..reasons import CloseReason, Refusal
from .refused import refusal_of

if TYPE_CHECKING:
    from ..address import Address, Peer
    from .contract import ConnectionBase
    from .memory import Pressure


class EventName(StrEnum):
    """Every kind of event there is, as logs call it."""

    LISTENING = "listening"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    ACCEPT_FAILED = "accept_failed"
    ACCEPT_RECOVERED = "accept_recovered"
    READING_PAUSED = "reading_paused"
    READING_RESUMED = "reading_resumed"
    MESSAGE_DROPPED = "message_dropped"
    HANDLER_FAILED = "handler_failed"
    PROTOCOL_ERROR = "protocol_error"
    CODEC_FAILED = "codec_failed"
    FRAMES_SKIPPED = "frames_skipped"
    HANDSHAKE_FAILED = "handshake_failed"
    BAD_MESSAGE = "bad_message"
    TASK_FAILED = "task_failed"
    CLOSED = "closed"
    ORPHANED = "orphaned"
    ORPHAN_OVERDUE = "orphan_overdue"
    ORPHAN_CANCELLED = "orphan_cancelled"
    RECEIVE_FAILED = "receive_failed"
    DATAGRAM = "datagram"
    DATAGRAM_DROPPED = "datagram_dropped"
    STALLED = "stalled"
    STALL_ENDED = "stall_ended"
    PRESSURE = "pressure"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    DRAINING = "draining"
    STOPPED = "stopped"


class ListenerAddress(Protocol):
    """As much of a listener as an event says of it."""

    @property
    def address(self) -> Address:
        """The address that the socket has."""


class Event:
    """One thing that happened.

    Attributes:
        name: Which kind, as logs call it.
        connection: To which connection; None when it concerns the server.
    """

    __slots__ = ()

    name: ClassVar[EventName]
    __match_args__: ClassVar[tuple[str, ...]] = ()

    if TYPE_CHECKING:

        @property
        def connection(self) -> ConnectionBase[Any] | None:
            """To which connection; None when it concerns the server."""

    def fields(self) -> dict[str, object]:
        """Return what it says beside its connection, by name, in the order of its class."""
        return {name: getattr(self, name) for name in self.__match_args__ if name != "connection"}


class _OfServer(Event):
    __slots__ = ()

    @property
    def connection(self) -> None:
        """None: it concerns the server."""
        return None


# -- of connections ----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Accepted(Event):
    """A connection was let in."""

    name = EventName.ACCEPTED

    connection: ConnectionBase[Any]
    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class ReadingPaused(Event):
    """Output is over its high watermark: the connection reads no further."""

    name = EventName.READING_PAUSED

    connection: ConnectionBase[Any]


@dataclass(slots=True, eq=False)
class ReadingResumed(Event):
    """Output is at its low watermark again: the connection reads on."""

    name = EventName.READING_RESUMED

    connection: ConnectionBase[Any]


@dataclass(slots=True, eq=False)
class MessageDropped(Event):
    """A slow peer will not get some of its messages."""

    name = EventName.MESSAGE_DROPPED

    connection: ConnectionBase[Any]
    policy: SlowConsumer
    count: int
    size_bytes: int


@dataclass(slots=True, eq=False)
class HandlerFailed(Event):
    """A handler raised, or could not be made: then there is no connection."""

    name = EventName.HANDLER_FAILED

    connection: ConnectionBase[Any] | None
    error: BaseException


@dataclass(slots=True, eq=False)
class FramingBroken(Event):
    """The peer broke the framing, or the protocol; the error is the codec's, or the handler's."""

    name = EventName.PROTOCOL_ERROR

    connection: ConnectionBase[Any]
    error: BaseException


@dataclass(slots=True, eq=False)
class FramesSkipped(Event):
    """Frames were passed over because they were too long, as the codec was told to."""

    name = EventName.FRAMES_SKIPPED

    connection: ConnectionBase[Any]
    count: int


@dataclass(slots=True, eq=False)
class HandshakeFailed(Event):
    """What comes before a connection can be used has failed, TLS say: no handler is told of it. It closes."""

    name = EventName.HANDSHAKE_FAILED

    connection: ConnectionBase[Any]
    error: TlsError


@dataclass(slots=True, eq=False)
class BadMessage(Event):
    """A message could not be decoded, and was passed over: the service has it so (``on_bad_message``)."""

    name = EventName.BAD_MESSAGE

    connection: ConnectionBase[Any]
    error: RemoteProtocolError


@dataclass(slots=True, eq=False)
class CodecFailed(Event):
    """A codec failed, or broke its contract; at a datagram that was received there is no connection."""

    name = EventName.CODEC_FAILED

    connection: ConnectionBase[Any] | None
    error: CodecError


@dataclass(slots=True, eq=False)
class TaskFailed(Event):
    """A background task raised: of a connection, or of the application, and then there is no connection."""

    name = EventName.TASK_FAILED

    connection: ConnectionBase[Any] | None
    task: str
    error: BaseException


@dataclass(slots=True, eq=False)
class Closed(Event):
    """A connection has ended, and its handler too.

    Attributes:
        bytes_in, bytes_out: As of the connection.
        duration_s: How long it was open.
        detail: What its handler said about the close, escaped and cut at 256 bytes; empty for nothing. What a peer has
            sent may be in it: it is no label of a metric.
    """

    name = EventName.CLOSED

    connection: ConnectionBase[Any]
    reason: CloseReason | None
    bytes_in: int
    bytes_out: int
    duration_s: float
    detail: str = ""

    def fields(self) -> dict[str, object]:
        """As of every event; without ``detail`` where there is none."""
        fields = Event.fields(self)
        if not self.detail:
            del fields["detail"]
        return fields


@dataclass(slots=True, eq=False)
class Orphaned(Event):
    """A connection has ended, and its handler is still at work.

    Attributes:
        place: Where it waits.
    """

    name = EventName.ORPHANED

    connection: ConnectionBase[Any]
    place: str


@dataclass(slots=True, eq=False)
class OrphanOverdue(Event):
    """A handler has been at work for ``timeouts.after_close_s`` since its connection, or its last message, ended.

    Attributes:
        place: Where it waits.
        waited_s: How long ago the connection ended.
    """

    name = EventName.ORPHAN_OVERDUE

    connection: ConnectionBase[Any]
    place: str
    waited_s: float


@dataclass(slots=True, eq=False)
class OrphanCancelled(Event):
    """A handler whose connection has ended is cancelled: it is overdue, or there were too many of them.

    Attributes:
        place: Where it waited.
        waited_s: How long ago the connection ended.
    """

    name = EventName.ORPHAN_CANCELLED

    connection: ConnectionBase[Any]
    place: str
    waited_s: float


# -- of datagrams ------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class DatagramHandled(Event):
    """One datagram was handled."""

    name = EventName.DATAGRAM

    connection: ConnectionBase[Any]
    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class ReceiveFailed(_OfServer):
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
class DatagramDropped(_OfServer):
    """Datagrams were dropped, on their way in or out."""

    name = EventName.DATAGRAM_DROPPED

    reason: str
    listener: ListenerAddress
    count: int = 1


# -- of the server -----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Listening(_OfServer):
    """An address is listened on."""

    name = EventName.LISTENING

    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class Refused(_OfServer):
    """A peer was not let in."""

    name = EventName.REFUSED

    reason: Refusal
    peer: Peer
    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class AcceptFailed(_OfServer):
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
class AcceptRecovered(_OfServer):
    """The trouble with accept(2) is over."""

    name = EventName.ACCEPT_RECOVERED

    failures: int
    duration_s: float


@dataclass(slots=True, eq=False)
class Stalled(_OfServer):
    """A handler holds the loop; the frames are those of the code that does, innermost first."""

    name = EventName.STALLED

    frames: Sequence[str]


@dataclass(slots=True, eq=False)
class StallEnded(_OfServer):
    """It holds it no longer."""

    name = EventName.STALL_ENDED

    duration_s: float


@dataclass(slots=True, eq=False)
class PressureChanged(_OfServer):
    """Memory is shorter, or less short, than before."""

    name = EventName.PRESSURE

    pressure: Pressure
    used_bytes: int
    limit_bytes: int


@dataclass(slots=True, eq=False)
class Suspended(_OfServer):
    """The server stopped accepting."""

    name = EventName.SUSPENDED


@dataclass(slots=True, eq=False)
class Resumed(_OfServer):
    """The server accepts again."""

    name = EventName.RESUMED


@dataclass(slots=True, eq=False)
class Draining(_OfServer):
    """The server began to drain; so many connections were open."""

    name = EventName.DRAINING

    connections: int


@dataclass(slots=True, eq=False)
class Stopped(_OfServer):
    """The server has ended."""

    name = EventName.STOPPED


EVENTS: Final[Mapping[EventName, type[Event]]] = {
    kind.name: kind
    for kind in (
        Accepted,
        ReadingPaused,
        ReadingResumed,
        MessageDropped,
        HandlerFailed,
        FramingBroken,
        CodecFailed,
        FramesSkipped,
        HandshakeFailed,
        BadMessage,
        TaskFailed,
        Closed,
        Orphaned,
        OrphanOverdue,
        OrphanCancelled,
        DatagramHandled,
        ReceiveFailed,
        DatagramDropped,
        Listening,
        Refused,
        AcceptFailed,
        AcceptRecovered,
        Stalled,
        StallEnded,
        PressureChanged,
        Suspended,
        Resumed,
        Draining,
        Stopped,
    )
}


def not_decoded(conn: ConnectionBase[Any], error: RemoteProtocolError | CodecError) -> Event:
    """Return the event for what was received and cannot be decoded: the peer's doing, or the codec's own."""
    return CodecFailed(conn, error) if isinstance(error, CodecError) else FramingBroken(conn, error)


def not_handled(conn: ConnectionBase[Any], error: BaseException) -> Event:
    """Return the event for what a handler raised: its failure, its codec's, or its word about the peer."""
    if isinstance(error, CodecError):
        return CodecFailed(conn, error)
    return HandlerFailed(conn, error) if refusal_of(error) is None else FramingBroken(conn, error)


class Observer(Protocol):
    """Is told of every event. Called on the engine's thread(s): be quick and thread-safe.

    What it raises is logged and ends nothing.
    """

    def observe(self, event: Event, /) -> None:
        """Take note of one event."""
