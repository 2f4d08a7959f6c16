"""Rounds into figures: medians with their spread, and ratios taken within each round."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# From this share of its core on, a process is the one that the other waits for.
SATURATED = 0.95
# How often the interval of a median may miss the median of all rounds there could be.
DOUBT = 0.05


@dataclass(frozen=True)
class Spread:
    """A median, the two ends, and how sure the median is.

    Attributes:
        low: With ``high``: between them lies the median of all rounds there could be, 19 times of 20, whatever their
            distribution (the sign test turned round). With fewer than 6 rounds nothing is that sure: the two ends.
    """

    median: float
    least: float
    most: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise at least one value."""
        ordered = sorted(values)
        off = _outside(len(ordered))
        return cls(statistics.median(ordered), ordered[0], ordered[-1], ordered[off], ordered[-1 - off])


def _outside(count: int) -> int:
    """Return how many of ``count`` ordered values may be left off at each end."""
    off, missed = 0, 2 * 0.5**count
    while True:
        missed += 2 * math.comb(count, off + 1) * 0.5**count
        if missed > DOUBT or 2 * (off + 1) >= count:
            return off
        off += 1


def number(value: float) -> str:
    """Format to three significant digits, never in exponential form."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


class Results:
    """The records of one scenario, as saved.

    Args:
        saved: What a file of raw data holds: see `bench.run`.
    """

    def __init__(self, saved: Mapping[str, Any]) -> None:
        self.saved = saved
        self._by_contestant: dict[str, dict[int, Mapping[str, Any]]] = {}
        for record in saved["records"]:
            self._by_contestant.setdefault(record["contestant"], {})[record["round"]] = record

    def __contains__(self, contestant: str) -> bool:
        return contestant in self._by_contestant

    @property
    def contestants(self) -> list[str]:
        """Who was measured, in the order of the first round."""
        return list(self._by_contestant)

    def values(self, contestant: str) -> Spread:
        """Return the figure of all rounds."""
        return Spread.of(record["value"] for record in self._by_contestant[contestant].values())

    def ratio(self, contestant: str, yardstick: str) -> Spread | None:
        """Return the figure over the yardstick's of the same round; None if no round has both, or one is not above 0.

        A yardstick's figure is 0 or less only where memory did not grow at all.
        """
        ours, theirs = (self._by_contestant.get(key, {}) for key in (contestant, yardstick))
        ratios = [ours[n]["value"] / theirs[n]["value"] for n in ours if n in theirs and theirs[n]["value"] > 0]
        return Spread.of(ratios) if ratios else None

    def median(self, contestant: str, *path: str) -> float | None:
        """Return the median of another field of the records, such as ``"latency_ns", "p99"``; None if it has none."""
        found = []
        for record in self._by_contestant[contestant].values():
            value: Any = record
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                found.append(float(value))
        return statistics.median(found) if found else None

    def bound_by_load(self, contestant: str) -> bool:
        """Return whether the load filled its core and the server did not: then the server waited for the load.

        Where both cores are full, neither waits for the other.
        """
        load, server = (self.median(contestant, key) or 0.0 for key in ("load_cpu_share", "server_cpu_share"))
        return load >= SATURATED > server

    def why_missing(self, contestant: str) -> str:
        """Return why a contestant has no figure."""
        for group in ("failed", "skipped"):
            reason = self.saved[group].get(contestant)
            if reason is not None:
                return str(reason)
        return "not in this run"
