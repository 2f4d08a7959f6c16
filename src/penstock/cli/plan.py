"""From the arguments of ``serve`` to a service and a configuration, both checked, with nothing opened yet."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Final

import click

from ..adapters import COMMANDS, WORDS
from ..app import App
from ..codecs.registry import runs_a_module
from ..config import Option, ProcessConfig, ServerConfig, Text, did_you_mean, options
from ..config.files import FILE_NAME, PROJECT_FILE_NAME, Document, find, read
from ..config.kinds.quantities import MAX_DURATION_S
from ..config.options import DefaultSeconds
from ..config.rendering import render_services, render_settings
from ..config.services import (
    CODE_SOURCE,
    OWN_WORKERS,
    PROCESS_WIDE,
    OfServices,
    Sources,
    ambiguous_variables,
    settings_of,
    split,
    unknown_variables,
)
from ..config.sources import DEFAULT_SOURCE, FILE_VARIABLE, ConfigurationErrors, Setting, Settings, load, merged
from ..core.service import Service
from ..errors import ConfigurationError
from ..installed import find_installed, installed
from ..server.diagnosis import max_backlog
from ..server.model import apart_from, lacking, refuse_without
from ..server.surroundings import enter_directory
from ..services import Definition
from ..services import all as all_services
from .commands import COMPLETION_VARIABLE, SectionOption
from .params import CodecSpec, RawText, click_options, given_options, suggestions
from .placing import placing
from .target import is_target, load_target, module_exists

_CODEC: Final = CodecSpec()
# Where the command was given: a server that has changed its directory reads its configuration from there still.
_START: Final = "penstock.start"
_DEVELOPS: Final = "penstock.develops"
_WITHOUT_END: Final = ("timeout_handshake", "timeout_first_message", "timeout_idle", "timeout_message")


@dataclass(frozen=True, slots=True)
class Settled:
    """What the sources of values say.

    Attributes:
        settings: The value of every option.
        definition: The classic service that is asked for; None for the user's own.
        special: What is said of single services of an application, if the user's own is one.
        document: The configuration file that was read; None where there is none.
    """

    settings: Settings
    definition: Definition | None = None
    special: OfServices = field(default_factory=OfServices)
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served, and how.

    Attributes:
        service: The service, over the codec it is to speak.
        config: The server's configuration, without a codec: the service has it.
        settings: Where each value of it came from.
    """

    service: Service[Any]
    config: ServerConfig
    settings: Settings

    @property
    def sources(self) -> tuple[Settings, ...]:
        """The settings of each service."""
        return (self.settings,)

    @property
    def access_log(self) -> bool:
        """Whether connections are logged when they end."""
        return self.config.access_log

    @property
    def backlog_warnings(self) -> list[str]:
        """What opening the listeners would warn of."""
        return backlog_warnings(self.config, self.settings)


@dataclass(frozen=True, slots=True)
class AppPlan:
    """What application is to be served, and how.

    Attributes:
        app: The application.
        configs: The configuration of each service, by name.
        by_service: Where each value of it came from.
        general: The same of what is said of all of them.
        in_one: The services that one worker has, where there are several.
        warnings: What is not wrong enough to stop for, one sentence each.
    """

    app: App[Any]
    configs: Mapping[str, ServerConfig]
    by_service: Mapping[str, Settings]
    general: Settings
    in_one: frozenset[str]
    warnings: tuple[str, ...]

    @property
    def config(self) -> ServerConfig:
        """The configuration of the first service, which has what is the whole process's, as all of them have."""
        return next(iter(self.configs.values()))

    @property
    def sources(self) -> tuple[Settings, ...]:
        """The settings of each service."""
        return tuple(self.by_service.values())

    @property
    def access_log(self) -> bool:
        """Whether connections of any service are logged when they end: each server knows whether its own are."""
        return any(config.access_log for config in self.configs.values())

    @property
    def backlog_warnings(self) -> list[str]:
        """What opening the listeners would warn of."""
        found = [backlog_warnings(config, self.by_service[name]) for name, config in self.configs.items()]
        return list(dict.fromkeys(warning for warnings in found for warning in warnings))


def backlog_warnings(config: ServerConfig, settings: Settings) -> list[str]:
    """Say what the kernel makes of a backlog that was asked for."""
    limit = max_backlog()
    if limit is None or config.backlog <= limit or settings.by_name["backlog"].source == DEFAULT_SOURCE:
        return []
    return [f"backlog {config.backlog} is limited to {limit} by net.core.somaxconn"]


def parameters() -> list[click.Parameter]:
    """Return the parameters that ``serve`` and ``check`` share: the target, and every option there is."""
    services = all_services()
    target = click.Argument(["target"], metavar="SERVICE", type=_target_type(services))
    config = SectionOption(
        ["--config", "-c"],
        type=RawText(Text("FILE")),
        metavar="FILE",
        help="Configuration file: a penstock.toml, or a pyproject.toml with [tool.penstock].  "
        "[default: the one in the current directory]",
        section="Configuration",
    )
    print_config = SectionOption(
        ["--print-config"],
        is_flag=True,
        help="Print every option with its value and source, then exit.",
        section="Configuration",
    )
    factory = SectionOption(
        ["--factory"],
        is_flag=True,
        help="SERVICE is a function without arguments that makes what is to be served.",
        section="Service",
    )
    kind = SectionOption(
        ["--as", "kind"],
        type=click.Choice(WORDS),
        metavar="KIND",
        help=f"Serve what SERVICE names as a handler of this kind: {', '.join(WORDS)}.  [default: by what it is]",
        section="Service",
    )
    return [
        target,
        factory,
        kind,
        *click_options(options(), suggestions()),
        *click_options(_labelled(option, services) for option in _service_options(services)),
        config,
        print_config,
    ]


class Unread(Enum):
    """What stands for a configuration file that is still to be looked for, where None is that there is none."""

    UNREAD = "unread"


def settle(
    ctx: click.Context, environ: Mapping[str, str], document: Document | Unread | None = Unread.UNREAD
) -> Settled:
    """Read every source of values for what ``ctx`` asks to serve.

    Args:
        ctx: The command line.
        environ: The environment.
        document: The configuration file, where it was read before.

    Raises:
        ConfigurationError: Something is wrong, or there is no such service.
    """
    services = all_services()
    target: str = ctx.params["target"]
    is_command = ctx.params["kind"] in COMMANDS
    definition = None if is_command else next((service for service in services if service.name == target), None)
    has_name = definition is None and not is_command and not is_target(target)
    brought = find_installed("services", target) if has_name else None
    if is_command and ctx.params["factory"]:
        raise ConfigurationError(
            f"--as {ctx.params['kind']} serves a program, and no function makes it: leave the option out", "--factory"
        )
    if not is_command and definition is None and brought is None and not _is_known(target):
        names = list(dict.fromkeys([*(each.name for each in services), *(each.name for each in installed("services"))]))
        raise ConfigurationError(
            f"no service or module named {target!r}{did_you_mean(target, names)}\n"
            f"    services: {', '.join(names)}; your own: module:object"
        )
    if definition is not None and ctx.params["factory"]:
        raise ConfigurationError(
            f"{target} is a classic service, and not made by a function of yours: leave the option out", "--factory"
        )
    if definition is not None and ctx.params["kind"]:
        raise ConfigurationError(f"{target} is a classic service, whose kind is known: leave the option out", "--as")
    own = tuple(definition.options) if definition is not None else ()
    known = _options()
    every = _service_options(services)
    foreign = {
        option.name: f"is an option of {_owners(option, services)}, not of {target}"
        for option in every
        if option.name not in {own_option.name for own_option in own}
    }
    given = given_options(ctx, [*known, *every])
    if _START not in ctx.meta:
        ctx.meta[_START] = current_directory()
        _enter(Sources(given, environ, _document(ctx, environ) if isinstance(document, Unread) else document))
    if isinstance(document, Unread):
        document = _document(ctx, environ)
    sources = Sources(given, environ, document)
    special = OfServices()
    if definition is None:
        sources, special = split(sources)
    settings = load(
        [*known, *own],
        given=sources.given,
        environ=sources.environ,
        document=sources.document,
        foreign=foreign,
    )
    if defaults := _defaults(ctx):
        settings = replace(settings, by_name=merged([*known, *own], [defaults, *settings.layers]))
    what = "the classic service" if definition is not None else f"{brought.package}'s service" if brought else None
    if what is not None and (own_module := _own_module(target)) is not None:
        also = f"serving {what} {target}, not {own_module}, which `penstock serve {own_module}` serves"
        settings = replace(settings, warnings=(*settings.warnings, also))
    return Settled(settings, definition, special, document)


def _is_known(target: str) -> bool:
    """Whether it names the user's own, as far as that can be said without importing anything."""
    return is_target(target) or module_exists(target, current_directory())


def _own_module(name: str) -> str | None:
    """Return what the user's own of that name is written as, if there is one in the current directory."""
    directory = current_directory()
    if (directory / f"{name}.py").is_file():
        return f"{name}.py"
    return f"{name}/__init__.py" if (directory / name / "__init__.py").is_file() else None


def make_plan(ctx: click.Context, settled: Settled, *, serves: bool = True) -> Plan | AppPlan:
    """Load the service and put it over the codec that was asked for.

    A module that only a file names which lies in the current directory is run when it is served, with a warning that
    says so, and not to look at it.

    Args:
        ctx: The command line.
        settled: What `settle` returned.
        serves: Whether it is to be served.

    Raises:
        ConfigurationError: Values contradict each other.
        ApplicationError: The user's own cannot be loaded.
    """
    settings, definition = settled.settings, settled.definition
    config = settings.server_config()
    if definition is None:
        target = _load(ctx.params["target"], factory=ctx.params["factory"], kind=ctx.params["kind"])
        if isinstance(target, App):
            return app_plan(ctx, target, settled, serves=serves)
        _refuse_special(target, settled.special)
        service = target
        if foreign := unknown_variables((), settled.special):
            settings = replace(settings, warnings=(*settings.warnings, *map(_ignored, foreign)))
    else:
        service = definition.make(**{option.name: settings.by_name[option.name].value for option in definition.options})
    if config.codec is not None:
        warning = _lying_codec(ctx, settings, config.codec, serves=serves)
        if warning is not None:
            settings = replace(settings, warnings=(*settings.warnings, warning))
        if serves or warning is None:
            with placing([settings]):
                service = service.with_codec(_CODEC.make(config.codec))
        config = replace(config, codec=None)  # it is the service's own by now
    return Plan(service, config, settings)


def _load(text: str, *, factory: bool, kind: str | None) -> Service[Any] | App[Any]:
    """Import what is to be served: what another package brings by that name, or the user's own."""
    brought = None if kind in COMMANDS or is_target(text) else find_installed("services", text)
    if brought is None:
        return load_target(text, current_directory(), factory=factory, kind=kind)
    found = load_target(brought.place, current_directory(), factory=factory, kind=kind)
    return replace(found, name=text) if isinstance(found, Service) else found


def app_plan(ctx: click.Context, app: App[Any], settled: Settled, *, serves: bool) -> AppPlan:
    """Say how each service of an application is to be served.

    Args:
        ctx: The command line.
        app: The application.
        settled: What `settle` returned.
        serves: As of `make_plan`.

    Raises:
        ConfigurationError: Values contradict each other, or are of a service that there is not.
    """
    app.check_services()
    general = settled.settings
    for layer in general.layers:
        for setting in layer.values():
            app.check_general([setting.option.name], setting.source)
    names = list(app.services)
    defaults = {name: app.declared_values(name) for name in names}
    by_service = settings_of(
        *(names, _options(), general, settled.special, defaults),
        own_workers=app.own_workers,
        instead=_defaults(ctx),
    )
    warnings = [*general.warnings, *map(_ignored, unknown_variables(names, settled.special))]
    warnings += ambiguous_variables(names, settled.special)
    configs = {}
    shared = general.by_name[OWN_WORKERS]
    in_one = set()
    for name, loaded in list(by_service.items()):
        service = app.services[name]
        special = {
            option: setting.value
            for option, setting in loaded.by_name.items()
            if setting != general.by_name.get(option) and setting.source != CODE_SOURCE
        }
        model = loaded.by_name["model"].value
        with placing([loaded]):
            refuse_without(service, special | {"model": model})
        settings = by_service[name] = loaded.with_defaults(apart_from(special, lacking(service, model)))
        if (own := settings.by_name[OWN_WORKERS]) != shared and (name in app.own_workers or own.source != CODE_SOURCE):
            in_one.add(name)
            settings = replace(settings, by_name={**settings.by_name, OWN_WORKERS: shared})  # how many there are
        config = settings.server_config()
        warnings += settings.warnings
        if config.codec is not None:
            warning = _lying_codec(ctx, settings, config.codec, serves=serves)
            if warning is not None:
                warnings.append(warning)
                config = config if serves else replace(config, codec=None)
        configs[name] = config
    return AppPlan(app, configs, by_service, general, frozenset(in_one), tuple(warnings))


def _refuse_special(service: Service[Any], special: OfServices) -> None:
    """Refuse what is said of a service of an application, where there is none.

    Raises:
        ConfigurationErrors: Something is.
    """
    if special.places:
        problem = f"{service.name} is one service, not an application with several: leave the service's name out"
        raise ConfigurationErrors([ConfigurationError(problem, place) for place in special.places])


def _ignored(variable: str) -> str:
    return f"unknown variable {variable} ignored"


def _lying_codec(ctx: click.Context, settings: Settings, codec: str, *, serves: bool) -> str | None:
    """Say that a codec of the user's own is run because a file names it that only lies here; None for any other."""
    source = settings.by_name["codec"].source
    if not runs_a_module(codec) or not source.startswith((FILE_NAME, PROJECT_FILE_NAME)) or _named_file(ctx):
        return None
    what = "is run, for" if serves else "is not looked at: it is run when it is served, for"
    return f"the codec {codec} {what} {source} of the current directory names it"


def warnings_of(plan: Plan | AppPlan) -> tuple[str, ...]:
    """Return what is not wrong enough to stop for, one sentence each."""
    return plan.warnings if isinstance(plan, AppPlan) else plan.settings.warnings


def rendered(plan: Plan | AppPlan) -> str:
    """Write every option with its value and origin, as TOML."""
    if isinstance(plan, AppPlan):
        return render_services(plan.by_service, plan.general, PROCESS_WIDE)
    return render_settings(plan.settings)


def current_directory() -> Path:
    """Return the current directory, or its name where it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def suit_development(ctx: click.Context) -> None:
    """Have `settle` return defaults that suit those who write a service: nothing ends but what they end."""
    ctx.meta[_DEVELOPS] = True


def _defaults(ctx: click.Context) -> dict[str, Setting]:
    """Return what stands in for the defaults; what is said anywhere goes before it."""
    if _DEVELOPS not in ctx.meta:
        return {}
    # As defaults: what a service declares of its own protocol goes before them, too.
    values = {name: DefaultSeconds(MAX_DURATION_S) for name in _WITHOUT_END} | {"timeout_drain": DefaultSeconds(1.0)}
    found: dict[str, object] = {**values, "access_log": False}
    return {
        option.name: Setting(option, found[option.name], "penstock dev")
        for option in _options()
        if option.name in found
    }


def start_directory(ctx: click.Context) -> str:
    """Return where the command was given, once `settle` has read it: there it means the same again."""
    return str(ctx.meta[_START])


def _named_file(ctx: click.Context) -> str | None:
    """Return the configuration file that the user named, if any."""
    named: str | None = ctx.params["config"] or os.environ.get(FILE_VARIABLE)
    return named


def _document(ctx: click.Context, environ: Mapping[str, str]) -> Document | None:
    start: Path = ctx.meta[_START]
    # Relative where that does: places in it are shown to the user.
    directory = Path() if start == current_directory() else start
    path: str | None = ctx.params["config"] or environ.get(FILE_VARIABLE)
    return read(directory / path) if path is not None else find(directory)


def _enter(sources: Sources) -> None:
    """Change to the directory that the sources say, before anything else of them is looked at.

    Raises:
        ConfigurationError: It cannot be.
    """
    option = next(option for option in options() if option.name == "chdir")
    document = sources.document
    settings = load(
        [option],
        given={name: value for name, value in sources.given.items() if name == option.name},
        environ={name: value for name, value in sources.environ.items() if name == option.variable},
        document=None if document is None else replace(document, table=_only(document.table, option.name)),
    )
    with placing([settings]):
        enter_directory(ProcessConfig(**settings.chosen))  # type: ignore[arg-type]  # one of its own values


def _only(table: Mapping[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in table.items() if name == key}


def _owners(option: Option, services: Iterable[Definition]) -> str:
    owners = [service.name for service in services if option.name in {own.name for own in service.options}]
    return ", ".join(owners)


def _service_options(services: Iterable[Definition]) -> list[Option]:
    """Return the options of all classic services, each once."""
    return list({option.name: option for service in services for option in service.options}.values())


def _labelled(option: Option, services: Iterable[Definition]) -> Option:
    """Return the option as ``--help`` shows it among those of all services."""
    return replace(option, section="Single services", help=f"{_owners(option, services)}: {option.help}")


def _options() -> list[Option]:
    """Return the server's options; the codec is looked up, so that a wrong one is refused with all other mistakes."""
    return [replace(option, kind=_CODEC) if option.name == "codec" else option for option in options()]


def _target_type(services: Iterable[Definition]) -> RawText:
    """The name of a service, or of the user's own."""
    names = {service.name: service.summary for service in services}
    if COMPLETION_VARIABLE in os.environ:  # to look for them takes longer than to start
        names = {each.name: f"Of the package {each.package}." for each in installed("services")} | names
    return RawText(Text("SERVICE"), names)
