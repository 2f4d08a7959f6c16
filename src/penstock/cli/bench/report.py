"""What ``penstock bench`` saw: for people, and for programs."""

import os
import platform
from collections.abc import Iterable
from typing import Any, Final

from ... import __version__
from ...load.histogram import PERCENTILES, Histogram, percentile_of
from ...load.load import Load
from ...load.measured import Measured

# The share of one core above which the load generator may be what is measured.
BUSY: Final = 0.9

_PERCENTILE_NAMES: Final = {f"p{percent:g}": percent for percent in PERCENTILES}
LATENCIES: Final = (*_PERCENTILE_NAMES, "mean", "max")


def describe(load: Load) -> str:
    """Say in one line what is run."""
    amount = " and ".join(
        [
            *([f"{load.duration_s:g} s"] if load.duration_s is not None else []),
            *([f"{load.count:,} requests"] if load.count is not None else []),
        ]
    )
    warmup = f" after {load.warmup_s:g} s of warm-up" if load.warmup_s else ""
    return (
        f"{load.address} over {load.codec.name}: {load.connections} connections, depth {load.depth}, "
        f"{_pace(load)}, {amount}{warmup}"
    )


def _pace(load: Load) -> str:
    pace = load.pace
    if pace is None:
        return "closed loop"
    if not pace.ramp_s:
        return f"{pace.last:,.0f} requests/s"
    return f"{pace.first:,.0f} to {pace.last:,.0f} requests/s in {pace.ramp_s:g} s"


def generator(measured: Measured) -> str:
    """Say in one line what sent the load, and on what."""
    way = "compiled" if measured.compiled else "in Python"
    processes = "1 process" if measured.processes == 1 else f"{measured.processes} processes"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"penstock {__version__}, {way}, {processes} of {os.cpu_count()} cores, {python}"


def lines_of(load: Load, measured: Measured, frame_bytes: int) -> Iterable[str]:
    """Yield the report for people: errors first."""
    yield describe(load)
    yield generator(measured)
    yield ""
    if measured.interrupted:
        yield "interrupted: this is what was seen until then"
        yield ""
    if measured.errors:
        yield f"errors      {measured.errors.total():,}"
        for kind, count in measured.errors.most_common():
            yield f"  {count:>10,}  {kind}"
    else:
        yield "errors      none"
    yield f"replies     {measured.latency.count:,} in {measured.seconds:.2f} s"
    yield f"throughput  {measured.rate:,.0f} replies/s"
    sent, received = (count / (measured.seconds or 1.0) / 1e6 for count in (measured.bytes_out, measured.bytes_in))
    yield f"bytes       {sent:,.2f} MB/s out, {received:,.2f} MB/s in; {frame_bytes} in a request"
    if measured.latency.count:
        yield ""
        yield from _latency_lines(load, measured)
    if (warning := bottleneck(load, measured)) is not None:
        yield ""
        yield warning


def _latency_lines(load: Load, measured: Measured) -> Iterable[str]:
    if load.pace is None:
        yield "latency     from sent to reply"
        columns = [measured.latency]
    else:
        yield "latency     from due   from sent"
        columns = [measured.corrected, measured.latency]
    for name in LATENCIES:
        yield f"  {name:<8}" + "".join(f"{time_text(latency_of(name, column)):>12}" for column in columns)


def latency_of(name: str, histogram: Histogram) -> float:
    """Return one of `LATENCIES`, in seconds."""
    if name in _PERCENTILE_NAMES:
        return histogram.percentile(_PERCENTILE_NAMES[name])
    return histogram.mean_s if name == "mean" else histogram.max_s


def bottleneck(load: Load, measured: Measured) -> str | None:
    """Say that the load generator, and not the server, may be what was measured; None when it was not."""
    share = measured.cpu_share
    if share < BUSY:
        return None
    who = "the load generator" if measured.processes == 1 else "the busiest process of the load"
    ways = ["use more --processes"] if measured.processes < (os.cpu_count() or 1) else []
    ways.append("use a lower --rate" if load.pace is not None else "use more --depth")
    if not measured.compiled and load.handshake is None:
        ways.append("the compiled load, of the native engine, takes less")
    return f"{who} used {share:.0%} of a core: the server may be faster than this; {', or '.join(ways)}"


def as_data(load: Load, measured: Measured) -> dict[str, Any]:
    """Return the report for programs. Times are seconds."""
    return {
        "address": str(load.address),
        "codec": load.codec.name,
        "connections": load.connections,
        "depth": load.depth,
        "rate": None if load.pace is None else load.pace.last,
        "ramp": None if load.pace is None or not load.pace.ramp_s else [load.pace.first, load.pace.ramp_s],
        "warmup_s": load.warmup_s,
        "version": __version__,
        "compiled": measured.compiled,
        "processes": measured.processes,
        "interrupted": measured.interrupted,
        "errors": dict(measured.errors.most_common()),
        "replies": measured.latency.count,
        "seconds": measured.seconds,
        "replies_per_s": measured.rate,
        "bytes_in": measured.bytes_in,
        "bytes_out": measured.bytes_out,
        "latency_from": "due" if load.pace is not None else "sent",
        "latency": {name: latency_of(name, measured.told) for name in LATENCIES},
        "latency_from_sent": {name: latency_of(name, measured.latency) for name in LATENCIES},
        "cpu_share": measured.cpu_share,
        "is_bottleneck": bottleneck(load, measured) is not None,
        "intervals": [
            {
                "ended_s": each.ended_s,
                "seconds": each.seconds,
                "replies": each.replies,
                "errors": each.errors,
                "p50": percentile_of(each.times, 50),
                "p99": percentile_of(each.times, 99),
                "max": percentile_of(each.times, 100),
            }
            for each in measured.intervals
        ],
    }


def time_text(seconds: float) -> str:
    """Write a time for people, in the unit that suits it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.3f} s"
