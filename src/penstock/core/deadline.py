"""How long one thing is waited for, however many steps it takes: what ``timeout_s`` of a call means, everywhere."""

from __future__ import annotations

from typing import Self

from ..errors import Phase, TimedOutError
from .contract import Clock


class Deadline:
    """An instant until which something is waited for.

    Args:
        at: The instant, on the clock of what waits.
        timeout_s: What was asked for, in seconds.

    Attributes:
        is_over: Whether it has passed, and what had come by then was read (law 11): there is nothing more to wait for.
    """

    __slots__ = ("at", "is_over", "timeout_s")

    def __init__(self, at: float, timeout_s: float) -> None:
        self.at = at
        self.timeout_s = timeout_s
        self.is_over = False

    @classmethod
    def after(cls, timeout_s: float | None, clock: Clock) -> Self | None:
        """Begin to count; None is for ever."""
        return None if timeout_s is None else cls(clock.time() + timeout_s, timeout_s)

    def left_s(self, clock: Clock) -> float:
        """Return how long there is left, in seconds: a little at least."""
        return max(0.001, self.at - clock.time())

    def error(self, phase: Phase = Phase.READ) -> TimedOutError:
        """Return what is raised when it has passed."""
        return TimedOutError(phase, self.timeout_s)
