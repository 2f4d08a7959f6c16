"""What ``penstock bench`` saw: for people, for programs, and as what is asserted."""

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from ..errors import ConfigurationError
from ..units import parse_duration
from .bench_histogram import PERCENTILES, Histogram
from .bench_load import Load, Measured

# The share of one core above which the load generator may be what is measured.
BUSY: Final = 0.9

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_PERCENTILE_NAMES: Final = {f"p{percent:g}": percent for percent in PERCENTILES}
_LATENCIES: Final = (*_PERCENTILE_NAMES, "mean", "max")
_NUMBERS: Final = ("errors", "rate")
_ASSERTION: Final = re.compile(r"\s*([a-z0-9.]+)\s*(<=|>=|==|<|>)\s*([0-9.]+[a-z]*)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A condition on what was measured.

    Attributes:
        text: As the user wrote it.
        metric: ``p50`` to ``p99.99``, ``mean``, ``max`` (seconds), ``errors`` or ``rate`` (replies in a second).
        compare: Whether it holds.
        limit: What is compared with.
    """

    text: str
    metric: str
    compare: Callable[[float, float], bool]
    limit: float

    def failure(self, measured: Measured) -> str | None:
        """Say how it fails; None when it holds."""
        value = value_of(self.metric, measured)
        if self.compare(value, self.limit):
            return None
        shown = time_text(value) if self.metric in _LATENCIES else f"{value:,.0f}"
        return f"assertion failed: {self.text}: it is {shown}"


def parse_assertion(text: str) -> Assertion:
    """Read ``p99<5ms``, ``errors==0``, ``rate>10000``.

    Raises:
        ConfigurationError: It is none.
    """
    match = _ASSERTION.fullmatch(text)
    if match is None or match[1] not in (*_LATENCIES, *_NUMBERS):
        names = ", ".join((*_LATENCIES, *_NUMBERS))
        raise ConfigurationError(f"{text!r} is no condition: write p99<5ms or errors==0; there are {names}", "--assert")
    try:
        limit = parse_duration(match[3]) if match[1] in _LATENCIES else float(match[3])
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"{text!r}: {error}", "--assert") from None
    assert limit is not None  # "none" has no digit
    return Assertion(text, match[1], _OPERATORS[match[2]], limit)


def value_of(metric: str, measured: Measured) -> float:
    """Return what one metric is: seconds, or a number."""
    match metric:
        case "errors":
            return measured.errors.total()
        case "rate":
            return rate_of(measured)
        case "mean":
            return measured.told.mean_s
        case "max":
            return measured.told.max_s
        case _:
            return measured.told.percentile(_PERCENTILE_NAMES[metric])


def rate_of(measured: Measured) -> float:
    """Return how many replies came in a second."""
    return measured.latency.count / measured.seconds if measured.seconds else 0.0


def describe(load: Load) -> str:
    """Say in one line what is run."""
    amount = " and ".join(
        [
            *([f"{load.duration_s:g} s"] if load.duration_s is not None else []),
            *([f"{load.count:,} requests"] if load.count is not None else []),
        ]
    )
    pace = "closed loop" if load.rate is None else f"{load.rate:,.0f} requests/s"
    return (
        f"{load.address} over {load.codec.name}: {load.connections} connections, depth {load.depth}, {pace}, {amount}"
    )


def lines_of(load: Load, measured: Measured, frame_bytes: int) -> Iterable[str]:
    """Yield the report for people: errors first."""
    yield describe(load)
    yield ""
    if measured.errors:
        yield f"errors      {measured.errors.total():,}"
        for kind, count in measured.errors.most_common():
            yield f"  {count:>10,}  {kind}"
    else:
        yield "errors      none"
    yield f"replies     {measured.latency.count:,} in {measured.seconds:.2f} s"
    yield f"throughput  {rate_of(measured):,.0f} replies/s"
    sent, received = (count / (measured.seconds or 1.0) / 1e6 for count in (measured.bytes_out, measured.bytes_in))
    yield f"bytes       {sent:,.2f} MB/s out, {received:,.2f} MB/s in; {frame_bytes} in a request"
    yield ""
    yield from _latency_lines(load, measured)
    if (warning := bottleneck(load, measured)) is not None:
        yield ""
        yield warning


def _latency_lines(load: Load, measured: Measured) -> Iterable[str]:
    if load.rate is None:
        yield "latency     from sent to reply"
        columns = [measured.latency]
    else:
        yield "latency     from due   from sent"
        columns = [measured.corrected, measured.latency]
    for name in _LATENCIES:
        yield f"  {name:<8}" + "".join(f"{time_text(_latency(name, column)):>12}" for column in columns)


def _latency(name: str, histogram: Histogram) -> float:
    if name in _PERCENTILE_NAMES:
        return histogram.percentile(_PERCENTILE_NAMES[name])
    return histogram.mean_s if name == "mean" else histogram.max_s


def bottleneck(load: Load, measured: Measured) -> str | None:
    """Say that the load generator, and not the server, may be what was measured; None when it was not."""
    share = measured.cpu_share
    if share < BUSY:
        return None
    way = "use more --depth or a lower --rate" if load.rate is not None else "run several, or use more --depth"
    return f"the load generator used {share:.0%} of a core: the server may be faster than this; {way}"


def as_data(load: Load, measured: Measured) -> dict[str, Any]:
    """Return the report for programs. Times are seconds."""
    return {
        "address": str(load.address),
        "codec": load.codec.name,
        "connections": load.connections,
        "depth": load.depth,
        "rate": load.rate,
        "errors": dict(measured.errors.most_common()),
        "replies": measured.latency.count,
        "seconds": measured.seconds,
        "replies_per_s": rate_of(measured),
        "bytes_in": measured.bytes_in,
        "bytes_out": measured.bytes_out,
        "latency_from": "due" if load.rate is not None else "sent",
        "latency": {name: _latency(name, measured.told) for name in _LATENCIES},
        "latency_from_sent": {name: _latency(name, measured.latency) for name in _LATENCIES},
        "cpu_share": measured.cpu_share,
        "is_bottleneck": bottleneck(load, measured) is not None,
        "intervals": [
            {"ended_s": each.ended_s, "seconds": each.seconds, "replies": each.replies, "errors": each.errors}
            for each in measured.intervals
        ],
    }


def time_text(seconds: float) -> str:
    """Write a time for people, in the unit that suits it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.3f} s"
