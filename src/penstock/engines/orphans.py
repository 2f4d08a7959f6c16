"""Looks after the handlers that outlive their peers: tells of them, and has those cancelled that the gate chooses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from math import inf
from typing import Any

from ..core.contract import Clock, TimerHandle
from ..core.events import Event, OrphanCancelled, Orphaned, OrphanOverdue
from ..core.gate import Gate
from ..core.orphans import Orphan


class OrphanKeeper:
    """The orphans of one server, as its engine meets them.

    Args:
        gate: Counts them, and chooses.
        clock: Where time comes from.
        emit: Told of each.
        cancels: Those that are overdue are cancelled.
        lock: Guards the gate and what is emitted, where there are several threads.
    """

    def __init__(
        self,
        gate: Gate,
        clock: Clock,
        emit: Callable[[Event], None],
        *,
        cancels: bool,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._gate = gate
        self._orphans = gate.orphans
        self._clock = clock
        self._emit = emit
        self._cancels = cancels
        self._lock = lock or contextlib.nullcontext()
        # By the number of each: when it is overdue, and how many messages it had begun when that was reckoned.
        self._due: dict[int, tuple[float, int]] = {}
        self._timer: TimerHandle | None = None
        self._look_at = inf

    def join(self, orphan: Orphan) -> None:
        """Take one in, unless its handler has ended meanwhile."""
        with self._lock:
            if orphan.handler_ended:
                return
            now = self._clock.time()
            self._orphans.add(orphan, now)
            self._reckon(orphan, now)
            self._emit(Orphaned(orphan, orphan.handler_place()))  # type: ignore[arg-type]  # it is a connection
            chosen = self._gate.orphaned(now)
            if chosen is not None:
                self._cancelled(chosen, now)

    def leave(self, number: int) -> None:
        """The handler of the connection with that number has ended."""
        with self._lock:
            self._orphans.discard(number)
            self._due.pop(number, None)
            if not self._due:
                self.close()

    def close(self) -> None:
        """Look after none of them any more."""
        timer, self._timer, self._look_at = self._timer, None, inf
        if timer is not None:
            timer.cancel()

    def _reckon(self, orphan: Orphan, now: float) -> None:
        after_s = orphan.timeouts.after_close_s
        if after_s is None:
            return
        self._due[orphan.id] = now + after_s, orphan.messages_begun
        self._look_no_later_than(now + after_s)

    def _look_no_later_than(self, when: float) -> None:
        if when < self._look_at:
            timer = self._clock.call_at(when, self._look)  # first: without memory the one before stays
            self.close()
            self._look_at, self._timer = when, timer

    def _look(self) -> None:
        with self._lock:
            self._look_now()

    def _look_now(self) -> None:
        self._timer, self._look_at = None, inf
        now = self._clock.time()
        for orphan, since in self._orphans:
            due_at, begun = self._due.get(orphan.id, (inf, 0))
            if due_at <= now:
                del self._due[orphan.id]
                if orphan.messages_begun != begun:  # it has begun another message since
                    self._reckon(orphan, now)
                else:
                    self._overdue(orphan, now, now - since)
        if self._due:
            self._look_no_later_than(min(due_at for due_at, _ in self._due.values()))

    def _overdue(self, orphan: Orphan, now: float, waited_s: float) -> None:
        self._emit(OrphanOverdue(orphan, orphan.handler_place(), waited_s))  # type: ignore[arg-type]
        if self._cancels and self._orphans.cancel(orphan, now):
            self._cancelled(orphan, now)

    def _cancelled(self, orphan: Orphan, now: float) -> None:
        since = self._orphans.since(orphan)
        self._emit(OrphanCancelled(orphan, orphan.handler_place(), now - since))  # type: ignore[arg-type]
