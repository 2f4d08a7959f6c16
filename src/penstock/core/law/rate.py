# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""How fast a peer's messages may come: a token bucket for each connection, kept as one instant.

It is the instant at which the bucket will be full again (the generic cell rate algorithm): nothing is ever refilled.
"""

from __future__ import annotations

from math import inf

from .deadlines import OVERTIME
from .durations import Durations
from .levels import Levels
from .output import Output

_INFINITY = inf
MAY_GO_ON = OVERTIME + 1  # returned by `_due`: there is a token again
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
    """

    __slots__ = ()

    def __init__(self, levels: Levels, durations: Durations, now: float) -> None:
        self._begin_law(levels, durations, now)

    def _begin_law(self, levels: Levels, durations: Durations, now: float) -> None:
        """Do what ``__init__`` does: for compiled code, which makes connections without calling it."""
        self._begin_closing()
        self._begin_deadlines(durations, now)
        self._begin_output(levels)

    def _allows(self, most: int, now: float) -> int:
        """Say how many messages may be handled now.

        Returns:
            ``most`` or less; 0: none until `_due` says `MAY_GO_ON`; -1: the connection is to be closed with
            ``message_rate`` if there is another message.
        """
        levels = self._levels
        if self._closing or levels.message_step_s == 0.0:
            return most
        rare = self._of_few()
        # As `_token_at` has it, to the last bit: or a timer that comes at that instant would be set for it again.
        if rare.full_at - levels.message_depth_s > now:
            if levels.closes_at_rate:
                return -1
            rare.rate_held = True
            return 0
        rare.rate_held = False
        ahead_s = max(rare.full_at - now, 0.0)
        free = (levels.message_depth_s - ahead_s) / levels.message_step_s
        return most if free >= most else max(int(free), 0) + 1

    def _spends(self, count: int, now: float) -> int:
        """That many messages were taken to be handled."""
        if self._levels.message_step_s != 0.0:
            rare = self._of_few()
            rare.full_at = max(rare.full_at, now) + count * self._levels.message_step_s
        return 0

    def _rate_held(self) -> bool:
        """Say whether messages are held back until there is a token."""
        return self._rare is not None and self._rare.rate_held

    def _token_at(self) -> float:
        """Return when there is one; infinity where nothing waits for that."""
        if self._rare is None or not self._rare.rate_held or self._closing:
            return _INFINITY
        return self._rare.full_at - self._levels.message_depth_s

    # -- deadlines, with the instant at which a token is there ---------------------------------------------------------

    def _due_at(self, partial_bytes: int) -> float:
        """As of `Deadlines`."""
        at = Output._due_at(self, partial_bytes)  # noqa: SLF001 - a C call, which super() is not
        if self._rare is None:
            return at
        token_at = self._token_at()
        return at if at < token_at else token_at  # noqa: FURB136 - as there

    def _due(self, now: float, partial_bytes: int) -> int:
        """As of `Deadlines`, or `MAY_GO_ON`."""
        if self._token_at() <= now:
            return _MAY_GO_ON
        return Output._due(self, now, partial_bytes)  # noqa: SLF001

    def _expires(self, which: int, has_progressed: bool) -> int:
        """As of `Deadlines`, or `GO_ON`."""
        if which != _MAY_GO_ON:
            return Output._expires(self, which, has_progressed)  # noqa: SLF001
        self._of_few().rate_held = False
        return _GO_ON
