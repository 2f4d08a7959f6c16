"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..config import Duration
from ..errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with full jitter: the n-th wait is anywhere from 0 to ``first_s * factor**n``.

    Full jitter, because clients that lost the same server at the same moment come back spread over the whole interval;
    with a part of it fixed they would all wait that long together.

    Attributes:
        first_s: The longest first wait, in seconds.
        factor: How much longer the next one may be, 1 or more.
        max_s: The longest wait ever, in seconds.
        reset_after_s: A connection that lived so long was a good one: after it the waits begin at ``first_s`` again.
            One that ended sooner counts as an attempt that failed.

    Raises:
        ConfigurationError: One of them is out of range.
    """

    first_s: float = 0.5
    factor: float = 2.0
    max_s: float = 30.0
    reset_after_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("first_s", "max_s", "reset_after_s"):
            Duration(zero=name == "reset_after_s", never=False).check_at(f"Backoff.{name}", getattr(self, name))
        if not (self.first_s <= self.max_s and self.factor >= 1):
            raise ConfigurationError(f"{self}: max_s is not below first_s, factor is 1 or more")

    def longest_s(self, failures: int) -> float:
        """Return the longest wait after ``failures`` failures in a row, counted from 0."""
        try:
            return min(self.max_s, self.first_s * self.factor**failures)
        except OverflowError:
            return self.max_s

    def wait_s(self, failures: int, random: Callable[[], float]) -> float:
        """Choose a wait.

        Args:
            failures: How many attempts in a row have failed before the last one.
            random: Returns a number from 0 to 1.
        """
        return self.longest_s(failures) * random()
