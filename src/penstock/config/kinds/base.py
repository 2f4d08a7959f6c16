"""What every kind of value does, and how a message shows a value that is refused."""

from abc import ABC, abstractmethod
from pathlib import Path

from ...errors import ConfigurationError


def quote(value: object) -> str:
    """Write a value into a message: on one line, escaped, and cut at 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def quote_toml(value: object) -> str:
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

    def check_at(self, where: str, value: object) -> None:
        """As `check`, saying where the value stands.

        Raises:
            ConfigurationError: ``value`` is not of this kind.
        """
        try:
            self.check(value)
        except ConfigurationError as error:
            raise ConfigurationError(error.problem, where) from None

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
