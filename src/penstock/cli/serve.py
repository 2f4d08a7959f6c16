"""``penstock serve``: run a service until it is told to stop."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..address import parse_address
from ..app import AppServer
from ..config import LogFormat, ServerConfig, Text
from ..control.beside import controlled_by
from ..core.events import Observer
from ..errors import ConfigurationError
from ..telemetry import Log, configure_logging
from ..workers import VARIABLE
from .banner import Ready, app_banner, banner
from .commands import PenstockCommand, SectionOption
from .init import INIT, go_on_in_a_child
from .params import RawText
from .placing import placing
from .plan import AppPlan, Plan, Settled, make_plan, parameters, rendered, settle, warnings_of
from .reread import Reread
from .terminal import has_colour

if TYPE_CHECKING:
    from ..server.forking.nursery import Nursery
    from ..workers.member import Member

EPILOG = """\
SERVICE is a classic service (see `penstock services`) or your own: module:object, module, file.py:object. It may be an
application of several services; then an option of one of them is written --bind NAME=ADDRESS, --timeout-idle NAME=5m.

Each option can also be set by an environment variable (PENSTOCK_TIMEOUT_IDLE=5m) or in penstock.toml
(timeout_idle = "5m"). Durations: 250ms, 10s, 5m, 1h, none. Sizes: 512, 64KiB, 1MiB.

Exit status: 0 stopped as told; 1 failed while running; 2 usage or configuration error; 3 SERVICE cannot be loaded;
4 cannot listen on an address; 5 a TLS file is missing or wrong; 6 a process cannot be started;
7 connections were cut at the drain deadline; 130 interrupted before it served.
"""


APPLICATION_FORKS = "process is for one service: an application's lifespans and groups are those of one process"


@dataclass(frozen=True, slots=True)
class Ways:
    """How it is served, beside what the configuration says.

    Attributes:
        reloads: Anew whenever a file changes.
        tells: With a line for each connection and message.
        is_local: On this machine alone.
    """

    reloads: bool = False
    tells: bool = False
    is_local: bool = False


def own_parameters() -> list[click.Parameter]:
    """Return the parameters of what serves: those that it shares with ``check``, and its own."""
    return [
        *parameters(),
        SectionOption(
            ["--print-ready"],
            is_flag=True,
            help="When ready, print a line of JSON with the addresses to standard output.",
            section="Listening",
        ),
        SectionOption(
            ["--reload-dir"],
            type=RawText(Text("DIR")),
            metavar="DIR",
            multiple=True,
            help="Watch the files in DIR; repeatable.  [default: the current directory]",
            section="Development",
        ),
    ]


def command() -> click.Command:
    """Make the command."""
    reload = SectionOption(
        ["--reload"],
        is_flag=True,
        help="Restart on every change of a .py or .toml file.",
        section="Development",
    )
    return PenstockCommand(
        "serve",
        params=[*own_parameters(), reload],
        callback=_serve,
        help="Serve a classic service or your own until Ctrl-C or SIGTERM.",
        epilog=EPILOG,
    )


def _serve(**_params: Any) -> int:
    ctx = click.get_current_context()
    return serve_as(ctx, Ways(reloads=ctx.params["reload"]))


def serve_as(ctx: click.Context, ways: Ways) -> int:
    """Serve what the command line says, until a signal ends it. Return the exit status."""
    member = None
    if VARIABLE in os.environ:  # else there is no supervisor, and nothing of it is loaded
        from ..workers.member import Member

        engine = ctx.params["engine"] or os.environ.get("PENSTOCK_ENGINE") or "auto"
        member = Member.from_environment(os.environ, engine)
    settled = settle(ctx, os.environ) if member is None else settle(ctx, os.environ, member.document)
    if ctx.params["print_config"]:
        click.echo(rendered(make_plan(ctx, settled, serves=False)), nl=False)
        return 0
    if os.getpid() == INIT:
        go_on_in_a_child()
    if member is None and (ways.reloads or settled.settings.by_name["workers"].value is not None):
        with placing([settled.settings]):
            return _supervise(ctx, settled, ways)
    nursery = _nursery(ctx, settled, member)
    plan = make_plan(ctx, settled)
    with placing(plan.sources):
        return _serve_plan(ctx, plan, member, ways, nursery)


def _serve_plan(
    ctx: click.Context, plan: Plan | AppPlan, member: "Member | None", ways: Ways, nursery: "Nursery | None"
) -> int:
    if ways.is_local:
        _refuse_public(plan.configs.values() if isinstance(plan, AppPlan) else [plan.config])
    config = plan.config
    with configure_logging(
        level=config.log_level,
        format=config.log_format,
        access_log=plan.access_log,
        config=config.log_config,
        colour=has_colour(sys.stderr),
    ) as log:
        return _run(
            plan,
            log,
            None if member else Reread(ctx, plan, log),
            member,
            ways,
            nursery=nursery,
            print_ready=ctx.params["print_ready"],
        )


def _nursery(ctx: click.Context, settled: Settled, member: "Member | None") -> "Nursery | None":
    """Fork what forks the processes of connections, before code of the user's is imported; None for another model."""
    early = settled.settings.server_config()
    if early.model != "process":
        return None
    from ..server.forking.nursery import Brood, Nursery

    def load() -> Brood:
        plan = make_plan(ctx, settled)
        if isinstance(plan, AppPlan):
            raise ConfigurationError(APPLICATION_FORKS, "model")
        config = plan.config
        return Brood(
            plan.service,
            config,
            lambda: configure_logging(
                level=config.log_level,
                format=config.log_format,
                access_log=plan.access_log,
                config=config.log_config,
                colour=has_colour(sys.stderr),
            ),
        )

    return Nursery.begin(load, bind=early.bind, channel=None if member is None else member.fileno())


def _refuse_public(configs: Iterable[ServerConfig]) -> None:
    """Refuse addresses that other machines can reach.

    Raises:
        ConfigurationError: One is.
    """
    for text in (text for config in configs for text in config.bind):
        if parse_address(text).is_public:
            raise ConfigurationError(
                f"{text}: penstock dev serves this machine only; penstock serve serves others, too"
            )


def _supervise(ctx: click.Context, settled: Settled, ways: Ways) -> int:
    from .supervised import run_supervisor

    config = settled.settings.server_config()
    if ways.is_local:
        _refuse_public([config])  # what the code says beside it, its worker refuses
    if ways.reloads and config.supervisor.count is not None:
        raise ConfigurationError("--reload and --workers contradict each other: give one")
    # What sets up logging from a file may import the user's code: that is for the workers.
    with configure_logging(level=config.log_level, format=config.log_format, colour=has_colour(sys.stderr)) as log:
        tell = partial(_tell, log, config.log_format, print_ready=ctx.params["print_ready"])
        directories = [Path(each) for each in ctx.params["reload_dir"] or ["."]] if ways.reloads else None
        return run_supervisor(ctx, settled, log, tell=tell, watched=directories)


def _tell(
    log: Log, log_format: LogFormat, text: Callable[[], str], facts: dict[str, object], *, print_ready: bool
) -> None:
    """Say that it serves."""
    if log_format != "console":
        logging.getLogger("penstock").info("ready", extra={"event": "ready", **facts})
    else:
        log.writer.write(text())
    if print_ready:
        _print_ready(facts)


def _run(
    plan: Plan | AppPlan,
    log: Log,
    reread: Reread | None,
    member: "Member | None",
    ways: Ways,
    *,
    nursery: "Nursery | None",
    print_ready: bool,
) -> int:
    from ..app.api import run_app
    from ..server import run

    logger = logging.getLogger("penstock")

    def warn(text: str) -> None:
        if member is not None and not member.warns:
            return
        if plan.config.log_format != "console":
            logger.warning(text, extra={"event": "warning"})
        else:
            log.writer.write(f"penstock: warning: {text}")

    for warning in warnings_of(plan):
        warn(warning)

    def tell(text: Callable[[], str], facts: dict[str, object]) -> None:
        if member is not None:  # the supervisor tells, once all serve
            member.banner, member.facts = text(), facts
        else:
            _tell(log, plan.config.log_format, text, facts, print_ready=print_ready)

    def announce(server: Ready) -> None:
        tell(lambda: banner(server, plan.config, _loop(server.engine_name)), _facts(server))

    def announce_app(server: AppServer) -> None:
        services = {name: _facts(each) for name, each in server.servers.items()}
        facts: dict[str, object] = {"application": server.app.name, "addresses": list(server.addresses)}
        tell(lambda: app_banner(server, _loop), {**facts, "services": services})

    if member is not None:
        member.set_level = log.set_level
    beside = None if member else controlled_by(plan.config.process, log.set_level)
    observers: list[Observer] = []
    if ways.tells:
        from .dev.told import Teller

        observers.append(Teller(log.writer.write, colour=has_colour(sys.stderr)))
    if isinstance(plan, AppPlan):
        if nursery is not None:
            nursery.close()
            raise ConfigurationError(APPLICATION_FORKS, "model")
        server = AppServer(
            plan.app, plan.configs, warn=warn, supervision=member, observers=observers, in_one=plan.in_one
        )
        reload_app = None if reread is None else reread.app
        return run_app(server, on_ready=announce_app, is_all=True, warn=warn, reload=reload_app, beside=beside)
    return run(
        plan.service,
        plan.config,
        on_ready=announce,
        observers=observers,
        is_all=True,
        warn=warn,
        reload=reread,
        beside=beside,
        supervision=member,
        nursery=nursery,
    )


def _loop(engine: str) -> str:
    """Say which event loop runs, where the engine leaves a choice."""
    import asyncio

    if engine != "pure":
        return ""
    uses_uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    return " on uvloop" if uses_uvloop else " on asyncio, uvloop not being installed"


def _print_ready(facts: dict[str, object]) -> None:
    from ..services.display import NOBODY_READS

    line = json.dumps({"event": "ready", "pid": os.getpid(), **facts})
    try:
        os.write(1, line.encode() + b"\n")
    except OSError as error:
        # The reader of the output went away, or its disk is full. The peers are served on.
        level = logging.DEBUG if error.errno in NOBODY_READS else logging.ERROR
        logging.getLogger("penstock").log(level, "cannot print that it is ready: %s", error.strerror)


def _facts(server: Ready) -> dict[str, object]:
    return {
        "service": server.service.name,
        "addresses": list(server.addresses),
        "codec": server.service.codec.name,
        "engine": server.engine_name,
        "engine_reason": server.engine_reason,
        **({"tls": server.tls_reason} if server.tls_reason else {}),
    }
