"""Counts of what happened: the server's own first observer."""

from __future__ import annotations

from collections import Counter

from ..core.events import (
    Accepted,
    AcceptFailed,
    BadMessage,
    Closed,
    CodecFailed,
    CountingObserver,
    DatagramDropped,
    DatagramHandled,
    Event,
    FramesSkipped,
    HandlerFailed,
    MessageDropped,
    OrphanCancelled,
    Orphaned,
    OrphanOverdue,
    Refused,
    Stalled,
    StallEnded,
    TakenOver,
    TaskFailed,
)


class Stats(CountingObserver):
    """Counts of what happened.

    Attributes:
        accepted: Connections taken from the backlog.
        taken_over: Connections that were another process's before. There they stand under ``closed``, as
            ``handed_over``.
        refused: Peers that were not let in, by reason.
        closed: Connections that ended, by reason.
        messages_dropped: Messages that slow peers were not sent, by policy.
        handler_errors: Handlers that raised.
        task_errors: Background tasks of connections that raised.
        codec_errors: Codecs that failed, or broke their contract.
        frames_skipped: Frames that were passed over because they were too long.
        bad_messages: Messages that could not be decoded, and were passed over.
        orphaned: Handlers that outlived their connections. How many do now: ``server.orphans``.
        orphans_overdue: Of them, those that were at work for longer than ``timeouts.after_close_s``.
        orphans_cancelled: Of them, those that were cancelled.
        datagrams: Datagrams handled. Where nothing wants an event for each, those that were read at once are counted
            when all of them were handled: a handler finds its own, and those right before it, not yet counted.
        datagrams_dropped: Datagrams that were not, by reason.
        stalls: How often a handler held the loop for too long.
        stalled: Whether one does now.
        stalled_s: How long they did together, of those that do no longer.
        accept_errors: Failures of accept(2), by errno name.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.taken_over = 0
        self.refused: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.messages_dropped: Counter[str] = Counter()
        self.handler_errors = 0
        self.task_errors = 0
        self.codec_errors = 0
        self.frames_skipped = 0
        self.bad_messages = 0
        self.orphaned = 0
        self.orphans_overdue = 0
        self.orphans_cancelled = 0
        self.datagrams = 0
        self.datagrams_dropped: Counter[str] = Counter()
        self.accept_errors: Counter[str] = Counter()
        self.stalls = 0
        self.stalled = False
        self.stalled_s = 0.0

    def observe(self, event: Event, /) -> None:
        """Count one event. Engines call it under their own lock where they have several threads."""
        kind = type(event)
        if kind is Accepted:
            self.accepted += 1
        elif kind is Closed:
            self.closed[str(event.reason)] += 1  # type: ignore[attr-defined]  # mypy narrows no type by identity
        elif kind is DatagramHandled:
            self.datagrams += 1
        else:
            self._count(event)

    def only_counts(self, kind: type[Event]) -> bool:
        """Say whether the number of a kind's events is enough: not where a class of the user's observes them."""
        return kind is DatagramHandled and type(self).observe is Stats.observe

    def count(self, kind: type[Event], count: int) -> None:
        """Count events of that kind."""
        if kind is DatagramHandled:
            self.datagrams += count

    def _count(self, event: Event) -> None:
        match event:
            case TakenOver():
                self.taken_over += 1
            case Refused():
                self.refused[str(event.reason)] += 1
            case MessageDropped():
                self.messages_dropped[str(event.policy)] += event.count
            case HandlerFailed():
                self.handler_errors += 1
            case TaskFailed():
                self.task_errors += 1
            case CodecFailed():
                self.codec_errors += 1
            case Orphaned():
                self.orphaned += 1
            case OrphanOverdue():
                self.orphans_overdue += 1
            case OrphanCancelled():
                self.orphans_cancelled += 1
            case BadMessage():
                self.bad_messages += 1
            case FramesSkipped():
                self.frames_skipped += event.count
            case DatagramDropped():
                self.datagrams_dropped[str(event.reason)] += event.count
            case AcceptFailed():
                self.accept_errors[event.error] += 1
            case Stalled():
                self.stalls += 1
                self.stalled = True
            case StallEnded():
                self.stalled = False
                self.stalled_s += event.duration_s
            case _:
                pass
