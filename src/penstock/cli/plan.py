"""From the arguments of ``serve`` to a service and a configuration, both checked, with nothing opened yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from ..address import Scheme, parse_address
from ..config import Option, ServerConfig, Text, did_you_mean, options
from ..config.files import Document, find, read
from ..config.sources import DEFAULT_ORIGIN, FILE_VARIABLE, Settings, load
from ..core.service import Service
from ..errors import ConfigurationError
from ..server.diagnosis import max_backlog
from ..services import Definition
from ..services import all as all_services
from ..units import format_duration
from .commands import SectionOption
from .params import CodecSpec, RawText, click_options, given_options, suggestions
from .target import is_target, load_service, module_exists

# Those whose absence lets a peer that does nothing hold a connection for ever.
_PROTECTING: Final = ("timeout_handshake", "timeout_first_message", "timeout_idle", "timeout_message", "timeout_write")
# Those whose absence lets one peer hold all there is to hold.
_LIMITING: Final = ("max_connections", "max_per_peer", "max_handshakes")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be served, and how.

    Attributes:
        service: The service, over the codec it is to speak.
        config: The server's configuration.
        settings: Where each value of it came from.
    """

    service: Service[Any]
    config: ServerConfig
    settings: Settings

    @property
    def warnings(self) -> list[str]:
        """What is allowed and perhaps not meant, one sentence each."""
        found = list(self.settings.warnings) + self.exposure(self.config.bind)
        write_s, kernel_s = self.config.timeouts.write_s, self.config.tcp.user_timeout_s
        is_shorter = kernel_s is not None and (write_s is None or write_s > kernel_s)
        if is_shorter and any(parse_address(text).scheme is Scheme.TCP for text in self.config.bind):
            found.append(
                f"timeout_write is {format_duration(write_s)}, but the kernel ends a TCP peer that does not read after "
                f"tcp_user_timeout, {format_duration(kernel_s)}: set that, too"
            )
        return found

    def exposure(self, addresses: Iterable[str]) -> list[str]:
        """What is perhaps not meant for those of the addresses that other machines may reach.

        Args:
            addresses: As configured; or where a server listens, for a socket that was handed down is known there only.
        """
        found: list[str] = []
        public = [
            text
            for text, address in ((text, parse_address(text)) for text in addresses)
            if address.is_public and address.scheme is not Scheme.TLS
        ]
        if public and self.config.warn_public:
            found.append(
                f"{', '.join(public)}: whoever reaches this machine can connect, and nothing is encrypted; "
                "--no-warn-public silences this"
            )
        off = [name for name in _PROTECTING if self.settings.by_name[name].value is None]
        if public and off:
            found.append(f"{', '.join(off)}: turned off on a public address, so that idle peers stay for ever")
        endless = [name for name in _LIMITING if self.settings.by_name[name].value is None]
        if public and endless:
            found.append(f"{', '.join(endless)}: turned off on a public address, so that one peer can take everything")
        return found

    @property
    def backlog_warnings(self) -> list[str]:
        """What opening the listeners would warn of."""
        limit = max_backlog()
        if limit is None or self.config.backlog <= limit or self.settings.by_name["backlog"].origin == DEFAULT_ORIGIN:
            return []
        return [f"backlog {self.config.backlog} is above the system's net.core.somaxconn, {limit}, which holds"]


def parameters() -> list[click.Parameter]:
    """Return the parameters that ``serve`` and ``check`` share: the target, and every option there is."""
    services = all_services()
    target = click.Argument(["target"], metavar="SERVICE", type=_target_type(services))
    config = SectionOption(
        ["--config", "-c"],
        type=RawText(Text("FILE")),
        metavar="FILE",
        help="Read this file: penstock.toml, or [tool.penstock] of a pyproject.toml.  "
        "[default: the one in the current directory]",
        section="Configuration",
    )
    print_config = SectionOption(
        ["--print-config"],
        is_flag=True,
        help="Print every option's value and where it came from, and exit.",
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
            f"there is no service {target!r} and no module of that name{did_you_mean(target, names)}\n"
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
    return settings, definition


def make_plan(ctx: click.Context, settings: Settings, definition: Definition | None) -> Plan:
    """Load the service and put it over the codec that was asked for.

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
        service = service.with_codec(config.codec)
    return Plan(service, config, settings)


def current_directory() -> Path:
    """Return the current directory, or its name where it is gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


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
    return [replace(option, kind=CodecSpec()) if option.name == "codec" else option for option in options()]


def _target_type(services: Iterable[Definition]) -> RawText:
    """The name of a service, or of the user's own."""
    return RawText(Text("SERVICE"), {service.name: service.summary for service in services})
