"""The options of `penstock.config` as options of the command line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ..codecs import Codec, describe_codecs, parse_codec
from ..codecs.registry import is_own, runs_a_module
from ..config import Choice, Flag, Kind, Option, Repeated, Text
from ..config.sources import Given
from .commands import SectionOption, scoped_flags

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # not generic before click 8.4

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
# The placeholders of values that are, or may be, paths.
PATHS: Final = frozenset({"DIR", "FILE", "PATH", "SERVICE"})
# What an address begins with.
SCHEMES: Final[Mapping[str, str]] = {
    "tcp://": "HOST:PORT",
    "tls://": "HOST:PORT",
    "udp://": "HOST:PORT",
    "unix:": "PATH, a stream",
    "unix+dgram:": "PATH, datagrams",
    "unix+seqpacket:": "PATH, records",
}


class RawText(_ParamType):
    """Text as it was typed: all sources of values are read, and refused, in one place.

    Args:
        kind: What will be made of it; completion and the placeholder come from there.
        suggestions: Further words for completion, each with its description.
    """

    def __init__(self, kind: Kind, suggestions: Mapping[str, str] = NOTHING) -> None:
        self.name = kind.metavar
        self._words = {**dict.fromkeys(kind.words if isinstance(kind, Choice) else (), ""), **suggestions}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Leave it as it is."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the words that begin like what was typed, and files where a path is meant."""
        found = [CompletionItem(word, help=text) for word, text in self._words.items() if word.startswith(incomplete)]
        return [*found, CompletionItem(incomplete, "file")] if self.name in PATHS else found


@dataclass(frozen=True, slots=True)
class CodecSpec(Text):
    """A codec that can be made. The configuration knows nothing of codecs; the command line does.

    Attributes:
        metavar: The placeholder ``--help`` shows.
        allowed: What is allowed, as the end of a sentence.
        optional: Whether None is a value too: the service's own.
        made: The codecs that were made to see whether they can be, by what was written.
    """

    metavar: str = "CODEC"
    allowed: str = "a codec's name, with its options as name:key=value,key=value; your own as module:object"
    optional: bool = True
    made: dict[str, Codec[Any]] = field(default_factory=dict, compare=False, repr=False)

    def check(self, value: object) -> None:
        """Make the codec, so that what is wrong with it shows."""
        Text.check(self, value)
        if isinstance(value, str):
            self.make(value)

    def make(self, spec: str) -> Codec[Any]:
        """Make the codec, or return the one that was made."""
        made = self.made.get(spec)
        if made is None:
            if is_own(spec):
                from .target import look_in

                look_in(Path.cwd())  # not for any other: what is imported later would be looked for there as well
            made = self.made[spec] = parse_codec(spec)
        return made

    def from_toml(self, value: object) -> object:
        """Take a value of a file. No module is run for it yet: the file may only lie where we are."""
        if isinstance(value, str) and runs_a_module(value):
            Text.check(self, value)
            return value
        return Text.from_toml(self, value)


def suggestions() -> dict[str, Mapping[str, str]]:
    """Return the words that complete values, each with its description, by option name: for `click_options`."""
    return {"codec": {codec.name: codec.summary for codec in describe_codecs()}, "bind": SCHEMES}


def click_options(
    options: Iterable[Option], suggestions: Mapping[str, Mapping[str, str]] = NOTHING
) -> list[click.Parameter]:
    """Make the command line's options, shorthands included.

    Args:
        options: What can be set.
        suggestions: Words for completion, each with its description, by option name.
    """
    made: list[click.Parameter] = []
    for option in options:
        text = f"{option.help}."
        shown = option.default_shown
        names = [option.flag, *([option.short] if option.short else []), *option.aliases, option.name]
        if isinstance(option.kind, Flag):
            names[0] = f"{option.flag}/--no-{option.flag[2:]}"
            help_text = f"{text}  [default: {'on' if option.default else 'off'}]"
            made.append(SectionOption(names, default=None, help=help_text, section=option.section))
            continue
        help_text = f"{text}  [default: {shown}]" if shown else text
        made.append(
            SectionOption(
                names,
                type=RawText(option.kind, suggestions.get(option.name, NOTHING)),
                metavar=option.kind.metavar,
                multiple=isinstance(option.kind, Repeated),
                default=None,
                help=help_text,
                section=option.section,
            )
        )
        made += [
            SectionOption(
                [flag, _shorthand_name(option, flag)],
                is_flag=True,
                default=False,
                help=f"Short for {option.flag} {value}.",
                section=option.section,
            )
            for flag, value in option.shorthands.items()
        ]
    return made


def given_options(ctx: click.Context, options: Iterable[Option]) -> dict[str, Given]:
    """Collect what the user wrote on the command line, by option name.

    Raises:
        click.UsageError: An option and its shorthand, or two shorthands, say different things.
    """
    given: dict[str, Given] = {}
    for option in options:
        if ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            given[option.name] = Given(option.flag, ctx.params[option.name])
        if scoped := scoped_flags(ctx, option.name):
            text = given[option.name].text if option.name in given else None
            given[option.name] = Given(option.flag, text, scoped)
        for flag, value in option.shorthands.items():
            if not ctx.params.get(_shorthand_name(option, flag)):
                continue
            before = given.get(option.name)
            if before is not None and before.text != value:
                raise click.UsageError(f"{before.flag} {before.text} and {flag} contradict each other: give one", ctx)
            given[option.name] = Given(flag, value)
    return given


def _shorthand_name(option: Option, flag: str) -> str:
    return f"{option.name}__{flag.strip('-').replace('-', '_')}"
