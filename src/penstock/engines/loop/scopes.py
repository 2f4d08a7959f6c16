"""A block of a coroutine that is cancelled when the peer goes: what `Connection.while_open` returns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from ...core.turns import turn_of


class Departure(asyncio.Future[Any]):
    """Done when a connection's peer has gone.

    Args:
        loop: The connection's.
        at_eof: To have sent EOF is to have gone; else it is when the transport is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, at_eof: bool) -> None:
        super().__init__(loop=loop)
        self.at_eof = at_eof


class DrainNotice(asyncio.Future[Any]):
    """Done when a connection's server begins to drain, or when the connection has ended."""


def tell_of_drain(waiters: Iterable[asyncio.Future[Any]]) -> None:
    """Wake those who wait for the drain, among all who wait for something of one connection."""
    for waiter in tuple(waiters):
        if isinstance(waiter, DrainNotice) and not waiter.done():
            waiter.set_result(None)


class OpenScope:
    """A block that is cancelled when the peer goes.

    ``async with conn.while_open() as scope:`` ends then as if its last line had been reached, wherever it waits, and
    ``scope.cancelled`` says so. A cancellation of the task itself is passed on, as `asyncio.timeout` does.

    Attributes:
        cancelled: Whether the peer has gone while the block was at work.
    """

    def __init__(self, conn: Any, *, at_eof: bool) -> None:
        self.cancelled = False
        self._conn = conn
        self._at_eof = at_eof
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._departure: Departure | None = None

    async def __aenter__(self) -> Self:
        await turn_of(asyncio.get_running_loop()).take()
        task = self._task = asyncio.current_task()
        assert task is not None, "only a task can be cancelled"
        self._cancelling = task.cancelling()
        self._departure = Departure(asyncio.get_running_loop(), at_eof=self._at_eof)
        self._departure.add_done_callback(self._gone)
        self._conn.watch_departure(self._departure)
        return self

    def _gone(self, departure: Departure) -> None:
        if self._departure is departure and self._task is not None and not departure.cancelled():
            self.cancelled = True
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        departure, self._departure = self._departure, None
        if departure is not None:
            departure.cancel()
        if not self.cancelled:
            return False
        assert self._task is not None
        is_all = self._task.uncancel() <= self._cancelling
        return is_all and kind is not None and issubclass(kind, asyncio.CancelledError)
