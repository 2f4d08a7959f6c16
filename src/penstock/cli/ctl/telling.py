"""The commands of ``penstock ctl`` that tell."""

from collections.abc import Mapping
from typing import Any, Final

import click

from ...config import Text
from ...errors import ConfigurationError
from ..client import flag
from ..params import RawText
from .asking import FILTERS, filters
from .session import Session, make
from .table import table

_NUMBER: Final = click.IntRange(1, 2**63 - 1)


def kick() -> click.Command:
    """Make ``kick``."""
    return make(
        "kick",
        _kick,
        help="Close the connections with these IDs, or those that match all filters.",
        own=(
            flag("abort", "Close at once and lose queued output; without this it is sent first"),
            flag("all", "Close every connection"),
            *FILTERS,
        ),
        arguments=[click.Argument(["ids"], metavar="[ID]...", type=_NUMBER, nargs=-1)],
    )


def _kick(session: Session, params: Mapping[str, Any]) -> None:
    from ...control.messages import Kick

    values = session.values
    ids = list(params["ids"]) or None
    found, _ = session.control.ask(Kick(ids=ids, abort=values["abort"], all=values["all"], **filters(values)))
    session.print(found, lambda: f"{found['kicked']:,} ended")


def drain() -> click.Command:
    """Make ``drain``."""
    return make(
        "drain",
        _drain,
        help="Shut down gracefully, as SIGTERM does. With WORKER, a process number: replace that worker.",
        own=(flag("wait", "Return once it has ended"),),
        arguments=[click.Argument(["worker"], metavar="[WORKER]", type=_NUMBER, required=False)],
    )


def _drain(session: Session, params: Mapping[str, Any]) -> None:
    from ...control.messages import Drain

    found, _ = session.control.ask(Drain(worker=params["worker"]))
    if session.values["wait"] and params["worker"] is None:
        session.control.wait_end()
    session.print(found, lambda: f"draining {found['draining']:,} connections")


def stop() -> click.Command:
    """Make ``stop``."""
    return make(
        "stop",
        _stop,
        help="Shut down at once: every connection is aborted.",
        own=(flag("wait", "Return once it has ended"),),
    )


def _stop(session: Session, _params: Mapping[str, Any]) -> None:
    from ...control.messages import Stop

    found, _ = session.control.ask(Stop())
    if session.values["wait"]:
        session.control.wait_end()
    session.print(found, lambda: f"aborting {found['aborted']:,} connections")


def scale() -> click.Command:
    """Make ``scale``."""
    return make(
        "scale",
        _scale,
        help="Serve with N workers.",
        arguments=[click.Argument(["workers"], metavar="N", type=_NUMBER)],
    )


def _scale(session: Session, params: Mapping[str, Any]) -> None:
    from ...control.messages import Scale

    found, _ = session.control.ask(Scale(workers=params["workers"]))
    session.print(found, lambda: f"{found['workers']} workers")


def reload() -> click.Command:
    """Make ``reload``."""
    return make("reload", _reload, help="Do what SIGHUP does, and show the result.")


def _reload(session: Session, _params: Mapping[str, Any]) -> None:
    from ...control.messages import Reload

    found, _ = session.control.ask(Reload())
    session.print(found, lambda: f"reloaded: {found['reloaded']}")


def limits() -> click.Command:
    """Make ``limits``."""
    return make(
        "limits",
        _limits,
        help="Show the limits of the gate. With `set NAME=VALUE...` change them: max_per_peer=15, accept_rate=100/s, "
        "max_connections=none. They hold until the server ends, or its configuration changes them.",
        own=(FILTERS[1],),
        arguments=[click.Argument(["words"], metavar="[set NAME=VALUE...]", type=RawText(Text()), nargs=-1)],
    )


def _limits(session: Session, params: Mapping[str, Any]) -> None:
    from ...control.messages import Limits

    found, _ = session.control.ask(Limits(set=_changes(params["words"]), service=session.values["service"]))
    names = next(iter(found.values()))
    rows = [[name, *(of_service[name] for of_service in found.values())] for name in names]
    session.print(found, lambda: table(["LIMIT", *found], rows))


def _changes(words: tuple[str, ...]) -> dict[str, str]:
    """Read ``set NAME=VALUE...``.

    Raises:
        ConfigurationError: It is written otherwise.
    """
    if not words:
        return {}
    pairs = [word.partition("=") for word in words[1:]]
    if words[0] != "set" or not pairs or not all(equals for _, equals, _ in pairs):
        raise ConfigurationError(f"{' '.join(words)!r} is not set NAME=VALUE...")
    return {name.replace("-", "_"): value for name, _, value in pairs}


def log_level() -> click.Command:
    """Make ``log-level``."""
    return make(
        "log-level",
        _log_level,
        help="Show the minimum level to log; with LEVEL, change it.",
        arguments=[
            click.Argument(
                ["level"], metavar="[debug|info|warning|error|critical]", type=RawText(Text()), required=False
            )
        ],
    )


def _log_level(session: Session, params: Mapping[str, Any]) -> None:
    from ...control.messages import LogLevel

    found, _ = session.control.ask(LogLevel(level=params["level"]))
    session.print(found, lambda: str(found["level"]))
