"""What the value of an option may be: one kind serves the command line, the environment, TOML, code and the docs."""

# ruff: noqa: D102  # the contract of a method is written once, in Kind

import dataclasses
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..address import parse_address
from ..errors import ConfigurationError
from ..suggest import did_you_mean
from ..units import DURATION_GRAMMAR, SIZE_GRAMMAR, format_duration, format_size, parse_duration, parse_size

# Above what any service waits for and below what the system's clocks overflow at (settimeout: 292 years).
MAX_DURATION_S: Final = 3650 * 86400.0
MAX_SIZE_BYTES: Final = 64 * 1024**3

_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


def quote(value: object) -> str:
    """Write a value into a message: on one line, escaped, and cut at 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class Kind(ABC):
    """The values one option accepts, and how they are written.

    Every method that refuses a value raises `ConfigurationError` with the value and what is allowed, and leaves
    saying where the value came from to its caller.
    """

    @property
    @abstractmethod
    def metavar(self) -> str:
        """The placeholder ``--help`` shows, in capitals."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What is allowed, as the end of a sentence: ``a whole number from 1 to 10``."""

    @abstractmethod
    def check(self, value: object) -> None:
        """Refuse a value given in code.

        Raises:
            ConfigurationError: ``value`` is not of this kind.
        """

    @abstractmethod
    def parse(self, text: str) -> object:
        """Read a value from text: an option or an environment variable.

        Raises:
            ConfigurationError: ``text`` is not of this kind.
        """

    def from_toml(self, value: object) -> object:
        """Read a value from what TOML made of it. By default TOML's own types are those of code.

        Raises:
            ConfigurationError: ``value`` is not of this kind.
        """
        self.check(value)
        return value

    def beside(self, value: object, directory: Path) -> object:
        """Return what a value means that stands in a file of ``directory``: its relative paths are relative to that.

        Raises:
            ConfigurationError: The path has become too long.
        """
        return value

    def format(self, value: object) -> str:
        """Write a value as `parse` reads it."""
        return str(value)

    def toml(self, value: object) -> str:
        """Write a value as it stands in a TOML file."""
        return '"' + self.format(value).replace("\\", "\\\\").replace('"', '\\"') + '"'

    def refuse(self, value: object) -> ConfigurationError:
        """Make the error for ``value``."""
        return ConfigurationError(f"{quote(value)} is not {self.allowed}")


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
        value = parse_duration(text)
        if value is None and not self.never:
            raise ConfigurationError(f"none is not allowed here: write {DURATION_GRAMMAR}".replace(", or none", ""))
        self.check(value)
        return value

    def from_toml(self, value: object) -> float | None:
        if not isinstance(value, str):
            raise ConfigurationError(f'expected a duration in quotes ("10s"), got {_toml(value)}')
        return self.parse(value)

    def format(self, value: object) -> str:
        assert value is None or isinstance(value, int | float)
        return format_duration(value)


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
            raise ConfigurationError(f"expected {SIZE_GRAMMAR}, got {_toml(value)}")
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
        # Eighteen digits: more than any maximum, and int() stays linear whatever is typed.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
            raise self.refuse(text)
        value = int(text)
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
            raise ConfigurationError(f'expected permissions in octal and in quotes ("0600"), got {_toml(value)}')
        return self.parse(value)

    def format(self, value: object) -> str:
        return f"{value:04o}"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        return "|".join(self.words)

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.words)

    def check(self, value: object) -> None:
        if value not in self.words:
            hint = did_you_mean(value, self.words) if isinstance(value, str) else ""
            raise ConfigurationError(f"{quote(value)} is not {self.allowed}{hint}")

    def parse(self, text: str) -> str:
        self.check(text)
        return text


@dataclass(frozen=True, slots=True)
class Flag(Kind):
    """On or off."""

    @property
    def metavar(self) -> str:
        return ""

    @property
    def allowed(self) -> str:
        return "true or false"

    def check(self, value: object) -> None:
        if not isinstance(value, bool):
            raise self.refuse(value)

    def parse(self, text: str) -> bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ConfigurationError(f"{quote(text)} is not {self.allowed} (nor yes, no, on, off, 1, 0)")
        return text.lower() in _TRUE

    def format(self, value: object) -> str:
        return "true" if value else "false"

    def toml(self, value: object) -> str:
        return self.format(value)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """Any text without NUL.

    Attributes:
        metavar: The placeholder ``--help`` shows.
        allowed: What is allowed, as the end of a sentence.
        optional: Whether None is a value too: "not given".
    """

    metavar: str = "TEXT"
    allowed: str = "text"
    optional: bool = False

    def check(self, value: object) -> None:
        if value is None and self.optional:
            return
        if not isinstance(value, str):
            raise ConfigurationError(f"expected text, got {quote(value)}")
        if "\0" in value:
            raise ConfigurationError(f"{quote(value)} has a NUL character in it")

    def parse(self, text: str) -> str:
        self.check(text)
        return text

    def format(self, value: object) -> str:
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Bind(Text):
    """An address to listen on, kept as the user wrote it."""

    metavar: str = "ADDRESS"
    allowed: str = "an address: tcp://HOST:PORT, udp://HOST:PORT, unix:PATH, …"

    def check(self, value: object) -> None:
        Text.check(self, value)
        assert isinstance(value, str)
        parse_address(value)

    def beside(self, value: object, directory: Path) -> str:
        assert isinstance(value, str)
        address = parse_address(value)
        if not address.path or address.path.startswith(("/", "@")) or directory == Path():
            return value
        moved = str(dataclasses.replace(address, path=str(directory / address.path)))
        self.check(moved)
        return moved


@dataclass(frozen=True, slots=True)
class Repeated(Kind):
    """Values of another kind. An option given again adds one; a variable separates them by spaces.

    Attributes:
        kind: The other kind.
        empty: Whether there may be none of them.
    """

    kind: Kind
    empty: bool = False

    @property
    def metavar(self) -> str:
        return self.kind.metavar

    @property
    def allowed(self) -> str:
        return f"{'any number' if self.empty else 'one or more'}, each {self.kind.allowed}"

    def check(self, value: object) -> None:
        if not isinstance(value, tuple):
            raise ConfigurationError(f"expected a tuple, got {quote(value)}")
        self._refuse_none(value)
        for item in value:
            self.kind.check(item)

    def parse(self, text: str) -> tuple[object, ...]:
        return self.parse_each(text.split())

    def parse_each(self, texts: "list[str] | tuple[str, ...]") -> tuple[object, ...]:
        """Read values that have been separated already.

        Raises:
            ConfigurationError: There is none, or one of them is not of the kind.
        """
        self._refuse_none(texts)
        return tuple(map(self.kind.parse, texts))

    def from_toml(self, value: object) -> tuple[object, ...]:
        items = value if isinstance(value, list) else [value]
        self._refuse_none(items)
        return tuple(map(self.kind.from_toml, items))

    def beside(self, value: object, directory: Path) -> tuple[object, ...]:
        assert isinstance(value, tuple)
        return tuple(self.kind.beside(item, directory) for item in value)

    def _refuse_none(self, items: Sized) -> None:
        if not items and not self.empty:
            raise ConfigurationError("at least one is needed")

    def format(self, value: object) -> str:
        assert isinstance(value, tuple)
        return " ".join(map(self.kind.format, value))

    def toml(self, value: object) -> str:
        assert isinstance(value, tuple)
        return "[" + ", ".join(map(self.kind.toml, value)) + "]"


def _toml(value: object) -> str:
    """Name a TOML value in a message the way TOML writes it, where that is short."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return quote(value)
        case str():
            return quote(value)
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"
