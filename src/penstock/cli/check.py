"""``penstock check``: everything ``serve`` looks at before it opens a socket, and then the end."""

import os
import sys
from typing import Any

import click

from ..config.rendering import render_settings
from ..server.admission import raise_descriptor_limit
from ..server.server import Server
from ..server.warnings import warnings_about
from ..telemetry import configure
from .commands import PenstockCommand
from .plan import make_plan, parameters, settle
from .report import warn
from .terminal import has_colour


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "check",
        params=parameters(),
        callback=_check,
        help="Check the arguments of serve without opening a socket.",
        epilog="Exit status: 0 OK; 2 usage or configuration error; 3 SERVICE cannot be loaded.",
    )


def _check(**_params: Any) -> int:
    ctx = click.get_current_context()
    settings, definition = settle(ctx, os.environ)
    plan = make_plan(ctx, settings, definition, serves=False)
    config = plan.config
    server = Server(plan.service, config)
    raise_descriptor_limit(config.gate, server.choice.engine.descriptors_per_connection)
    with configure(level=config.log_level, format=config.log_format, access_log=False, colour=has_colour(sys.stderr)):
        server.check()  # it logs what it lowers
    for warning in [*plan.settings.warnings, *warnings_about(config, config.bind), *plan.backlog_warnings]:
        warn(warning)
    if ctx.params["print_config"]:
        click.echo(render_settings(settings), nl=False)
    else:
        addresses = ", ".join(config.bind)
        click.echo(f"ok: {plan.service.name} over {plan.service.codec.name} on {addresses}")
    return 0
