"""Work beside the handlers: coroutines that run until they end, or until what they belong to does."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ClosedError, ConnectionEndedError, LocalProtocolError
from .texts import text_of

if TYPE_CHECKING:
    from .contract import ConnectionBase

Work = Coroutine[Any, Any, object]


class BackgroundTask(Protocol):
    """A coroutine that runs in the background."""

    @property
    def name(self) -> str:
        """What logs call it."""

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""

    def cancel(self) -> None:
        """Have it end. May be called from any thread, and repeated."""


class TaskServer(Protocol):
    """A server, as far as the background tasks of its connections are concerned."""

    def start_task(self, conn: ConnectionBase[Any], work: Work, name: str, *, finish: bool) -> BackgroundTask:
        """Run ``work`` until ``conn`` has ended, which does not for the peer's EOF alone where it is to ``finish``."""


def start_task(conn: ConnectionBase[Any], work: Work, name: str, *, finish: bool = False) -> BackgroundTask:
    """Run ``work`` until ``conn`` has ended: what ``conn.task`` does on every engine.

    Raises:
        LocalProtocolError: It is a client's connection.
        ClosedError: The connection is closing already.
    """
    server: TaskServer | None = conn.server
    if server is None:
        close_unused(work)
        raise LocalProtocolError("only a connection of a server has background tasks")
    if conn.close_reason is not None:
        close_unused(work)
        raise ClosedError("the connection is closing: it starts no background task")
    return server.start_task(conn, work, name or name_of(work), finish=finish)


def close_unused(work: Work) -> None:
    """Close a coroutine that will not run: Python warns of one that was never awaited. Leave anything else alone."""
    if isinstance(work, Coroutine):
        work.close()


def name_of(work: Work) -> str:
    """Return what a coroutine is called."""
    return getattr(work, "__qualname__", "") or text_of(work)


def is_failure(conn: ConnectionBase[Any] | None, error: BaseException) -> bool:
    """Return whether a task failed, or noticed that its connection has ended and left it at that."""
    return not (isinstance(error, ConnectionEndedError) and conn is not None and conn.close_reason is not None)
