"""What happens to one connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...config import OnFull
from ...errors import CodecError, HandshakeError, RemoteProtocolError
from ...reasons import CloseReason
from ..refused import refusal_of
from .event import Event, EventName, ListenerAddress

if TYPE_CHECKING:
    from ..contract import ConnectionBase


@dataclass(slots=True, eq=False)
class Accepted(Event):
    """A connection was let in."""

    name = EventName.ACCEPTED

    connection: ConnectionBase[Any]
    listener: ListenerAddress


@dataclass(slots=True, eq=False)
class TakenOver(Event):
    """A connection that was let in by another process goes on in this one."""

    name = EventName.TAKEN_OVER

    connection: ConnectionBase[Any]


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
    policy: OnFull
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
    """What comes before a connection can be used has failed, TLS or PROXY: no handler is told of it. It closes."""

    name = EventName.HANDSHAKE_FAILED

    connection: ConnectionBase[Any]
    error: HandshakeError


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


def not_decoded(conn: ConnectionBase[Any], error: RemoteProtocolError | CodecError) -> Event:
    """Return the event for what was received and cannot be decoded: the peer's doing, or the codec's own."""
    return CodecFailed(conn, error) if isinstance(error, CodecError) else FramingBroken(conn, error)


def not_handled(conn: ConnectionBase[Any], error: BaseException) -> Event:
    """Return the event for what a handler raised: its failure, its codec's, or its word about the peer."""
    if isinstance(error, CodecError):
        return CodecFailed(conn, error)
    return HandlerFailed(conn, error) if refusal_of(error) is None else FramingBroken(conn, error)
