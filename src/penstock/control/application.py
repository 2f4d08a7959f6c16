"""The control socket's server: an application of Penstock's own, on the pure engine in the loop of the process."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..address import Address, Scheme
from ..app.app import App
from ..app.server import AppServer
from ..core.contract import Connection
from ..core.decorators import on_connection
from ..errors import PenstockError, RemoteProtocolError
from .messages import (
    ROWS_PER_LINE,
    Answer,
    AnyRequest,
    Connections,
    Limits,
    LogLevel,
    Row,
    Stacks,
    Status,
    Workers,
    request_codec,
)
from .process import Controlled

_logger: Final = logging.getLogger("penstock")

# Operators and what watches for them. More wait in the backlog.
MOST_PEERS: Final = 16
# What asks and does not tell: no line in the log.
_READING: Final = (Status, Workers, Connections, Stacks)


def application(controlled: Controlled, path: str, users: Sequence[int], owner: str | None = None) -> AppServer:
    """Make the server of a control socket. Its file has mode 0600, and its peers are asked the kernel who they are.

    Args:
        controlled: What answers.
        path: Where it listens.
        users: The users that may speak to it, by number.
        owner: Whose the file is to be, as ``--uds-owner`` has it.
    """

    async def control(conn: Connection[Any]) -> None:
        """Answer one request after the other."""
        async for request in conn:
            for line in await _answered(controlled, conn, request):
                await conn.send(line)

    app: App[Any] = App("control")
    service = on_connection(codec=request_codec(), name="control", on_bad_message=_refused)(control)
    # Where the kernel does not say who connects, the file's mode decides alone.
    allow = tuple(f"uid:{uid}" for uid in users) if hasattr(socket, "SO_PEERCRED") else ()
    app.add(
        service,
        bind=str(Address(Scheme.UNIX, path=path)),
        engine="pure",
        uds_mode=0o600,
        uds_owner=owner,
        max_connections=MOST_PEERS,
        on_refusal=("limit=wait",),
        allow=allow,
        timeout_first_message=None,
        timeout_idle=None,
        timeout_drain="1s",
        timeout_linger="250ms",
        access_log=False,
    )
    # What the process has one of is the main job's.
    return AppServer(app, app.configs({"memory_limit": None, "stall_warning": None}, {}), inherited=(), is_aside=True)


async def _answered(controlled: Controlled, conn: Connection[Any], request: AnyRequest) -> Iterator[Answer]:
    if not _only_asks(request):
        _logger.info("control: %s: %s", conn.peer, _told(request))
    try:
        result, rows = await controlled.answer(request)
    except PenstockError as error:
        return iter([Answer(request.id, ok=False, error=str(error))])
    except Exception as error:
        _logger.exception("control: %s failed", type(request).__name__)
        return iter([Answer(request.id, ok=False, error=f"{type(error).__name__}: {error}")])
    return _lines(request.id, result, rows)


def _lines(number: int | str | None, result: Any, rows: Sequence[Row]) -> Iterator[Answer]:
    for start in range(0, len(rows), ROWS_PER_LINE):
        yield Answer(number, more=True, rows=list(rows[start : start + ROWS_PER_LINE]))
    yield Answer(number, ok=True, result=result)


def _only_asks(request: AnyRequest) -> bool:
    """Whether nothing changes by a request."""
    match request:
        case LogLevel():
            return request.level is None
        case Limits():
            return not request.set
    return isinstance(request, _READING)


def _told(request: AnyRequest) -> str:
    """Write a request for the log: its word, and what of it was given."""
    given = {name: getattr(request, name) for name in request.__struct_fields__ if name != "id"}
    words = [f"{name}={value!r}" for name, value in given.items() if value not in (None, False, {})]
    return " ".join([str(request.__struct_config__.tag), *words])


def _refused(_conn: object, error: RemoteProtocolError) -> Answer:
    return Answer(ok=False, error=str(error))
