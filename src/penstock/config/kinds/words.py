"""What is written in words: one of a few, yes or no, any text, an address."""

# ruff: noqa: D102  # the contract of a method is written once, in Kind

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...address import Scheme, parse_address
from ...errors import ConfigurationError
from ...suggest import did_you_mean
from .base import Kind, quote

_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0")


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


def check_word(name: str, word: object, known: Iterable[str]) -> None:
    """Refuse an argument that names a policy there is not: when it is given, not when something meets it.

    Raises:
        ConfigurationError: It does.
    """
    try:
        Choice(tuple(known)).check(word)
    except ConfigurationError as error:
        raise ConfigurationError(error.problem, name) from None


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
class UnixAddress(Bind):
    """A Unix address of connections, to listen on or to connect to."""

    metavar: str = "ADDRESS"
    allowed: str = "a Unix address: unix:PATH"

    def check(self, value: object) -> None:
        Text.check(self, value)
        if value is not None:
            assert isinstance(value, str)
            if parse_address(value).scheme is not Scheme.UNIX:
                raise ConfigurationError(f"{quote(value)} is not {self.allowed}")


@dataclass(frozen=True, slots=True)
class File(Text):
    """The name of a file."""

    def beside(self, value: object, directory: Path) -> object:
        return str(directory / value) if isinstance(value, str) else value
