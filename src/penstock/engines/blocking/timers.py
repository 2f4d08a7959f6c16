"""Timers that are run by a thread which waits for something else as well."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from math import inf


class Timers:
    """A `Clock` on time.monotonic(). Any thread may set a timer; one of them runs them all, between its waits.

    Args:
        wake: Called when that thread has to ask again, because something is due earlier than it was told.
    """

    time = staticmethod(time.monotonic)

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._lock = threading.RLock()  # a signal handler, or a finaliser, may set and cancel in the middle of a call
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._told = -inf  # until when the running thread waits; -inf while it does not

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Have ``callback`` called by the thread that runs the timers."""
        timer = Timer(self, callback)
        with self._lock:
            heapq.heappush(self._heap, (when, next(self._order), timer))
            early = when < self._told
            if early:
                self._told = -inf  # one waking is enough
        if early:
            self._wake()
        return timer

    def due_within(self, seconds: float) -> bool:
        """Whether something may be due so soon."""
        heap = self._heap
        return bool(heap) and heap[0][0] < self.time() + seconds

    def timeout_s(self) -> float | None:
        """Return how long to wait until something is due; None when nothing is set."""
        with self._lock:
            self._prune()
            self._told = self._heap[0][0] if self._heap else inf
            return self._told - self.time() if self._heap else None

    def run_due(self) -> None:
        """Call what is due, in order. Called after the wait."""
        with self._lock:
            self._told = -inf
        while True:
            with self._lock:
                if not self._heap or self._heap[0][0] > self.time():
                    return
                _, _, timer = heapq.heappop(self._heap)
                callback, timer.callback = timer.callback, None
                self._cancelled -= callback is None
            if callback is not None:
                callback()

    def forget(self, timer: Timer) -> None:
        """Do not call it; what its callback holds is let go at once."""
        with self._lock:
            if timer.callback is not None:
                timer.callback = None
                self._cancelled += 1

    def _prune(self) -> None:
        # Whatever is called here may be interrupted by one that prunes as well: the heap may be another one after it.
        while self._heap and self._heap[0][2].callback is None:
            entry = heapq.heappop(self._heap)
            if entry[2].callback is not None:  # it was set just now, and is due earlier
                heapq.heappush(self._heap, entry)
                break
            self._cancelled -= 1
        # Connections that end take their timers with them long before these are due; asyncio's loop does the same.
        if self._cancelled > 100 and self._cancelled * 2 > len(self._heap):
            fresh: list[tuple[float, int, Timer]] = []
            heap, self._heap, self._cancelled = self._heap, fresh, 0  # first: what is set meanwhile goes there
            for entry in heap:
                if entry[2].callback is not None:
                    heapq.heappush(self._heap, entry)


class Timer:
    """A callback that is called once, unless it is cancelled before."""

    __slots__ = ("_timers", "callback")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Do not call it."""
        self._timers.forget(self)
