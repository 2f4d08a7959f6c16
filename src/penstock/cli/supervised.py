"""``penstock serve --workers N``: this process supervises, and starts its own command line again for each worker."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from ..telemetry import Log
from ..workers.plan import WorkersPlan
from ..workers.run import supervise
from ..workers.supervisor import StartError, Supervisor
from .plan import Settled, settle, start_directory


def run_supervisor(
    ctx: click.Context, settled: Settled, log: Log, *, tell: Callable[[Callable[[], str], dict[str, Any]], None]
) -> int:
    """Supervise until a signal ends it.

    Args:
        ctx: The command line.
        settled: What the sources of values say.
        log: Whose level may change.
        tell: Says that it serves.
    """
    config = settled.settings.server_config()

    def reread() -> WorkersPlan:
        again = settle(ctx, os.environ)
        new = again.settings.server_config()
        log.set_level(new.log_level)
        return WorkersPlan(new.supervisor, again.document)

    def announce(supervisor: Supervisor) -> None:
        ready = supervisor.ready
        tell(lambda: ready.banner, {**ready.facts, "workers": supervisor.wanted})

    plan = WorkersPlan(config.supervisor, settled.document)
    try:
        return supervise(
            own_command(),
            plan,
            cwd=start_directory(ctx),
            process=config.process,
            reread=reread,
            log_format=config.log_format,
            on_ready=announce,
        )
    except StartError as error:
        logging.getLogger("penstock").debug("a worker could not start: status %d", error.exit_status)
        return error.exit_status


def own_command() -> list[str]:
    """Return the command line of this process, which means the same where it was given."""
    return [sys.executable, *sys.orig_argv[1:]]
