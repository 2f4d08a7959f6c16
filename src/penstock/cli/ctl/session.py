"""What the commands of ``penstock ctl`` share: which server is meant, what it is asked, and what is printed."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ...config import Duration, Option, ProcessConfig, options
from ...config.files import find
from ...config.sources import Settings, load
from ...errors import ConfigurationError, ConnectError, ConnectionEndedError, ConnectTimeoutError, TimedOutError
from ..client import JSON, REFUSED, TIMED_OUT
from ..commands import PenstockCommand
from ..params import click_options, given_options
from ..plan import current_directory
from ..report import fail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...control.client import Control

EPILOG: Final = (
    "Exit status: 0 done; 1 no server is there, or it ended meanwhile; 2 usage error, or the server refuses; "
    "3 it did not answer in time."
)
CONTROL: Final = replace(
    next(option for option in options() if option.name == "control"),
    help="The control socket of the server",
    section="Options",
    default_text="PENSTOCK_CONTROL, control in penstock.toml, or the only server with --control auto",
)
TIMEOUT: Final = Option(
    name="timeout",
    kind=Duration(),
    help="Time allowed for the answer",
    default=10.0,
    section="Options",
)
COMMON: Final = (CONTROL, TIMEOUT, JSON)


class Session:
    """One command: its values, and the server.

    Attributes:
        control: The connection to the server.
        values: What was given, by option name.
        as_json: Whether JSON is printed.
    """

    def __init__(self, control: "Control", values: Mapping[str, Any]) -> None:
        self.control = control
        self.values = values
        self.as_json = values["json"]

    def print(self, data: object, text: Callable[[], str]) -> None:
        """Print an answer: as JSON, or as text for people."""
        click.echo(json.dumps(data, indent=2) if self.as_json else text())


def make(
    name: str,
    run: Callable[[Session, Mapping[str, Any]], None],
    *,
    help: str,  # noqa: A002  # the word
    own: Sequence[Option] = (),
    arguments: Sequence[click.Argument] = (),
) -> click.Command:
    """Make a command.

    Args:
        name: Its name.
        run: Does it, given the session and the arguments.
        help: What it does.
        own: Its options beside those that all have.
        arguments: Its arguments.
    """
    every = [*own, *COMMON]

    def callback(**_params: Any) -> int:
        ctx = click.get_current_context()
        settings = _settings(ctx, every)
        values = {option: setting.value for option, setting in settings.by_name.items()}
        try:
            with _connected(values) as control:
                run(Session(control, values), ctx.params)
        except (ConnectTimeoutError, TimedOutError):
            fail("the server did not answer in time")
            return TIMED_OUT
        except ConnectError as error:
            fail(str(error))
            return REFUSED
        except ConnectionEndedError:
            fail("the server ended before it had answered, or this user may not ask it")
            return REFUSED
        return 0

    return PenstockCommand(
        name, params=[*arguments, *click_options(every)], callback=callback, help=help, epilog=EPILOG
    )


def _settings(ctx: click.Context, every: Sequence[Option]) -> Settings:
    """Read the command line, and for the socket what ``serve`` would read, too."""
    document = find(Path() if current_directory() != Path() else current_directory())
    if document is not None:
        table = {key: value for key, value in document.table.items() if key == CONTROL.name}
        document = replace(document, table=table)
    environ = {name: value for name, value in os.environ.items() if name == CONTROL.variable}
    return load(every, given=given_options(ctx, every), environ=environ, document=document)


@contextmanager
def _connected(values: Mapping[str, Any]) -> "Iterator[Control]":
    from ...control.client import Control

    with Control(_path(values["control"]), values["timeout"]) as control:
        yield control


def _path(given: str | None) -> str:
    """Return the socket of the server that is meant.

    Raises:
        ConfigurationError: No server is, or it could be one of several.
    """
    from ...control import places

    if given is not None and given != "auto":
        return ProcessConfig(control=given).control or given
    alive = places.alive(os.environ, os.geteuid())
    if len(alive) == 1:
        return str(alive[0])
    if alive:
        raise ConfigurationError(f"there are several servers: give --control one of {', '.join(map(str, alive))}")
    raise ConfigurationError(
        "no server with --control auto is running for this user; for a server with --control PATH, give that PATH here"
    )
