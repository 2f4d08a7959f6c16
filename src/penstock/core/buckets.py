"""How often something may happen: token buckets that are told the time and keep one number for each key."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ..units import Rate

# Keys that are not at rest, each some 200 bytes. Beyond it those that were let in longest ago are forgotten, which
# gives them a full bucket again: the price of a bound that an attacker with many addresses cannot move.
MAX_KEYS: Final = 65_536

# A token is there that much early: the sum of three thirds of a second is not quite a second later, in binary.
SLACK_S: Final = 1e-6


class Bucket:
    """A bucket that holds ``rate.count`` tokens and is filled at that many for each ``rate.period_s``.

    It keeps the instant at which it will be full again (the generic cell rate algorithm), so that there is nothing to
    refill. All instants are seconds on one clock.
    """

    __slots__ = ("_depth_s", "_full_at", "_step_s")

    def __init__(self, rate: Rate) -> None:
        self._step_s = rate.period_s / rate.count
        self._depth_s = rate.period_s - self._step_s + SLACK_S
        self._full_at = 0.0

    def ready_at(self) -> float:
        """Return the instant from which on there is a token; it may have passed."""
        return self._full_at - self._depth_s

    def take(self, now: float) -> bool:
        """Take a token. Return whether there was one."""
        full_at = self._full_at
        if full_at < now:
            full_at = now
        elif full_at - now > self._depth_s:
            return False
        self._full_at = full_at + self._step_s
        return True

    def give_back(self) -> None:
        """Put the token back that was taken last."""
        self._full_at -= self._step_s


class Buckets:
    """A bucket for each key. One that is full again is not kept.

    A bucket that was not taken from for a period is full: so the keys are kept in two generations, a period long each,
    and the older one is dropped whole when the newer one is over.

    Args:
        rate: Of every bucket.
        max_keys: How many are kept at most.
    """

    __slots__ = ("_before", "_depth_s", "_lately", "_most", "_period_s", "_since", "_step_s")

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._step_s = rate.period_s / rate.count
        self._depth_s = rate.period_s - self._step_s + SLACK_S
        self._period_s = rate.period_s + SLACK_S
        self._most = max_keys // 2
        self._since = 0.0  # when the newer generation began
        # When each bucket will be full again. A key that is in both has moved on: the newer one counts.
        self._lately: dict[Hashable, float] = {}
        self._before: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._lately.keys() | self._before.keys())

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token of ``key``. Return whether there was one."""
        lately = self._lately
        found = lately.get(key)
        full_at = self._before.get(key, now) if found is None else found
        if full_at < now:
            full_at = now
        elif full_at - now > self._depth_s:
            return False
        if found is None and (now - self._since >= self._period_s or len(lately) >= self._most):
            self._before, self._since = lately, now
            self._lately = lately = {}
        lately[key] = full_at + self._step_s
        return True

    def give_back(self, key: Hashable) -> None:
        """Put the token back that was taken last."""
        self._lately[key] -= self._step_s
