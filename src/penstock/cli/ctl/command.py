"""``penstock ctl``: the group of its commands."""

from typing import Final

import click

from ..commands import CommandGroup

_COMMANDS: Final = {
    "status": ("asking:status", "Show the state of the server and its services."),
    "workers": ("asking:workers", "Show the worker processes."),
    "connections": ("asking:connections", "List connections, filtered and sorted."),
    "stacks": ("asking:stacks", "Show what every handler, task and thread is doing."),
    "kick": ("telling:kick", "Close connections."),
    "drain": ("telling:drain", "Shut down gracefully, or replace one worker."),
    "stop": ("telling:stop", "Shut down at once."),
    "scale": ("telling:scale", "Change the number of workers."),
    "reload": ("telling:reload", "Reload the configuration; with workers, replace them one by one."),
    "limits": ("telling:limits", "Show or change the limits on clients."),
    "log-level": ("telling:log_level", "Show or change the minimum level to log."),
}


def command() -> click.Group:
    """Make the group."""
    return CommandGroup(
        "ctl",
        commands=_COMMANDS,
        package=__package__,
        help="Inspect and control a server that was started with --control.",
        epilog="Which server: --control PATH after the command, else PENSTOCK_CONTROL, else control in penstock.toml, "
        "else the only one that runs with --control auto.",
    )
