"""The classic services: each a small module whose text is its protocol, served by ``penstock serve NAME``."""

from importlib import import_module
from typing import Final

from .definition import Definition

__all__ = ["Definition", "all", "find"]

# In the order in which they are told: from the program everybody writes first to the RFCs.
NAMES: Final = (
    "print",
    "echo",
    "time",
    "daytime",
    "greeter",
    "hello",
    "chat",
    "discard",
    "chargen",
    "qotd",
)


def all() -> list[Definition]:  # noqa: A001  # services.all() is what it is
    """Return every classic service."""
    return [_load(name) for name in NAMES]


def find(name: str) -> Definition | None:
    """Return the service called ``name``, or None."""
    return _load(name) if name in NAMES else None


def _load(name: str) -> Definition:
    definition = import_module(f".{name}", __name__).DEFINITION
    assert isinstance(definition, Definition)
    return definition
