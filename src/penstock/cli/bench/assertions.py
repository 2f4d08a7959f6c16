"""What a user asserts of a run of ``penstock bench``."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...errors import ConfigurationError
from ...load.measured import Measured
from ...units import parse_count, parse_duration
from .report import LATENCIES, latency_of, time_text

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_NUMBERS: Final = ("errors", "rate")
_ASSERTION: Final = re.compile(r"\s*([a-z0-9.]+)\s*(<=|>=|==|<|>)\s*([0-9.]+[a-zA-Z]*)\s*", re.ASCII)


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

    def holds(self, measured: Measured) -> bool:
        """Whether it does."""
        return self.compare(value_of(self.metric, measured), self.limit)

    def verdict(self, measured: Measured) -> str:
        """Say what was asserted, and what is."""
        value = value_of(self.metric, measured)
        shown = time_text(value) if self.metric in LATENCIES else f"{value:,.0f}"
        return f"{self.text}: it is {shown}"


def parse_assertion(text: str) -> Assertion:
    """Read ``p99<5ms``, ``errors==0``, ``rate>10000``.

    Raises:
        ConfigurationError: It is none.
    """
    match = _ASSERTION.fullmatch(text)
    if match is None or match[1] not in (*LATENCIES, *_NUMBERS):
        names = ", ".join((*LATENCIES, *_NUMBERS))
        raise ConfigurationError(
            f"{text!r} is not a condition: write p99<5ms or errors==0; metrics: {names}", "--assert"
        )
    try:
        limit = parse_duration(match[3]) if match[1] in LATENCIES else float(parse_count(match[3]))
    except (ConfigurationError, ValueError) as error:
        raise ConfigurationError(f"{text!r}: {error}", "--assert") from None
    assert limit is not None  # "none" has no digit
    return Assertion(text, match[1], _OPERATORS[match[2]], limit)


def value_of(metric: str, measured: Measured) -> float:
    """Return what one metric is: seconds, or a number."""
    if metric == "errors":
        return measured.errors.total()
    return measured.rate if metric == "rate" else latency_of(metric, measured.told)
