"""Where values come from: defaults, then the file, then the environment, then the command line. The last one wins.

Every source is read to its end before anything is refused, so that all mistakes are reported at once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from ..errors import ConfigurationError
from ..suggest import did_you_mean, nearest
from .files import Document
from .kinds import Repeated, quote
from .option import ENV_PREFIX, Option
from .options import ServerConfig, build

DEFAULT_SOURCE: Final = "default"
ORDER: Final = "defaults < penstock.toml (or [tool.penstock] in pyproject.toml) < environment < options"

# What names the file, and what the shell's completion sets, are read elsewhere.
FILE_VARIABLE: Final = ENV_PREFIX + "CONFIG"
_OTHER_VARIABLES: Final = (FILE_VARIABLE,)

# The name of an option in a sentence. One word alone may be a word of the sentence, and one beside a dot a file's name.
_NAME: Final = re.compile(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+(?![\w/-]|\.\w)")

E = TypeVar("E", bound=ConfigurationError)


class ConfigurationErrors(ConfigurationError):  # noqa: N818  # it is several
    """Several things are wrong with the configuration. Nothing was started.

    Attributes:
        errors: Each of them.
    """

    def __init__(self, errors: Sequence[ConfigurationError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)

    def __reduce__(self) -> tuple[type["ConfigurationErrors"], tuple[Sequence[ConfigurationError]]]:
        return type(self), (self.errors,)


@dataclass(frozen=True, slots=True)
class Given:
    """A value from the command line.

    Attributes:
        flag: How it was written there, as ``--backlog``.
        text: What was written; a tuple of texts for an option that was given several times; a bool for a flag.
        scoped: Of a flag, what was written for single services, each as ``NAME=VALUE``.
    """

    flag: str
    text: str | tuple[str, ...] | bool | None
    scoped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one option and where it came from.

    Attributes:
        option: The option.
        value: Its value.
        source: ``default``, ``file:line``, a variable or a flag.
        place: What a refusal of the value begins with, ``file:line: name``, a variable or a flag; empty where no source
            set it.
    """

    option: Option
    value: object
    source: str
    place: str = ""

    def spell(self, name: str) -> str:
        """Write the name of an option as the source of this one has it: ``--tls-key`` beside ``--tls-cert``."""
        if self.place.startswith("--"):
            return "--" + name.replace("_", "-")
        if self.place != self.source or not self.place:
            return name
        return self.place.removesuffix(self.option.name.upper()) + name.upper()


@dataclass(frozen=True, slots=True)
class Settings:
    """The value of every option.

    Attributes:
        by_name: Each `Setting` by its option's name, in the order of the options.
        warnings: What is not wrong enough to stop for, one sentence each.
        layers: What each source set by itself: the file, the environment, the command line.
    """

    by_name: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()
    layers: tuple[Mapping[str, Setting], ...] = ()

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.by_name.values())

    @property
    def chosen(self) -> dict[str, object]:
        """The values that some source set, by option name."""
        return {name: setting.value for name, setting in self.by_name.items() if setting.source != DEFAULT_SOURCE}

    def with_defaults(self, names: Iterable[str]) -> "Settings":
        """Return them with these options at their defaults, whatever a source says."""
        plain = merged([self.by_name[name].option for name in names], ())
        return replace(self, by_name={**self.by_name, **plain})

    def server_config(self) -> ServerConfig:
        """Make the server's configuration.

        Raises:
            ConfigurationError: Two values contradict each other; ``where`` names the sources of both.
        """
        try:
            return build(self.chosen)
        except ConfigurationError as error:
            words = re.split(r"[\s=,;:]+", error.problem)
            named = [each for each in self if each.source != DEFAULT_SOURCE and each.option.name in words]
            problem = self._spelled(error.problem, named[0] if named else None)
            raise ConfigurationError(problem, ", ".join(each.source for each in named) or error.where) from None

    def placed(self, error: E) -> E:
        """Return an error that names options with the place where the value came from, as that is written there.

        What is wrong may show long after the sources were read, where nothing is known of them: a file that cannot be
        read. Such an error names the option. An error that names none that was set is returned as it is.
        """
        setting = None if error.where is None else self.by_name.get(error.where)
        problem = self._spelled(error.problem, setting)
        where = setting.place if setting is not None and setting.place else error.where
        if (problem, where) == (error.problem, error.where):
            return error
        return type(error)(problem, where)

    def _spelled(self, problem: str, beside: Setting | None) -> str:
        """Write each option in a sentence as its source does; one that was not set, as the source of another does."""

        def spelled(match: re.Match[str]) -> str:
            setting = self.by_name.get(match[0])
            if setting is None:
                return match[0]
            like = setting if setting.place else beside
            return match[0] if like is None else like.spell(match[0])

        return _NAME.sub(spelled, problem)


def load(
    options: Sequence[Option],
    *,
    given: Mapping[str, Given] | None = None,
    environ: Mapping[str, str] | None = None,
    document: Document | None = None,
    foreign: Mapping[str, str] | None = None,
    prefix: str = ENV_PREFIX,
) -> Settings:
    """Read every source, check every value, and let the last source win.

    Args:
        options: What can be set.
        given: The command line, by option name.
        environ: The environment.
        document: The configuration file.
        foreign: Options that exist but do not belong here, with the sentence that says to what they belong. They are
            refused on the command line and in the file; in the environment, which many programs share, they are not.
        prefix: What the names of variables begin with.

    Raises:
        ConfigurationErrors: Values or names are refused: all of them, from all sources.
    """
    reader = _Reader({option.name: option for option in options}, foreign or {}, prefix)
    if document is not None:
        reader.read_document(document)
    file = reader.layer()
    reader.read_environment(environ or {})
    environment = reader.layer()
    reader.read_command_line(given or {})
    layers = (file, environment, reader.layer())
    if reader.errors:
        raise ConfigurationErrors(reader.errors)
    return Settings(merged(options, layers), tuple(reader.warnings), layers)


def merged(options: Sequence[Option], layers: Iterable[Mapping[str, Setting]]) -> dict[str, Setting]:
    """Return the setting of each option: the last layer that has it wins."""
    settings = {option.name: Setting(option, option.default, DEFAULT_SOURCE) for option in options}
    for layer in layers:
        settings.update(layer)
    return settings


class _Reader:
    def __init__(self, options: Mapping[str, Option], foreign: Mapping[str, str], prefix: str) -> None:
        self.options = options
        self.foreign = foreign
        self.prefix = prefix
        self.settings: dict[str, Setting] = {}  # of the source that is being read
        self.errors: list[ConfigurationError] = []
        self.warnings: list[str] = []

    def layer(self) -> dict[str, Setting]:
        """Return what was read since this was called before."""
        read, self.settings = self.settings, {}
        return read

    def read_document(self, document: Document) -> None:
        for key, value in document.table.items():
            where = document.where(key)
            option = self.options.get(key)
            if option is not None:
                self._set(option, where, value, document.directory)
            elif key in self.foreign:
                self.errors.append(ConfigurationError(f"{key} {self.foreign[key]}", where))
            else:
                self.errors.append(ConfigurationError(self._unknown_key(key, value), where))

    def _unknown_key(self, key: str, value: object) -> str:
        if isinstance(value, dict):
            flat = [name for inner in value if (name := nearest(f"{key}_{inner}", self.options)) is not None]
            return f"unknown table {quote(key)}: every option has a line of its own" + (
                f", as {flat[0]} = …" if flat else ""
            )
        return f"unknown option {quote(key)}{did_you_mean(key, self.options)}"

    def read_environment(self, environ: Mapping[str, str]) -> None:
        by_variable = {self.prefix + option.name.upper(): option for option in self.options.values()}
        foreign = {self.prefix + name.upper() for name in self.foreign}
        for variable in sorted(environ):
            if not variable.startswith(self.prefix) or variable in _OTHER_VARIABLES:
                continue
            option = by_variable.get(variable)
            if option is not None:
                # Set and empty is how shells and compose files write "not set".
                if environ[variable]:
                    self._set(option, variable, environ[variable])
            elif variable not in foreign:
                hint = did_you_mean(variable, by_variable)
                self.warnings.append(f"unknown variable {quote(variable)[1:-1]} ignored{hint}")

    def read_command_line(self, given: Mapping[str, Given]) -> None:
        for name, value in given.items():
            if name in self.options:
                for text in value.scoped:  # there are no services here to take them: each is refused as a value
                    self._set(self.options[name], value.flag, text)
                if value.text is not None:
                    self._set(self.options[name], value.flag, value.text)
            else:
                self.errors.append(ConfigurationError(self.foreign[name], value.flag))

    def _set(self, option: Option, source: str, raw: object, directory: Path | None = None) -> None:
        place = source if directory is None else f"{source}: {option.name}"
        try:
            if directory is not None:  # of the file it stands in
                value = option.kind.beside(option.kind.from_toml(raw), directory)
            elif isinstance(raw, str):
                value = option.kind.parse(raw)
            elif isinstance(raw, tuple):
                assert isinstance(option.kind, Repeated)
                value = option.kind.parse_each(raw)
            else:
                value = raw
                option.kind.check(value)
        except ConfigurationError as error:
            self.errors.append(ConfigurationError(error.problem, place))
        else:
            self.settings[option.name] = Setting(option, value, source, place)
