"""The report of ``penstock bench`` in the formats of other tools: HdrHistogram's percentiles, and CSV."""

import math
from collections.abc import Iterator
from typing import Final

from ...load.histogram import Histogram, percentile_of
from ...load.measured import Measured

# Steps to each half of what is left to 100 %, as HdrHistogram prints by default.
_STEPS: Final = 5

COLUMNS: Final = ("ended_s", "seconds", "replies", "errors", "replies_per_s", "p50_s", "p90_s", "p99_s", "max_s")


def hgrm(histogram: Histogram) -> str:
    """Write a histogram as HdrHistogram's ``outputPercentileDistribution`` does, in milliseconds."""
    lines = ["       Value     Percentile TotalCount 1/(1-Percentile)", ""]
    for value_s, share, count in _distribution(histogram):
        rest = f"{1 / (1 - share):14.2f}" if share < 1 else ""
        lines.append(f"{value_s * 1e3:12.3f} {share:2.12f} {count:10d} {rest}".rstrip())
    lines += [
        f"#[Mean    = {histogram.mean_s * 1e3:12.3f}, StdDeviation   = {_deviation_s(histogram) * 1e3:12.3f}]",
        f"#[Max     = {histogram.max_s * 1e3:12.3f}, Total count    = {histogram.count:12d}]",
        f"#[Buckets = {34:12d}, SubBuckets     = {2048:12d}]",
    ]
    return "\n".join(lines) + "\n"


def _distribution(histogram: Histogram) -> Iterator[tuple[float, float, int]]:
    """Yield (seconds, the share of all that is not above them, how many that are), in steps that become finer."""
    seen = 0
    share = 0.0
    for value_s, count in histogram.buckets():
        seen += count
        while share < 1 and seen >= share * histogram.count:
            yield min(value_s, histogram.max_s), share, seen
            left = 1 - share
            share += 1 / (_STEPS * 2 ** (math.floor(math.log2(1 / left)) + 1))
            if (1 - share) * histogram.count < 1:  # what is left is no whole one
                share = 1.0
    if histogram.count:
        yield histogram.max_s, 1.0, histogram.count


def _deviation_s(histogram: Histogram) -> float:
    if not histogram.count:
        return 0.0
    mean_s = histogram.mean_s
    squares = sum(count * (value_s - mean_s) ** 2 for value_s, count in histogram.buckets())
    return math.sqrt(squares / histogram.count)


def csv(measured: Measured) -> str:
    """Write each interval as a line of CSV (RFC 4180); times are seconds."""
    rows = [",".join(COLUMNS)]
    for each in measured.intervals:
        rate = each.replies / each.seconds if each.seconds else 0.0
        times = (percentile_of(each.times, percent) for percent in (50, 90, 99, 100))
        values = (f"{each.ended_s:.3f}", f"{each.seconds:.3f}", each.replies, each.errors, f"{rate:.1f}")
        rows.append(",".join(map(str, [*values, *(f"{seconds:.9f}" for seconds in times)])))
    return "\r\n".join(rows) + "\r\n"
