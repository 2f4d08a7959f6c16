"""The timers of all connections behind one of the loop's.

A loop of asyncio keeps its timers in a heap and compares them in Python, those that were cancelled too: for a
connection that is soon over that costs more than all its other limits together. Here timers lie in slots, and nothing
is compared.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable
from math import ceil, inf
from time import monotonic
from typing import Any, Final

from ..alarms import Timed

TICKS_PER_S: Final = 1024

# What is further ahead is looked at by then: so many seconds, and the ticks of the one that has begun, have slots.
FURTHEST_S: Final = 1024


def _time_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return what reads the loop's time. Asyncio's own is a function in Python around one that costs less."""
    is_usual = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time and "time" not in vars(loop)
    return monotonic if is_usual else loop.time


class Timers:
    """A `Clock` that reads the loop's time. To set or cancel a timer costs the same however many there are.

    A timer is never early, and at most a tick (1/1024 s) later than one of the loop's. It runs as a callback of the
    loop, in the context in which this clock was made.

    Args:
        loop: Its time, and the one timer that is set there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time = _time_of(loop)
        self._loop = loop
        self._context = contextvars.copy_context()
        # By the instant at which each is looked at. Timers of a second that has not begun are in one slot; when it
        # begins they are put into slots of a tick each.
        self._slots: dict[float, set[Timed]] = {}
        self._instants: list[float] = []  # the same, a heap
        self._next: tuple[float, asyncio.TimerHandle] | None = None

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Have ``callback`` called when `time` reaches ``when``."""
        timer = Timer(self, callback)
        self.arm(timer, when)
        return timer

    def arm(self, timed: Timed, when: float) -> None:
        """Have ``expired`` called at ``when``, and at no other instant that was set before."""
        slot = self._slots.get(when // 1)
        if slot is None:
            slot = self._slot(when, self.time())
        slot.add(timed)
        before = timed.place
        if before is not None and before is not slot:
            before.discard(timed)
        timed.due_at, timed.place = when, slot

    def disarm(self, timed: Timed) -> None:
        """Do not call it."""
        slot = timed.place
        if slot is not None:
            slot.discard(timed)
            timed.place = None
        timed.due_at = inf

    def close(self) -> None:
        """Call nothing any more."""
        self._slots.clear()
        self._instants.clear()
        if self._next is not None:
            self._next[1].cancel()
            self._next = None

    def _slot(self, when: float, now: float) -> set[Timed]:
        """Return where a timer is to lie, which will be looked at after ``now`` and at ``when`` at the latest."""
        when = min(when, now + FURTHEST_S)
        instant = when // 1
        if instant <= now:
            instant = ceil(when * TICKS_PER_S) / TICKS_PER_S
        slot = self._slots.get(instant)
        if slot is None:
            # In this order: without memory there is a waking for nothing, and no slot that nobody looks at.
            self._wake_by(instant)
            heapq.heappush(self._instants, instant)
            slot = self._slots[instant] = set()
        return slot

    def _wake_by(self, instant: float) -> None:
        before = self._next
        if before is not None and before[0] <= instant:
            return
        # In this order: without memory the loop has the one before still.
        self._next = instant, self._loop.call_at(instant, self._look, context=self._context)
        if before is not None:
            before[1].cancel()

    def _look(self) -> None:
        self._next = None
        now = self.time()
        instants = self._instants
        try:
            while instants and instants[0] <= now:
                self._empty(self._slots.get(instants[0], set()), now)
                self._slots.pop(heapq.heappop(instants), None)
        finally:
            if instants:
                self._wake_again(instants[0])

    def _wake_again(self, instant: float) -> None:
        try:
            self._wake_by(instant)
        except MemoryError:  # the only waking there is: what one connection has let go meanwhile may be enough
            self._wake_by(instant)

    def _empty(self, slot: set[Timed], now: float) -> None:
        while slot:
            timed = slot.pop()
            try:
                if timed.due_at <= now:
                    self._loop.call_soon(timed.expired, context=self._context)
                else:
                    timed.place = self._slot(timed.due_at, now)
                    timed.place.add(timed)
            except BaseException:
                slot.add(timed)  # without memory none is forgotten
                raise


class Timer:
    """A callback that is called once, unless it is cancelled before."""

    __slots__ = ("_callback", "_timers", "due_at", "place")

    def __init__(self, timers: Timers, callback: Callable[[], object]) -> None:
        self._timers = timers
        self._callback: Callable[[], object] | None = callback
        self.due_at = inf
        self.place: Any = None

    def cancel(self) -> None:
        """Do not call it; what the callback holds is let go at once. May be repeated."""
        self._callback = None
        self._timers.disarm(self)

    def expired(self) -> None:
        """Call it."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
