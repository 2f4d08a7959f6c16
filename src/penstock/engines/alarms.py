"""One timer for each connection, wherever timers are kept."""

from __future__ import annotations

from math import inf
from typing import Any, Protocol

from ..core.contract import Clock


class Timed(Protocol):
    """Something that has one timer.

    Attributes:
        due_at: When `expired` will be called; infinity for never.
        place: Where its timer is kept; None when there is none. What keeps timers sets both.
    """

    due_at: float
    place: Any

    def expired(self) -> object:
        """The instant has come; or had come when the timer was changed at the last moment."""


class Alarms(Protocol):
    """Keeps the timers of many."""

    def arm(self, timed: Timed, when: float) -> None:
        """Have ``expired`` called at ``when``, and at no other instant that was set before."""

    def disarm(self, timed: Timed) -> None:
        """Do not call it."""


class ClockAlarms:
    """A timer of a clock for each.

    Args:
        clock: Where time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def arm(self, timed: Timed, when: float) -> None:
        """Have ``expired`` called at ``when``, and at no other instant that was set before."""
        timer = self._clock.call_at(when, timed.expired)
        self.disarm(timed)
        timed.due_at, timed.place = when, timer

    def disarm(self, timed: Timed) -> None:
        """Do not call it."""
        timer, timed.place = timed.place, None
        timed.due_at = inf
        if timer is not None:
            timer.cancel()
