"""``penstock check``: everything ``serve`` looks at before it opens a socket, and then the end."""

import os
import sys
from typing import Any

import click

from ..app import AppServer
from ..server.descriptors import raise_descriptor_limit
from ..server.identity import identity_of
from ..server.server import Server
from ..server.warnings import warnings_about
from ..telemetry import configure_logging
from .commands import PenstockCommand
from .placing import placing
from .plan import AppPlan, Plan, make_plan, parameters, rendered, settle, warnings_of
from .report import warn
from .terminal import has_colour


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "check",
        params=parameters(),
        callback=_check,
        help="Check the arguments of serve without opening a socket.",
        epilog="Exit status: 0 OK; 2 usage or configuration error; 3 SERVICE cannot be loaded; "
        "5 a file of TLS is missing or wrong.",
    )


def _check(**_params: Any) -> int:
    ctx = click.get_current_context()
    settled = settle(ctx, os.environ)
    plan = make_plan(ctx, settled, serves=False)
    with placing(plan.sources):
        return _look_at(plan, prints_config=ctx.params["print_config"])


def _look_at(plan: Plan | AppPlan, *, prints_config: bool) -> int:
    config = plan.config
    identity_of(config.process)
    checked: Server | AppServer
    in_one: frozenset[str] = frozenset()
    if isinstance(plan, AppPlan):
        checked = AppServer(plan.app, plan.configs)
        in_one = plan.in_one if config.supervisor.number else in_one
        servers = dict(checked.servers)
    else:
        checked = Server(plan.service, config)
        servers = {plan.service.name: checked}
    raise_descriptor_limit(
        *((server.config.gate, server.choice.engine.descriptors_per_connection) for server in servers.values())
    )
    with configure_logging(
        level=config.log_level, format=config.log_format, access_log=False, colour=has_colour(sys.stderr)
    ):
        checked.check()  # it logs what it lowers
    doubtful = [text for server in servers.values() for text in warnings_about(server.config, server.config.bind)]
    doubtful += [text for server in servers.values() for text in server.certificate_warnings]
    for warning in [*warnings_of(plan), *doubtful, *plan.backlog_warnings]:
        warn(warning)
    if prints_config:
        click.echo(rendered(plan), nl=False)
        return 0
    for name, server in servers.items():
        where = ", in one worker" if name in in_one else ""
        click.echo(f"ok: {name} over {server.service.codec.name} on {', '.join(server.config.bind)}{where}")
    return 0
