"""How long, how much, how many, how often."""

# ruff: noqa: D102  # the contract of a method is written once, in Kind

import math
import re
from dataclasses import dataclass
from typing import Final

from ...errors import ConfigurationError
from ...units import (
    DURATION_GRAMMAR,
    RATE_GRAMMAR,
    SIZE_GRAMMAR,
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_count,
    parse_duration,
    parse_rate,
    parse_size,
)
from .base import Kind, quote, quote_toml

# Above what any service waits for and below what the system's clocks overflow at (settimeout: 292 years).
MAX_DURATION_S: Final = 3650 * 86400.0
MAX_SIZE_BYTES: Final = 64 * 1024**3


@dataclass(frozen=True, slots=True)
class Duration(Kind):
    """Seconds as a float, or None for "never".

    Attributes:
        zero: Whether 0 is allowed: for waits, where it means "not at all", and never for timeouts, where it would
            look like "off".
        never: Whether None is allowed.
    """

    zero: bool = False
    never: bool = True

    @property
    def metavar(self) -> str:
        return "DURATION"

    @property
    def allowed(self) -> str:
        return "a duration" + (", or none" if self.never else "")

    def check(self, value: object) -> None:
        if value is None and self.never:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            expected = "a number of seconds" + (" or None" if self.never else "")
            raise ConfigurationError(f"expected {expected}, got {quote(value)}")
        if not (math.isfinite(value) and 0 <= value <= MAX_DURATION_S):
            raise ConfigurationError(f"{quote(value)} seconds is not from 0 to {MAX_DURATION_S:.0f}")
        if value == 0 and not self.zero:
            raise ConfigurationError("0 would end everything at once" + ("; none turns it off" if self.never else ""))

    def parse(self, text: str) -> float | None:
        try:
            value = parse_duration(text)
            if value is None and not self.never:
                raise ConfigurationError(f"none is not allowed here: write {DURATION_GRAMMAR}")
        except ConfigurationError as error:
            raise ConfigurationError(error.problem if self.never else error.problem.replace(", or none", "")) from None
        self.check(value)
        return value

    def from_toml(self, value: object) -> float | None:
        if not isinstance(value, str):
            raise ConfigurationError(f'expected a duration in quotes ("10s"), got {quote_toml(value)}')
        return self.parse(value)

    def format(self, value: object) -> str:
        assert value is None or isinstance(value, int | float)
        return format_duration(value)


@dataclass(frozen=True, slots=True)
class SystemDuration(Duration):
    """A duration that the system keeps: a whole number of its ticks, from one to as many as it takes.

    Others would be refused by the system once the server runs, or rounded without a word.

    Attributes:
        tick_s: The system's unit in seconds, 1 or a fraction with 1 above it.
        max_ticks: The most it takes.
    """

    tick_s: float = 1.0
    max_ticks: int = 2**31 - 1

    @property
    def allowed(self) -> str:
        least, most = format_duration(self.tick_s), format_duration(self.max_ticks * self.tick_s)
        unit = "seconds" if self.tick_s == 1 else f"{least} steps"
        return f"a duration in whole {unit} from {least} to {most}" + (", or none" if self.never else "")

    def check(self, value: object) -> None:
        Duration.check(self, value)
        if value is None:
            return
        assert isinstance(value, int | float)
        # A float of milliseconds is no whole number of them to the last bit.
        ticks = value / self.tick_s
        if not (abs(ticks - round(ticks)) < 1e-6 * ticks and 1 <= round(ticks) <= self.max_ticks):
            raise ConfigurationError(f"{format_duration(value)} is not {self.allowed}")

    def ticks(self, seconds: float) -> int:
        """Return a duration that was checked as the system takes it."""
        return round(seconds / self.tick_s)


@dataclass(frozen=True, slots=True)
class Size(Kind):
    """A number of bytes from ``minimum`` to ``maximum``."""

    minimum: int = 1
    maximum: int = MAX_SIZE_BYTES

    @property
    def metavar(self) -> str:
        return "SIZE"

    @property
    def allowed(self) -> str:
        return f"a size from {format_size(self.minimum)} to {format_size(self.maximum)}"

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"expected a whole number of bytes, got {quote(value)}")
        if not self.minimum <= value <= self.maximum:
            raise self.refuse(value)

    def parse(self, text: str) -> int:
        value = parse_size(text)
        if not self.minimum <= value <= self.maximum:
            raise ConfigurationError(f"{text} is not {self.allowed}")
        return value

    def from_toml(self, value: object) -> int:
        if isinstance(value, str):
            return self.parse(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"expected {SIZE_GRAMMAR}, got {quote_toml(value)}")
        self.check(value)
        return value

    def format(self, value: object) -> str:
        assert isinstance(value, int)
        return format_size(value)


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number from ``minimum`` to ``maximum``."""

    minimum: int
    maximum: int

    @property
    def metavar(self) -> str:
        return "N"

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.minimum} to {self.maximum}"

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise self.refuse(value)

    def parse(self, text: str) -> int:
        try:
            value = parse_count(text)
        except ConfigurationError:
            raise self.refuse(text) from None
        self.check(value)
        return value

    def toml(self, value: object) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Mode(Kind):
    """The permission bits of a file, written in octal."""

    @property
    def metavar(self) -> str:
        return "MODE"

    @property
    def allowed(self) -> str:
        return "permissions in octal from 0000 to 0777"

    def check(self, value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o777:
            raise ConfigurationError(f"{quote(value)} is not {self.allowed}: write 0o600")

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"(0o?)?[0-7]{3}", text, re.ASCII):
            raise ConfigurationError(f"{quote(text)} is not {self.allowed}: 0600")
        return int(text, 8)

    def from_toml(self, value: object) -> int:
        # Not a TOML integer: 600 there is decimal, which is other permissions than the ones meant.
        if not isinstance(value, str):
            raise ConfigurationError(f'expected permissions in octal and in quotes ("0600"), got {quote_toml(value)}')
        return self.parse(value)

    def format(self, value: object) -> str:
        return f"{value:04o}"


@dataclass(frozen=True, slots=True)
class Frequency(Kind):
    """How often something may happen, or None for "as often as it likes"."""

    @property
    def metavar(self) -> str:
        return "RATE"

    @property
    def allowed(self) -> str:
        return "a rate (100/s, 10/m), or none"

    def check(self, value: object) -> None:
        if value is not None and not isinstance(value, Rate):
            raise ConfigurationError(f"expected a Rate or None, got {quote(value)}")

    def parse(self, text: str) -> Rate | None:
        return parse_rate(text)

    def from_toml(self, value: object) -> Rate | None:
        if not isinstance(value, str):
            raise ConfigurationError(f"expected {RATE_GRAMMAR}, in quotes; got {quote(value)}")
        return self.parse(value)

    def format(self, value: object) -> str:
        assert value is None or isinstance(value, Rate)
        return format_rate(value)
