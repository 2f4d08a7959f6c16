"""How soon a worker that ended by itself is replaced, and when that is no use. Decisions without I/O."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.1
MOST_S: Final = 5.0

# A worker that served for so long has shown that it can: its end is no sign of a crash loop.
SETTLED_S: Final = 10.0

# With the delays between them some half a minute, in which no worker served for ten seconds.
MOST_FAILURES: Final = 10


class Restarts:
    """The ends of the workers of one slot.

    Attributes:
        failures: How many in a row came before they had settled.
    """

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether it is a crash loop."""
        return self.failures >= MOST_FAILURES

    def ended(self, served_s: float, *, was_killed: bool = False) -> float:
        """Take note of an end that the supervisor did not ask for.

        Args:
            served_s: How long the worker had been ready; 0 if it never was.
            was_killed: Whether somebody else killed it (SIGKILL) after it had been ready. A program cannot do that to
                itself by a fault, so that it is no sign of a crash loop, however often it happens. Where the system
                does it, which has no memory left, the next one comes after the first delay, and takes time to start.

        Returns:
            How many seconds to wait before the next one is started.
        """
        if was_killed:
            return FIRST_S
        self.failures = 0 if served_s >= SETTLED_S else self.failures + 1
        return 0.0 if not self.failures else min(MOST_S, FIRST_S * 2.0 ** (self.failures - 1))
