"""``penstock serve``: run a service until it is told to stop."""

import json
import logging
import os
import sys
from typing import Any

import click

from ..config.rendering import render_settings
from ..telemetry import Log, configure
from .banner import Ready, banner
from .commands import PenstockCommand, SectionOption
from .plan import Plan, make_plan, parameters, settle
from .reread import Reread
from .terminal import has_colour

EPILOG = """\
SERVICE is a classic service (see `penstock services`) or your own: module:object, module, file.py:object.

Each option can also be set by an environment variable (PENSTOCK_TIMEOUT_IDLE=5m) or in penstock.toml
(timeout_idle = "5m"). Durations: 250ms, 10s, 5m, 1h, none. Sizes: 512, 64KiB, 1MiB.

Exit status: 0 stopped as told; 1 failed while running; 2 usage or configuration error; 3 SERVICE cannot be loaded;
4 cannot listen on an address; 7 connections were cut at the drain deadline; 130 interrupted before it served.
"""


def command() -> click.Command:
    """Make the command."""
    print_ready = SectionOption(
        ["--print-ready"],
        is_flag=True,
        help="When ready, print a line of JSON with the addresses to standard output.",
        section="Listening",
    )
    return PenstockCommand(
        "serve",
        params=[*parameters(), print_ready],
        callback=_serve,
        help="Serve a classic service or your own until Ctrl-C or SIGTERM.",
        epilog=EPILOG,
    )


def _serve(**_params: Any) -> int:
    ctx = click.get_current_context()
    settings, definition = settle(ctx, os.environ)
    if ctx.params["print_config"]:
        settings.server_config()
        click.echo(render_settings(settings), nl=False)
        return 0
    plan = make_plan(ctx, settings, definition)
    config = plan.config
    with configure(
        level=config.log_level,
        format=config.log_format,
        access_log=config.access_log,
        colour=has_colour(sys.stderr),
    ) as log:
        return _run(plan, log, Reread(ctx, plan, log), print_ready=ctx.params["print_ready"])


def _run(plan: Plan, log: Log, reread: Reread, *, print_ready: bool) -> int:
    from ..server import run

    logger = logging.getLogger("penstock")

    def warn(text: str) -> None:
        if plan.config.log_format == "json":
            logger.warning(text, extra={"event": "warning"})
        else:
            log.writer.write(f"penstock: warning: {text}")

    for warning in plan.settings.warnings:
        warn(warning)

    def announce(server: Ready) -> None:
        if plan.config.log_format == "json":
            logger.info("ready", extra={"event": "ready", **_facts(server)})
        else:
            log.writer.write(banner(server, plan.config, _loop(server.engine_name)))
        if print_ready:
            _print_ready(server)

    return run(plan.service, plan.config, on_ready=announce, is_all=True, warn=warn, reload=reread)


def _loop(engine: str) -> str:
    """Say which event loop runs, where the engine leaves a choice."""
    import asyncio

    if engine != "pure":
        return ""
    uses_uvloop = type(asyncio.get_running_loop()).__module__.startswith("uvloop")
    return " on uvloop" if uses_uvloop else " on asyncio, uvloop not being installed"


def _print_ready(server: Ready) -> None:
    from ..services.display import NOBODY_READS

    line = json.dumps({"event": "ready", "pid": os.getpid(), **_facts(server)})
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
    }
