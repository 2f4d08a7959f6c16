"""``penstock serve --workers N``: this process supervises, and starts its own command line again for each worker."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..config import WorkersConfig
from ..control.beside import supervisor_controlled_by
from ..telemetry import Log
from ..workers.plan import WorkersPlan
from ..workers.run import supervise
from ..workers.supervisor import StartError, Supervisor
from .plan import Settled, settle, start_directory


def run_supervisor(
    ctx: click.Context,
    settled: Settled,
    log: Log,
    *,
    tell: Callable[[Callable[[], str], dict[str, Any]], None],
    watched: Sequence[Path] | None = None,
) -> int:
    """Supervise until a signal ends it.

    Args:
        ctx: The command line.
        settled: What the sources of values say.
        log: Whose level may change.
        tell: Says that it serves.
        watched: Where files are whose changes have the only worker replaced; None to watch none.
    """
    config = settled.settings.server_config()

    def reread() -> WorkersPlan:
        again = settle(ctx, os.environ)
        new = again.settings.server_config()
        log.set_level(new.log_level)
        return WorkersPlan(_counted(new.supervisor), again.document)

    def announce(supervisor: Supervisor) -> None:
        ready = supervisor.ready
        tell(lambda: ready.banner, {**ready.facts, "workers": supervisor.wanted})

    def serve(on_ready: Callable[[Supervisor], object]) -> int:
        return supervise(
            own_command(),
            WorkersPlan(_counted(config.supervisor), settled.document),
            cwd=start_directory(ctx),
            process=config.process,
            reread=reread,
            log_format=config.log_format,
            on_ready=on_ready,
            beside=supervisor_controlled_by(config.process, log.set_level),
        )

    if watched is None:
        try:
            return serve(announce)
        except StartError as error:
            logging.getLogger("penstock").debug("a worker could not start: status %d", error.exit_status)
            return error.exit_status
    # The interpreter takes bytecode for that of a source of the same second and size, which may have changed since.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    from .dev.reloading import Reloading

    with Reloading(watched) as reloading:

        def announce_and_watch(supervisor: Supervisor) -> None:
            announce(supervisor)
            reloading.begin(supervisor.reload)

        while True:
            try:
                return serve(announce_and_watch)
            except StartError:  # its worker has said why
                reloading.wait()


def _counted(config: WorkersConfig) -> WorkersConfig:
    """Return the same for one worker, where there would be none: to be reloaded, so that a spare one would be stale."""
    return config if config.count is not None else replace(config, count=1, spare=False)


def own_command() -> list[str]:
    """Return the command line of this process, which means the same where it was given."""
    return [sys.executable, *sys.orig_argv[1:]]
