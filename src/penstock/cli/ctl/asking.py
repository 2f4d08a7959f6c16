"""The commands of ``penstock ctl`` that ask."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from ...config import Choice, Duration, Integer, Option, Size, Text
from ...config.kinds import Unless
from ...core.states import State
from ...telemetry.escaping import escape_text
from ..client import flag
from .session import Session, make
from .table import age, number, size, table

STATES: Final = tuple(state.value for state in State)
_FILTER: Final = "Filter"
_ORDER: Final = "Order"
SORT: Final = (
    Option(
        name="sort",
        kind=Choice(
            (
                *(
                    "id",
                    "worker",
                    "service",
                    "peer",
                    "local",
                    "state",
                    "age_s",
                    "idle_s",
                    "messages_in",
                    "messages_out",
                ),
                *("bytes_in", "bytes_out", "queued_bytes", "tls"),
            )
        ),
        help="Column to sort by",
        default="id",
        section=_ORDER,
    ),
    flag("descending", "The largest first", _ORDER),
    Option(name="limit", kind=Integer(1, 10_000), help="Maximum rows", default=100, section=_ORDER),
)
# What is held against every connection: as `control.messages.Selection` has it.
FILTERS: Final = tuple(
    Option(name=name, kind=kind, help=text, section=_FILTER, default_text="")
    for name, kind, text in (
        (
            "peer",
            Text("PEER", optional=True),
            "From this address, network or uid:NUMBER; with a port, from that peer alone",
        ),
        ("service", Text("NAME", optional=True), "Of this service"),
        ("worker", Unless(Integer(1, 2**31 - 1)), "Of this worker process"),
        (
            "state",
            Unless(Choice(STATES)),
            "In this state",
        ),
        ("min_age", Duration(), "Open for at least this long"),
        ("min_idle", Duration(), "Idle for at least this long"),
        ("min_queued", Unless(Size()), "With at least this many queued bytes"),
    )
)


def filters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a selection was given."""
    names = {"min_age": "min_age_s", "min_idle": "min_idle_s", "min_queued": "min_queued_bytes"}
    return {names.get(option.name, option.name): values[option.name] for option in FILTERS}


def status() -> click.Command:
    """Make ``status``."""
    return make("status", _status, help="Show the state of the server and its services.")


def _status(session: Session, _params: Mapping[str, Any]) -> None:
    from ...control.messages import Status

    found, _ = session.control.ask(Status())
    session.print(found, lambda: _status_text(found))


def _status_text(found: Mapping[str, Any]) -> str:
    first = (
        f"{found['name']}: {found['state']} for {age(found['uptime_s'])}, process {found['pid']}, "
        f"{size(found['memory_bytes'])}, penstock {found['version']}"
    )
    rows = []
    for name, each in found["services"].items():
        refused = sum(each["refused"].values())
        counts = [each["connections"], each["accepted"], refused, each["messages_in"], each["messages_out"]]
        rows.append(
            [
                name,
                ", ".join(each["addresses"]) + (", one worker" if each["in_one_worker"] else ""),
                each["engine"],
                *map(number, counts),
                number(each["handler_errors"]),
            ]
        )
    header = ("SERVICE", "ADDRESSES", "ENGINE", "OPEN", "ACCEPTED", "REFUSED", "IN", "OUT", "ERRORS")
    return f"{first}\n{table(header, rows, right=range(3, 9))}"


def workers() -> click.Command:
    """Make ``workers``."""
    return make("workers", _workers, help="Show the worker processes of a server with --workers.")


def _workers(session: Session, _params: Mapping[str, Any]) -> None:
    from ...control.messages import Workers

    found, _ = session.control.ask(Workers())
    session.print(found, lambda: _workers_text(found["workers"]))


def _workers_text(found: Sequence[Mapping[str, Any]]) -> str:
    header = ("SLOT", "PROCESS", "GENERATION", "STATE", "AGE", "SILENT", "OPEN", "ACCEPTED", "IN", "OUT", "MEMORY")
    rows = [
        [
            *(each["slot"], each["pid"], each["generation"], each["state"], age(each["age_s"]), age(each["silent_s"])),
            *map(number, (each["connections"], each["accepted"], each["messages_in"], each["messages_out"])),
            size(each["memory_bytes"]),
        ]
        for each in found
    ]
    return table(header, rows, right=(0, 1, 2, 4, 5, 6, 7, 8, 9, 10))


def connections() -> click.Command:
    """Make ``connections``."""
    return make(
        "connections",
        _connections,
        help="List the open connections that match all filters.",
        own=(*FILTERS, *SORT),
    )


def _connections(session: Session, _params: Mapping[str, Any]) -> None:
    from ...control.messages import Connections

    values = session.values
    asked = Connections(**filters(values), sort=values["sort"], descending=values["descending"], limit=values["limit"])
    found, rows = session.control.ask(asked)
    session.print({**found, "connections": rows}, lambda: _connections_text(found["total"], rows))


def _connections_text(total: int, rows: Sequence[Mapping[str, Any]]) -> str:
    header = ("ID", "WORKER", "SERVICE", "PEER", "STATE", "AGE", "IDLE", "IN", "OUT", "BYTES IN", "BYTES OUT", "QUEUED")
    cells = [
        [
            *(each["id"], each["worker"], each["service"], each["peer"], each["state"]),
            *(age(each["age_s"]), age(each["idle_s"]), number(each["messages_in"]), number(each["messages_out"])),
            *(size(each["bytes_in"]), size(each["bytes_out"]), size(each["queued_bytes"])),
        ]
        for each in rows
    ]
    listed = table(header, cells, right=(0, 1, *range(5, 12)))
    return listed if total == len(rows) else f"{listed}\n{len(rows):,} of {total:,}"


def stacks() -> click.Command:
    """Make ``stacks``."""
    return make("stacks", _stacks, help="Show what every handler, task and thread is doing.")


def _stacks(session: Session, _params: Mapping[str, Any]) -> None:
    from ...control.messages import Stacks

    found, _ = session.control.ask(Stacks())
    session.print(found, lambda: "\n".join(escape_text(line) for line in [*found["work"], *found["threads"]]))
