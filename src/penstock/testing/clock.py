"""Time that is told, never waited for."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class ManualClock:
    """A clock that stands still until it is told to move. An engine takes it in place of its own.

    Timers are called from `advance`: it is to be moved on the engine's own thread, or on any if the engine has several.
    Times are seconds.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()

    def time(self) -> float:
        """Return the time it was last told."""
        return self._now

    def call_at(self, when: float, callback: Callable[[], object], /) -> _Timer:
        """Have ``callback`` called by the `advance` that reaches ``when``."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers are set and not cancelled."""
        return sum(1 for _, _, timer in self._timers if not timer.cancelled)

    def advance(self, seconds: float) -> None:
        """Move time on, calling every timer that falls due on the way, in order, at its own instant."""
        goal = self._now + seconds
        while self._timers and self._timers[0][0] <= goal:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            if not timer.cancelled:
                timer.callback()
        self._now = goal


class _Timer:
    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call it."""
        self.cancelled = True
