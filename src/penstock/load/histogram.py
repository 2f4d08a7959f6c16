"""Times, counted in a log-linear histogram: the layout of HDR histograms, at three significant digits.

A value of up to 2048 ns has a bucket of its own; above that each power of two is cut into 1024 equal buckets, so that a
bucket is never wider than a thousandth of what it counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_BITS: Final = 11
_HALF: Final = 1 << (_BITS - 1)
# Up to 2⁴⁴ ns, almost five hours; what took longer is counted as that.
_MAX_NS: Final = (1 << 44) - 1


class Histogram:
    """Counts times. Recording one costs an index and an addition, whatever was counted before.

    Attributes:
        counts: How many in each bucket. The compiled load generator writes here.
        count: How many.
        max_s: The longest, in seconds, exactly; 0.0 when there is none.
        total_s: Their sum, in seconds.
    """

    __slots__ = ("count", "counts", "max_s", "total_s")

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * BUCKETS))
        self.count = 0
        self.max_s = 0.0
        self.total_s = 0.0

    def record(self, seconds: float, count: int = 1) -> None:
        """Count a time ``count`` times. Negative ones, which a clock should not give, count as 0."""
        seconds = max(0.0, seconds)
        value = min(int(seconds * 1e9), _MAX_NS)
        self.counts[_index(value)] += count
        self.count += count
        self.total_s += seconds * count
        self.max_s = max(self.max_s, seconds)

    def add(self, other: Histogram) -> None:
        """Count what another has counted too."""
        for index, count in enumerate(other.counts):
            if count:
                self.counts[index] += count
        self.count += other.count
        self.total_s += other.total_s
        self.max_s = max(self.max_s, other.max_s)

    def clear(self) -> None:
        """Forget all, in place."""
        self.counts[:] = array("Q", bytes(8 * len(self.counts)))
        self.count = 0
        self.max_s = self.total_s = 0.0

    @property
    def mean_s(self) -> float:
        """Their mean, in seconds; 0.0 when there is none."""
        return self.total_s / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the smallest time, in seconds, that ``percent`` of all do not exceed, to a thousandth of itself.

        It is never above `max_s`; 0.0 when nothing was counted.
        """
        wanted = max(1, -int(-self.count * percent // 100))
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return min(_highest_ns(index) / 1e9, self.max_s)
        return self.max_s

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Yield (longest time in seconds, count) of each bucket that counted something, shortest first."""
        for index, count in enumerate(self.counts):
            if count:
                yield _highest_ns(index) / 1e9, count


# How many times fell into each of some buckets.
Times = dict[int, int]


def together(one: Times, other: Times) -> Times:
    """Return the times of both."""
    return {index: one.get(index, 0) + other.get(index, 0) for index in one.keys() | other.keys()}


def percentile_of(times: Times, percent: float) -> float:
    """As `Histogram.percentile`, of a few times; 100 is the longest, to a thousandth of itself."""
    wanted = max(1, -int(-sum(times.values()) * percent // 100))
    seen = 0
    for index in sorted(times):
        seen += times[index]
        if seen >= wanted:
            return _highest_ns(index) / 1e9
    return 0.0


class Growth:
    """What a histogram has counted from one look to the next. A look costs as much as has changed."""

    _PART: Final = 1024  # buckets that are compared at once

    def __init__(self) -> None:
        self._before = array("Q", bytes(8 * BUCKETS))

    def since(self, histogram: Histogram) -> Times:
        """Return the times that came since the last look."""
        before, now = memoryview(self._before), memoryview(histogram.counts)
        times: Times = {}
        for start in range(0, BUCKETS, self._PART):
            part = slice(start, start + self._PART)
            if before[part] == now[part]:
                continue
            for index, (old, new) in enumerate(zip(before[part].tolist(), now[part].tolist(), strict=True), start):
                if new != old:
                    times[index] = new - old
            before[part] = now[part]
        return times


def _index(value: int) -> int:
    shift = value.bit_length() - _BITS
    return (value >> shift) + shift * _HALF if shift > 0 else value


def _highest_ns(index: int) -> int:
    if index < 2 * _HALF:
        return index
    shift = index // _HALF - 1
    return ((index - shift * _HALF + 1) << shift) - 1


BUCKETS: Final = _index(_MAX_NS) + 1
