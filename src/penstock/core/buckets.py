"""How often something may happen: token buckets that are told the time and keep one number for each key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from ..units import Rate

# Keys that are not at rest, each some 200 bytes. Beyond it the one that was let in longest ago is forgotten, which
# gives it a full bucket again: the price of a bound that an attacker with many addresses cannot move.
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

    def take(self, now: float) -> None:
        """Take a token. The caller has asked `ready_at`."""
        self._full_at = max(self._full_at, now) + self._step_s


class Buckets:
    """A bucket for each key. One that is full again is not kept.

    Args:
        rate: Of every bucket.
        max_keys: How many are kept at most.
    """

    __slots__ = ("_depth_s", "_full_at", "_max_keys", "_step_s")

    def __init__(self, rate: Rate, max_keys: int = MAX_KEYS) -> None:
        self._step_s = rate.period_s / rate.count
        self._depth_s = rate.period_s - self._step_s + SLACK_S
        self._max_keys = max_keys
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()  # in the order of the latest `take`

    def __len__(self) -> int:
        return len(self._full_at)

    def ready_at(self, key: Hashable) -> float:
        """Return the instant from which on there is a token for ``key``; it may have passed."""
        return self._full_at.get(key, 0.0) - self._depth_s

    def take(self, key: Hashable, now: float) -> None:
        """Take a token of ``key``. The caller has asked `ready_at`."""
        kept = self._full_at
        kept[key] = max(kept.get(key, 0.0), now) + self._step_s
        kept.move_to_end(key)
        # Two at most for one that came: what is at rest goes without a sweep.
        for _ in range(2):
            oldest = next(iter(kept))
            if kept[oldest] > now and len(kept) <= self._max_keys:
                return
            del kept[oldest]
            if not kept:
                return
