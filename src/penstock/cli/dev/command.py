"""``penstock dev``: serve what is being written, on this machine alone, and show what happens."""

from typing import Any, Final

import click

from ..commands import PenstockCommand
from ..plan import suit_development
from ..serve import Ways, own_parameters, serve_as

EPILOG: Final = """\
All that serve takes is taken. A changed file starts the code anew; where the new code cannot be loaded, the error is
shown and the old code serves on. Nothing is closed for being silent, unless a timeout is set.
"""


def command() -> click.Command:
    """Make the command."""
    return PenstockCommand(
        "dev",
        params=own_parameters(),
        callback=_dev,
        help="Serve your code while you write it: on this machine only, restarted on every change of a file, with a "
        "line for each connection and message.",
        epilog=EPILOG,
    )


def _dev(**_params: Any) -> int:
    ctx = click.get_current_context()
    suit_development(ctx)
    return serve_as(ctx, Ways(reloads=True, tells=True, is_local=True))
