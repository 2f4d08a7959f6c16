"""Values for one service of an application: ``--bind admin=unix:s``, PENSTOCK_SERVICE_ADMIN_BIND, ``[service.admin]``.

They are told apart by how they are written, before the application is known; whether it has such a service is asked
afterwards. What is said of one service holds whatever the same source says of all; a later source wins over both.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from ..errors import ConfigurationError
from ..reasons import Refusal
from ..suggest import did_you_mean
from .files import Document
from .kinds import quote
from .option import ENV_PREFIX, Option
from .process import ProcessConfig
from .sources import ConfigurationErrors, Given, Setting, Settings, load, merged

TABLE: Final = "service"
PREFIX: Final = ENV_PREFIX + "SERVICE_"
CODE_SOURCE: Final = "code"

# One process has one of each, however many services it has.
PROCESS_WIDE: Final = (
    *("log_level", "log_format", "log_config", "memory_limit", "stall_warning"),
    *(spec.name for spec in dataclasses.fields(ProcessConfig)),
    *("workers", "timeout_worker", "timeout_worker_start", "spare_worker"),
    *("max_worker_connections", "max_worker_age", "max_worker_memory"),
)

# Of one service it says that one of the workers has it; how many there are is the whole process's.
OWN_WORKERS: Final = "workers"

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SCOPE: Final = re.compile(rf"({NAME.pattern})=")
# Text of the user's, which may begin like a service's name.
_FREE_TEXT: Final = ("refusal_text",)


@dataclass(frozen=True, slots=True)
class Sources:
    """The three sources that are outside of the code, as they were found.

    Attributes:
        given: The command line, by option name.
        environ: The environment.
        document: The configuration file.
    """

    given: Mapping[str, Given] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class OfServices:
    """What the sources say of single services.

    Attributes:
        given: The command line, by service and option name.
        environ: The variables that name a service.
        document: The table of services.
    """

    given: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    document: Document | None = None

    @property
    def places(self) -> list[str]:
        """Where single services are named, as the user wrote it; the environment, which many programs share, is not."""
        written = [given.flag for options in self.given.values() for given in options.values()]
        return [*written, *([self.document.where(TABLE)] if self.document is not None else [])]


def split(sources: Sources) -> tuple[Sources, OfServices]:
    """Take what is said of single services out of the sources.

    Raises:
        ConfigurationError: ``service`` in the file is no table of tables.
    """
    general: dict[str, Given] = {}
    special: dict[str, dict[str, Given]] = {}
    for name, value in sources.given.items():
        rest, found = _scoped(name, value)
        if rest is not None:
            general[name] = rest
        for service, given in found.items():
            special.setdefault(service, {})[name] = given
    environ = {name: value for name, value in sources.environ.items() if not name.startswith(PREFIX)}
    variables = {name: value for name, value in sources.environ.items() if name.startswith(PREFIX)}
    document = sources.document
    tables = None
    if document is not None and TABLE in document.table:
        tables = document.inner(TABLE)
        if tables is None or not all(isinstance(table, dict) for table in tables.table.values()):
            raise ConfigurationError(
                "expected a table for each service: [service.NAME], then its options", document.where(TABLE)
            )
        tables = replace(tables, lines={**tables.lines, TABLE: min(tables.lines.values(), default=1)})
        document = document.without(TABLE)
    return Sources(general, environ, document), OfServices(special, variables, tables)


def settings_of(
    names: Sequence[str],
    options: Sequence[Option],
    general: Settings,
    special: OfServices,
    defaults: Mapping[str, Mapping[str, object]],
    *,
    own_workers: Mapping[str, object] = MappingProxyType({}),
    instead: Mapping[str, Setting] = MappingProxyType({}),
) -> dict[str, Settings]:
    """Return the value of every option, for each service.

    Args:
        names: The services.
        options: What can be set.
        general: What the sources say of all.
        special: What they say of single ones.
        defaults: What the code says, by service and option name.
        own_workers: For the services of which the code says how many workers have them: that.
        instead: What stands in for the options' own defaults.

    Returns:
        Their ``workers`` are those of the whole process, unless it is said of the service.

    Raises:
        ConfigurationErrors: A service does not exist, a value is refused, or an option is not a service's: all of it.
    """
    errors = [*_unknown(names, special)]
    found: dict[str, Settings] = {}
    own = [option for option in options if option.name not in PROCESS_WIDE or option.name == OWN_WORKERS]
    foreign = dict.fromkeys(set(PROCESS_WIDE) - {OWN_WORKERS}, "is of the whole process, not of one service")
    by_name = {option.name: option for option in options}
    variables = _variables(names, special.environ)
    for name in names:
        try:
            mine = load(
                own,
                given=special.given.get(name),
                environ=variables.get(name),
                document=None if special.document is None else special.document.inner(name),
                foreign=foreign,
                prefix=prefix_of(name),
            )
        except ConfigurationErrors as error:
            errors += error.errors
            continue
        code = {key: Setting(by_name[key], value, CODE_SOURCE) for key, value in defaults[name].items()}
        layers = [dict(instead), code]
        workers = [Setting(by_name[OWN_WORKERS], own_workers[name], CODE_SOURCE)] if name in own_workers else []
        for ours, theirs in zip(general.layers, mine.layers, strict=True):
            layers += [dict(ours), {key: each for key, each in theirs.items() if key != OWN_WORKERS}]
            workers += [each for key, each in theirs.items() if key == OWN_WORKERS]
        for setting in workers:
            try:
                check_own_workers(setting.value, setting.source)
            except ConfigurationError as error:
                errors.append(error)
        settings = merged(options, layers)
        if workers and workers[-1].value is not None:
            settings[OWN_WORKERS] = workers[-1]
        found[name] = Settings(settings, mine.warnings)
    if errors:
        raise ConfigurationErrors(errors)
    return found


def check_own_workers(value: object, where: str) -> None:
    """Refuse a number of workers that one service cannot have.

    Args:
        value: The number.
        where: Where it is said.

    Raises:
        ConfigurationError: It is neither 1 nor None.
    """
    if value is not None and (isinstance(value, bool) or value != 1):
        raise ConfigurationError(
            f"workers = {value!r}: for a service write 1, so that one worker has it, or none, so that all have it; how "
            "many workers there are is set for the whole process",
            where,
        )


def names_a_service(text: str) -> bool:
    """Whether a value is written for a single service."""
    return _SCOPE.match(text) is not None


def prefix_of(service: str) -> str:
    """Return what the names of a service's variables begin with."""
    return f"{PREFIX}{service.upper().replace('-', '_')}_"


def unknown_variables(names: Sequence[str], special: OfServices) -> list[str]:
    """Return the variables that name a service there is not."""
    known = tuple(map(prefix_of, names))
    return [variable for variable in sorted(special.environ) if not variable.startswith(known)]


def ambiguous_variables(names: Sequence[str], special: OfServices) -> list[str]:
    """Say of each variable that is as good as another service's, too, whose it was taken for."""
    found = []
    for service, variables in _variables(names, special.environ).items():
        others = [name for name in names if name != service and prefix_of(name) == prefix_of(service)]
        if others:
            found += [
                f"{variable} was taken for {service}'s; variables of {', '.join(others)} are written the same way"
                for variable in sorted(variables)
            ]
    return found


def _variables(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Share out the variables: of services called ``a`` and ``a_b``, the longer name has what both could have."""
    found: dict[str, dict[str, str]] = {}
    by_length = sorted(names, key=len, reverse=True)
    for variable, value in environ.items():
        service = next((name for name in by_length if variable.startswith(prefix_of(name))), None)
        if service is not None:
            found.setdefault(service, {})[variable] = value
    return found


def _unknown(names: Sequence[str], special: OfServices) -> Iterable[ConfigurationError]:
    named = {name: [given.flag for given in options.values()] for name, options in special.given.items()}
    if special.document is not None:
        for name in special.document.table:
            named.setdefault(name, []).append(special.document.where(name))
    for name, places in named.items():
        if name not in names:
            hint = did_you_mean(name, names) or f"; there are {', '.join(names)}"
            for place in places:
                yield ConfigurationError(f"there is no service {quote(name)}{hint}", place)


def _scoped(name: str, value: Given) -> tuple[Given | None, dict[str, Given]]:
    """Return what is said of all services, and what of single ones."""
    if value.scoped or isinstance(value.text, bool):
        pairs = [text.partition("=") for text in value.scoped]
        of_services = {service: Given(f"{value.flag} {service}=", word) for service, _, word in pairs}
        return None if value.text is None else Given(value.flag, value.text), of_services
    assert value.text is not None
    if name in _FREE_TEXT:
        return value, {}
    texts = value.text if isinstance(value.text, tuple) else (value.text,)
    general: list[str] = []
    special: dict[str, list[str]] = {}
    for text in texts:
        match = _SCOPE.match(text)
        if match is None or (name == "on_refusal" and match[1] in {*Refusal}):
            general.append(text)
        else:
            special.setdefault(match[1], []).append(text[match.end() :])
    many = isinstance(value.text, tuple)
    rest = None if not general else Given(value.flag, tuple(general) if many else general[0])
    scoped = {
        service: Given(f"{value.flag} {service}=", tuple(words) if many else words[0])
        for service, words in special.items()
    }
    return rest, scoped
