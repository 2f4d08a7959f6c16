"""How fast a peer's messages may come: a token bucket for each connection, kept as one instant.

It is the instant at which the bucket will be full again (the generic cell rate algorithm): nothing is ever refilled.
"""

from __future__ import annotations

from .deadlines import LIFETIME, Durations
from .levels import Levels
from .output import Output

MAY_GO_ON = LIFETIME + 1  # returned by `_due`: there is a token again
_MAY_GO_ON = MAY_GO_ON

# Verdict of `_expires`: handle what was held back, and read again.
GO_ON = 8192
_GO_ON = GO_ON


class Law(Output):
    """All laws of one connection. This one adds ``limits.max_message_rate``.

    Args:
        levels: Its limits.
        durations: As of `Deadlines`.
        now: The instant.

    Attributes:
        _full_at: When its bucket will be full again; an instant that has passed: it is.
        _rate_held: Messages are held back until there is a token again.
    """

    __slots__ = ("_full_at", "_rate_held")

    def __init__(self, levels: Levels, durations: Durations, now: float) -> None:
        super().__init__(levels, durations, now)
        self._full_at = 0.0
        self._rate_held = False

    def _allows(self, most: int, now: float) -> int:
        """Say how many messages may be handled now.

        Returns:
            ``most`` or less; 0: none until `_due` says `MAY_GO_ON`; -1: the connection is to be closed with
            ``message_rate`` if there is another message.
        """
        levels = self._levels
        if levels.message_step_s == 0.0:
            return most
        ahead_s = max(self._full_at - now, 0.0)
        if ahead_s > levels.message_depth_s:
            if levels.closes_at_rate:
                return -1
            self._rate_held = True
            return 0
        self._rate_held = False
        free = (levels.message_depth_s - ahead_s) / levels.message_step_s
        return most if free >= most else int(free) + 1

    def _spends(self, count: int, now: float) -> None:
        """That many messages were taken to be handled."""
        if self._levels.message_step_s != 0.0:
            self._full_at = max(self._full_at, now) + count * self._levels.message_step_s

    # -- deadlines, with the instant at which a token is there ---------------------------------------------------------

    def _due_at(self, partial_bytes: int) -> float:
        """As of `Deadlines`."""
        at = Output._due_at(self, partial_bytes)  # noqa: SLF001 - a C call, which super() is not
        if self._rate_held and not self._closing:
            return min(at, self._full_at - self._levels.message_depth_s)
        return at

    def _due(self, now: float, partial_bytes: int) -> int:
        """As of `Deadlines`, or `MAY_GO_ON`."""
        if self._rate_held and not self._closing and self._full_at - self._levels.message_depth_s <= now:
            return _MAY_GO_ON
        return Output._due(self, now, partial_bytes)  # noqa: SLF001

    def _expires(self, which: int, has_progressed: bool) -> int:
        """As of `Deadlines`, or `GO_ON`."""
        return _GO_ON if which == _MAY_GO_ON else Output._expires(self, which, has_progressed)  # noqa: SLF001
