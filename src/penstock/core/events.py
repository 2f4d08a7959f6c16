"""What happens, under names from one list: logs, counters, metrics and tests all read the same events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .contract import ConnectionBase


class EventName(StrEnum):
    """Every kind of event there is."""

    LISTENING = "listening"  # fields: address
    ACCEPTED = "accepted"
    REFUSED = "refused"  # fields: reason (a Refusal), peer, listener
    ACCEPT_FAILED = "accept_failed"  # fields: error (an errno name), listener, first (whether the trouble begins)
    ACCEPT_RECOVERED = "accept_recovered"  # the trouble is over; fields: failures, duration_s
    READING_PAUSED = "reading_paused"  # output is over the high watermark
    READING_RESUMED = "reading_resumed"
    MESSAGE_DROPPED = "message_dropped"  # a slow peer will not get it; fields: policy, count, size_bytes
    HANDLER_FAILED = "handler_failed"  # fields: error (the exception)
    PROTOCOL_ERROR = "protocol_error"  # fields: error (the codec's exception)
    CLOSED = "closed"  # fields: reason, bytes_in, bytes_out, duration_s
    RECEIVE_FAILED = "receive_failed"  # of datagrams; fields: error (an errno name), listener, first (as above)
    DATAGRAM = "datagram"  # one datagram was handled; fields: listener
    DATAGRAM_DROPPED = "datagram_dropped"  # fields: reason, listener, count where it is more than one
    STALLED = "stalled"  # a handler holds the loop; fields: frames (of whoever does, innermost first)
    STALL_ENDED = "stall_ended"  # it does no longer; fields: duration_s
    PRESSURE = "pressure"  # memory is shorter, or less short, than before; fields: pressure, used_bytes, limit_bytes
    SUSPENDED = "suspended"  # the server stopped accepting
    RESUMED = "resumed"
    DRAINING = "draining"
    STOPPED = "stopped"


# Of each connection and datagram. Looked up once: on Python 3.11 a member of an enum costs a tenth of a microsecond,
# and more, each time it is named.
_ACCEPTED, _CLOSED, _DATAGRAM = EventName.ACCEPTED, EventName.CLOSED, EventName.DATAGRAM


@dataclass(slots=True, eq=False)  # not frozen: that costs three times as much to make, and two are made a connection
class Event:
    """One thing that happened; not to be changed.

    Attributes:
        name: Which kind.
        connection: To which connection, or None when it concerns the server.
        fields: What the kind says it carries.
    """

    name: EventName
    connection: ConnectionBase[Any] | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


class Observer(Protocol):
    """Whoever wants to know. Called on the engine's thread(s): be quick and thread-safe.

    What it raises is logged and ends nothing.
    """

    def observe(self, event: Event, /) -> None:
        """Take note of one event."""


class Stats:
    """Counts of what happened: the server's own first observer.

    Attributes:
        accepted: Connections taken from the backlog.
        refused: Peers that were not let in, by reason.
        closed: Connections that ended, by reason.
        messages_dropped: Messages that slow peers were not sent, by policy.
        handler_errors: Handlers that raised.
        datagrams: Datagrams handled.
        datagrams_dropped: Datagrams that were not, by reason.
        stalls: How often a handler held the loop for too long.
        stalled: Whether one does now.
        stalled_s: How long they did together, of those that do no longer.
        accept_errors: Failures of accept(2), by errno name.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.messages_dropped: Counter[str] = Counter()
        self.handler_errors = 0
        self.datagrams = 0
        self.datagrams_dropped: Counter[str] = Counter()
        self.accept_errors: Counter[str] = Counter()
        self.stalls = 0
        self.stalled = False
        self.stalled_s = 0.0

    def observe(self, event: Event, /) -> None:
        """Count one event. Engines call it under their own lock where they have several threads."""
        if event.name is _ACCEPTED:
            self.accepted += 1
        elif event.name is _CLOSED:
            self.closed[str(event.fields["reason"])] += 1
        elif event.name is _DATAGRAM:
            self.datagrams += 1
        else:
            self._count(event)

    def _count(self, event: Event) -> None:
        match event.name:
            case EventName.REFUSED:
                self.refused[str(event.fields["reason"])] += 1
            case EventName.MESSAGE_DROPPED:
                self.messages_dropped[str(event.fields["policy"])] += _count_of(event)
            case EventName.HANDLER_FAILED:
                self.handler_errors += 1
            case EventName.DATAGRAM_DROPPED:
                self.datagrams_dropped[str(event.fields["reason"])] += _count_of(event)
            case EventName.ACCEPT_FAILED:
                self.accept_errors[str(event.fields["error"])] += 1
            case EventName.STALLED:
                self.stalls += 1
                self.stalled = True
            case EventName.STALL_ENDED:
                self.stalled = False
                self.stalled_s += _seconds_of(event)
            case _:
                pass


def _count_of(event: Event) -> int:
    count = event.fields.get("count", 1)
    assert isinstance(count, int)
    return count


def _seconds_of(event: Event) -> float:
    duration_s = event.fields["duration_s"]
    assert isinstance(duration_s, float)
    return duration_s
