"""The one grammar of sizes, durations and rates: command line, environment, file and codec specs all use it."""

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from .errors import ConfigurationError

_SIZE_UNITS: Final = {
    "gib": 1024**3,
    "mib": 1024**2,
    "kib": 1024,
    "gb": 1000**3,
    "mb": 1000**2,
    "kb": 1000,
    "b": 1,
    "": 1,
}
# In the order in which format_size tries them: the first that divides evenly is written.
_SIZE_NAMES: Final = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("GB", 1000**3), ("MB", 1000**2), ("kB", 1000))
_DURATION_UNITS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}

SIZE_GRAMMAR: Final = "a whole number of bytes, or one with kB, MB, GB, KiB, MiB or GiB: 512, 64KiB, 10MB"
DURATION_GRAMMAR: Final = "a number with ms, s, m, h or d, or none: 250ms, 10s, 1.5h"
RATE_GRAMMAR: Final = "a whole number per s, m, h or d, or none: 100/s, 10/m"

# 18 digits: more than any machine holds, and int() stays linear whatever is typed.
_SIZE: Final = re.compile(r"([0-9]{1,18})([a-z]*)", re.IGNORECASE | re.ASCII)
_COUNT: Final = re.compile(r"([+-]?[0-9]{1,18}(?:\.[0-9]{1,9})?)([kKMG]?)", re.ASCII)
_COUNT_UNITS: Final = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,30})?)(ms|s|m|h|d)", re.ASCII)
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(s|m|h|d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may happen: ``count`` times at once, and that many again in every ``period_s`` seconds.

    Attributes:
        count: 1 or more.
        period_s: Above 0, and finite.
    """

    count: int
    period_s: float = 1.0

    def __post_init__(self) -> None:
        if not (self.count >= 1 and 0 < self.period_s < math.inf):
            raise ConfigurationError(f"a rate is at least one in some time, not {self.count} in {self.period_s} s")


def parse_count(text: str) -> int:
    """Read how many: a whole number, or one with k (thousand), M (million) or G: ``500``, ``1k``, ``2.5M``.

    Raises:
        ConfigurationError: ``text`` is no whole number.
    """
    match = _COUNT.fullmatch(text)
    count = Decimal(match[1]) * _COUNT_UNITS[match[2].lower()] if match else None
    if count is None or count != count.to_integral_value():
        raise ConfigurationError(f"{text[:40]!r} is not a whole number: 500, 1k or 2M")
    return int(count)


def parse_size(text: str) -> int:
    """Read a size in bytes. Units are read in any case, for only bytes are meant; ``MB`` is 1000², ``MiB`` is 1024².

    Raises:
        ConfigurationError: ``text`` is not a size. The problem names the grammar.
    """
    match = _SIZE.fullmatch(text)
    factor = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ConfigurationError(f"{text[:40]!r} is not a size: write {SIZE_GRAMMAR}")
    return int(match[1]) * factor


def parse_duration(text: str) -> float | None:
    """Read a duration in seconds; ``none`` is None: no limit. A number without a unit says too little and is refused.

    Raises:
        ConfigurationError: ``text`` is not a duration. The problem names the grammar.
    """
    if text == "none":
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text[:40]!r} is not a duration: write {DURATION_GRAMMAR}")
    number = float(match[1])
    # Divided, not multiplied by 0.001, which is no binary fraction: 7ms is the float 0.007.
    return number / 1000 if match[2] == "ms" else number * _DURATION_UNITS[match[2]]


def format_size(size: int) -> str:
    """Write ``size`` bytes in the largest unit that is exact, so that `parse_size` gives the same number back.

    Raises:
        ValueError: ``size`` is negative.
    """
    if size < 0:
        raise ValueError(f"a size is not negative: {size}")
    for name, factor in _SIZE_NAMES:
        if size and size % factor == 0:
            return f"{size // factor}{name}"
    return str(size)


def format_duration(seconds: float | None) -> str:
    """Write ``seconds`` in the largest unit that is exact, so that `parse_duration` gives the same number back.

    Raises:
        ValueError: ``seconds`` is negative, infinite or not a number.
    """
    if seconds is None:
        return "none"
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"a duration is finite and not negative: {seconds}")
    for name, factor in _DURATION_UNITS.items():
        if seconds and seconds % factor == 0:
            return f"{int(seconds) // factor}{name}"
    milliseconds = round(seconds * 1000)
    if milliseconds and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    # repr is the shortest text that reads back as this float; Decimal only writes it without an exponent.
    return f"{Decimal(repr(float(seconds))).normalize():f}s"


def parse_rate(text: str) -> Rate | None:
    """Read a rate, ``100/s``; ``none`` is None: no limit.

    Raises:
        ConfigurationError: ``text`` is not a rate. The problem names the grammar.
    """
    if text == "none":
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text[:40]!r} is not a rate: write {RATE_GRAMMAR}")
    return Rate(int(match[1]), _DURATION_UNITS[match[2]])


def format_rate(rate: Rate | None) -> str:
    """Write a rate as `parse_rate` reads it, or, over another time than s, m, h or d, with that: ``5/2500ms``."""
    if rate is None:
        return "none"
    unit = next((name for name, factor in _DURATION_UNITS.items() if factor == rate.period_s), None)
    return f"{rate.count}/{unit or format_duration(rate.period_s)}"
