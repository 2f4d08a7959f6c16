"""``penstock ctl``: the group of its commands."""

from typing import Final

import click

from ..commands import CommandGroup

_COMMANDS: Final = {
    "status": ("asking:status", "Show how the server and its services are."),
    "workers": ("asking:workers", "Show the worker processes."),
    "connections": ("asking:connections", "List connections, filtered and sorted."),
    "stacks": ("asking:stacks", "Show what every handler, task and thread is doing."),
    "kick": ("telling:kick", "End connections."),
    "drain": ("telling:drain", "End the server in order, or replace one worker."),
    "stop": ("telling:stop", "End the server at once."),
    "scale": ("telling:scale", "Change the number of workers."),
    "reload": ("telling:reload", "Read the configuration again; with workers, roll them."),
    "limits": ("telling:limits", "Show how many clients are let in, and how fast; or change it."),
    "log-level": ("telling:log_level", "Show from which level on the log is written, or change it."),
}


def command() -> click.Group:
    """Make the group."""
    return CommandGroup(
        "ctl",
        commands=_COMMANDS,
        package=__package__,
        help="Ask a server that was started with --control how it is, and tell it what to do.",
        epilog="Which server: --control PATH of a command, else PENSTOCK_CONTROL, else control in penstock.toml, else "
        "the only one that runs with --control auto.",
    )
