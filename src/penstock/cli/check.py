"""``penstock check``: everything ``serve`` looks at before it opens a socket, and then the end."""

import os
from typing import Any

import click

from ..config.rendering import render_settings
from ..server.choice import choose
from ..server.model import place
from .commands import PenstockCommand
from .plan import make_plan, parameters, settle
from .report import warn


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "check",
        params=parameters(),
        callback=_check,
        help="Check what serve would do with the same arguments, without opening a socket.",
        epilog="Exit status: 0 all is well; 2 usage or configuration; 3 SERVICE cannot be loaded.",
    )


def _check(**_params: Any) -> int:
    ctx = click.get_current_context()
    settings, definition = settle(ctx, os.environ)
    plan = make_plan(ctx, settings, definition)
    # What depends on the handler and on what is installed; `Server` refuses the same when it starts.
    choose(place(plan.service, plan.config), plan.config)
    for warning in plan.warnings + plan.backlog_warnings:
        warn(warning)
    if ctx.params["print_config"]:
        click.echo(render_settings(settings), nl=False)
    else:
        addresses = ", ".join(plan.config.bind)
        click.echo(f"ok: {plan.service.name} over {plan.service.codec.name} on {addresses}")
    return 0
