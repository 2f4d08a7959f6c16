"""From the arguments of ``serve`` to a service and a configuration, both checked, with nothing opened yet."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from ..codecs.registry import is_own
from ..config import Option, ServerConfig, Text, did_you_mean, options
from ..config.files import FILE_NAME, PROJECT_FILE_NAME, Document, find, read
from ..config.sources import DEFAULT_SOURCE, FILE_VARIABLE, Settings, load
from ..core.service import Service
from ..errors import ConfigurationError
from ..server.diagnosis import max_backlog
from ..services import Definition
from ..services import all as all_services
from .commands import SectionOption
from .params import CodecSpec, RawText, click_options, given_options, suggestions
from .target import is_target, load_service, module_exists

_CODEC: Final = CodecSpec()


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
    def backlog_warnings(self) -> list[str]:
        """What opening the listeners would warn of."""
        limit = max_backlog()
        if limit is None or self.config.backlog <= limit or self.settings.by_name["backlog"].source == DEFAULT_SOURCE:
            return []
        return [f"backlog {self.config.backlog} is limited to {limit} by net.core.somaxconn"]


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
    return [
        target,
        *click_options(options(), suggestions()),
        *click_options(_labelled(option, services) for option in _service_options(services)),
        config,
        print_config,
    ]


def settle(ctx: click.Context, environ: Mapping[str, str]) -> tuple[Settings, Definition | None]:
    """Read every source of values for what ``ctx`` asks to serve.

    Returns:
        The values, and the classic service; None for the user's own.

    Raises:
        ConfigurationError: Something is wrong, or there is no such service.
    """
    services = all_services()
    target: str = ctx.params["target"]
    definition = next((service for service in services if service.name == target), None)
    if definition is None and not is_target(target) and not module_exists(target, current_directory()):
        names = [service.name for service in services]
        raise ConfigurationError(
            f"no service or module named {target!r}{did_you_mean(target, names)}\n"
            f"    services: {', '.join(names)}; your own: module:object"
        )
    own = tuple(definition.options) if definition is not None else ()
    known = _options()
    every = _service_options(services)
    foreign = {
        option.name: f"is an option of {_owners(option, services)}, not of {target}"
        for option in every
        if option.name not in {own_option.name for own_option in own}
    }
    settings = load(
        [*known, *own],
        given=given_options(ctx, [*known, *every]),
        environ=environ,
        document=_document(ctx.params["config"] or environ.get(FILE_VARIABLE)),
        foreign=foreign,
    )
    if definition is not None and (own_module := _own_module(target)) is not None:
        also = f"serving the classic service {target}, not {own_module}, which `penstock serve {own_module}` serves"
        settings = replace(settings, warnings=(*settings.warnings, also))
    return settings, definition


def _own_module(name: str) -> str | None:
    """Return what the user's own of that name is written as, if there is one in the current directory."""
    directory = current_directory()
    if (directory / f"{name}.py").is_file():
        return f"{name}.py"
    return f"{name}/__init__.py" if (directory / name / "__init__.py").is_file() else None


def make_plan(ctx: click.Context, settings: Settings, definition: Definition | None, *, serves: bool = True) -> Plan:
    """Load the service and put it over the codec that was asked for.

    A module that only a file names which lies in the current directory is run when it is served, with a warning that
    says so, and not to look at it.

    Args:
        ctx: The command line.
        settings: What `settle` returned.
        definition: The same.
        serves: Whether it is to be served.

    Raises:
        ConfigurationError: Values contradict each other.
        ApplicationError: The user's own cannot be loaded.
    """
    config = settings.server_config()
    if definition is None:
        service = load_service(ctx.params["target"], current_directory())
    else:
        service = definition.make(**{option.name: settings.by_name[option.name].value for option in definition.options})
    if config.codec is not None:
        source = settings.by_name["codec"].source
        lies_there = is_own(config.codec) and source.startswith((FILE_NAME, PROJECT_FILE_NAME)) and not _named_file(ctx)
        if lies_there:
            what = "is run, for" if serves else "is not looked at: it is run when it is served, for"
            text = f"the codec {config.codec} {what} {source} of the current directory names it"
            settings = replace(settings, warnings=(*settings.warnings, text))
        if serves or not lies_there:
            service = service.with_codec(_CODEC.make(config.codec))
        config = replace(config, codec=None)  # it is the service's own by now
    return Plan(service, config, settings)


def current_directory() -> Path:
    """Return the current directory, or its name where it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def _named_file(ctx: click.Context) -> str | None:
    """Return the configuration file that the user named, if any."""
    named: str | None = ctx.params["config"] or os.environ.get(FILE_VARIABLE)
    return named


def _document(path: str | None) -> Document | None:
    return read(Path(path)) if path is not None else find(Path())


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
    return RawText(Text("SERVICE"), {service.name: service.summary for service in services})
