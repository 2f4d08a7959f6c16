"""How an option is declared: a dataclass field that carries all its flag, variable, TOML key and documentation need."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, TypeVar, Unpack

from ..errors import ConfigurationError
from .kinds import Kind

ENV_PREFIX: Final = "PENSTOCK_"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing a user can set, under one name everywhere.

    Attributes:
        name: The TOML key; the flag and the variable are made from it.
        kind: What it accepts.
        help: One sentence without a full stop.
        default: Its value when nothing sets it.
        default_text: What the documentation says instead, where the default depends on the machine.
        section: The heading it stands under in ``--help`` and in the documentation.
        short: A one-letter flag, as ``-b``.
        shorthands: Flags without a value that stand for one: ``{"--one-at-a-time": "one-at-a-time"}``.
        aliases: What other servers call its flag: taken as well, and shown nowhere.
    """

    name: str
    kind: Kind
    help: str
    default: object = None
    default_text: str | None = None
    section: str = "Service"
    short: str | None = None
    shorthands: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return ENV_PREFIX + self.name.upper()

    @property
    def default_shown(self) -> str:
        """The default as documentation shows it; empty when there is none."""
        return self.kind.format(self.default) if self.default_text is None else self.default_text


class _Extra(TypedDict, total=False):
    default_text: str
    short: str
    shorthands: Mapping[str, str]
    aliases: tuple[str, ...]


def declare(default: T, name: str, kind: Kind, section: str, help: str, **extra: Unpack[_Extra]) -> T:  # noqa: A002  # the word
    """Make a dataclass field that carries its `Option`. Typed as its default, as `dataclasses.field` is."""
    option = Option(name=name, kind=kind, help=help, default=default, section=section, **extra)
    return field(default=default, metadata={"option": option})


def check_fields(config: Any) -> None:  # Any: any of the dataclasses of options
    """Check each field of ``config`` by its own kind.

    Raises:
        ConfigurationError: One is refused; ``where`` is the name of the class and of the field.
    """
    for spec in dataclasses.fields(config):
        where = f"{type(config).__name__}.{spec.name}"
        value = getattr(config, spec.name)
        option = spec.metadata.get("option")
        if isinstance(option, Option):
            option.kind.check_at(where, value)
        elif not isinstance(value, group := spec.metadata["group"]):
            raise ConfigurationError(f"expected {group.__name__}, got {type(value).__name__}", where)
