"""How soon a worker that ended by itself is replaced, and when that is no use. Decisions without I/O."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 0.1
MOST_S: Final = 5.0

# A worker that served for so long has shown that it can: its end is no sign of a crash loop.
SETTLED_S: Final = 10.0

# A worker that was killed sooner had hardly begun: what killed it may be there still. One that has served for longer
# takes more of the machine by serving than by its start, so that nothing is won by waiting.
BRIEF_S: Final = 0.5

# With the delays between them some half a minute, in which no worker served for ten seconds.
MOST_FAILURES: Final = 10


class Restarts:
    """The ends of the workers of one slot.

    Attributes:
        failures: How many in a row came before they had settled, those that were killed left out.
        kills: How many in a row were killed as soon as they were ready.
    """

    __slots__ = ("failures", "kills")

    def __init__(self) -> None:
        self.failures = self.kills = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether it is a crash loop."""
        return self.failures >= MOST_FAILURES

    def ended(self, served_s: float, *, was_killed: bool = False) -> float:
        """Take note of an end that the supervisor did not ask for.

        Args:
            served_s: How long the worker had been ready; 0 if it never was.
            was_killed: Whether another process or the kernel killed it (SIGKILL) after it had been ready. That is no
                sign of a crash loop, however often it happens: an administrator does it, and the kernel where the
                memory of all is short. It does so as well to what uses more memory or processor time than it may, so
                that workers which are killed as soon as they are ready come ever later.

        Returns:
            How many seconds to wait before the next one is started.
        """
        if served_s >= SETTLED_S:
            self.failures = 0
        if served_s >= BRIEF_S:
            self.kills = 0
        if was_killed:
            if served_s < BRIEF_S:
                self.kills += 1
            return _delay_s(self.kills)
        if served_s < SETTLED_S:
            self.failures += 1
        return _delay_s(self.failures)


def _delay_s(ends: int) -> float:
    # The exponent has a bound of its own: 2.0 ** 1024 is no number.
    return min(MOST_S, FIRST_S * 2.0 ** min(ends - 1, 16)) if ends else 0.0
