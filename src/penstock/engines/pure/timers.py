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
from math import ceil
from typing import Final

TICKS_PER_S: Final = 1024

# What is further ahead is looked at by then: so many seconds, and the ticks of the one that has begun, have slots.
FURTHEST_S: Final = 1024


class Timers:
    """A `Clock` that reads the loop's time. To set or cancel a timer costs the same however many there are.

    A timer is never early, and at most a tick (1/1024 s) later than one of the loop's. It runs as a callback of the
    loop, in the context in which this clock was made.

    Args:
        loop: Its time, and the one timer that is set there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.time = loop.time
        self._loop = loop
        self._context = contextvars.copy_context()
        # By the instant at which each is looked at. Timers of a second that has not begun are in one slot; when it
        # begins they are put into slots of a tick each.
        self._slots: dict[float, set[Timer]] = {}
        self._instants: list[float] = []  # the same, a heap
        self._next: tuple[float, asyncio.TimerHandle] | None = None

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Have ``callback`` called when `time` reaches ``when``."""
        slot = self._slots.get(when // 1)
        if slot is None:
            slot = self._slot(when, self.time())
        timer = Timer()  # without __init__, which would cost as much as all of the rest
        timer.when, timer.callback, timer.slot = when, callback, slot
        slot.add(timer)
        return timer

    def close(self) -> None:
        """Call nothing any more."""
        self._slots.clear()
        self._instants.clear()
        if self._next is not None:
            self._next[1].cancel()
            self._next = None

    def _slot(self, when: float, now: float) -> set[Timer]:
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
        if self._next is not None:
            if self._next[0] <= instant:
                return
            self._next[1].cancel()
        self._next = instant, self._loop.call_at(instant, self._look, context=self._context)

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
                self._wake_by(instants[0])

    def _empty(self, slot: set[Timer], now: float) -> None:
        while slot:
            timer = slot.pop()
            try:
                if timer.when <= now:
                    self._loop.call_soon(timer.run, context=self._context)
                else:
                    timer.slot = self._slot(timer.when, now)
                    timer.slot.add(timer)
            except BaseException:
                slot.add(timer)  # without memory none is forgotten
                raise


class Timer:
    """A callback that is called once, unless it is cancelled before.

    Attributes:
        when: The earliest instant at which it may be called.
        callback: None once it was called, or never will be.
        slot: Where it lies, or lay last.
    """

    __slots__ = ("callback", "slot", "when")

    when: float
    callback: Callable[[], object] | None
    slot: set[Timer]

    def cancel(self) -> None:
        """Do not call it; what the callback holds is let go at once. May be repeated."""
        self.callback = None
        self.slot.discard(self)

    def run(self) -> None:
        """Call it."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()
