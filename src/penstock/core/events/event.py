"""What every event is, and what is told of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from ...address import Address
    from ..contract import ConnectionBase


class EventName(StrEnum):
    """Every kind of event there is, as logs call it."""

    LISTENING = "listening"
    ACCEPTED = "accepted"
    TAKEN_OVER = "taken_over"
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


class EventOfServer(Event):
    """One that concerns the server."""

    __slots__ = ()

    @property
    def connection(self) -> None:
        """None: it concerns the server."""
        return None


class Observer(Protocol):
    """Is told of every event. Called on the engine's thread(s): be quick and thread-safe.

    What it raises is logged and ends nothing.
    """

    def observe(self, event: Event, /) -> None:
        """Take note of one event."""


class CountingObserver:
    """An observer to whom the number of events of some kinds is enough.

    Where that is true of all observers, an engine may make no such event: it tells how many there were, of several
    that came at once after the last of them.
    """

    def only_counts(self, kind: type[Event]) -> bool:
        """Say whether that is so of a kind, as of now."""
        raise NotImplementedError

    def count(self, kind: type[Event], count: int) -> None:
        """Count ``count`` events of one kind, without an object for each."""


class Tally(Protocol):
    """Tells all observers how often something happened, where that is all they want to know. Safe from every thread."""

    def only_counts(self, kind: type[Event]) -> bool:
        """Say whether nobody is told of the events of a kind themselves, as of now."""

    def count(self, kind: type[Event], count: int) -> None:
        """Tell the observers of ``count`` events of one kind."""
