"""Kinds made of another: several values of it, or one of it or none."""

# ruff: noqa: D102  # the contract of a method is written once, in Kind

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ...errors import ConfigurationError
from .base import Kind, quote

Auto = Literal["auto"]
AUTO: Final[Auto] = "auto"


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


@dataclass(frozen=True, slots=True)
class Unless(Kind):
    """Values of another kind, or ``none`` for no limit, or ``auto`` where that is worked out at the start.

    Attributes:
        kind: The other kind.
        auto: Whether ``auto`` is a value too.
    """

    kind: Kind
    auto: bool = False

    @property
    def metavar(self) -> str:
        return self.kind.metavar

    @property
    def allowed(self) -> str:
        return self.kind.allowed + (", auto, or none" if self.auto else ", or none")

    def check(self, value: object) -> None:
        if value is not None and not (self.auto and value == AUTO):
            self.kind.check(value)

    def parse(self, text: str) -> object:
        if text == "none":
            return None
        return AUTO if self.auto and text == AUTO else self.kind.parse(text)

    def from_toml(self, value: object) -> object:
        if value == "none" or (self.auto and value == AUTO):
            return self.parse(str(value))
        return self.kind.from_toml(value)

    def format(self, value: object) -> str:
        return "none" if value is None else AUTO if value == AUTO else self.kind.format(value)

    def toml(self, value: object) -> str:
        return f'"{self.format(value)}"' if value is None or value == AUTO else self.kind.toml(value)
