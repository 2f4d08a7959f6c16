"""A datagram socket that coroutines read and write, on any loop that has ``add_reader``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ..core.contract import Clock, TimerHandle
from ..core.deadline import Deadline
from ..core.turns import turn_of
from ..errors import ClosedError, LocalProtocolError, Phase, TimedOutError

T = TypeVar("T")


class DatagramSocket:
    """Waits until the kernel has a datagram, or room for one. It owns the socket.

    What is waited for is readiness, never the datagram itself: one who is cancelled has taken nothing.

    Args:
        loop: Tells when the socket is ready.
        clock: Where time comes from.
        sock: Non-blocking.
        read_s: How long a datagram is waited for, where a call does not say; None for ever.
        total: Until when everything is to be done; None for ever.
    """

    __slots__ = ("_clock", "_loop", "_read_s", "_reading", "_total", "_writing", "sock", "turn")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        sock: socket.socket,
        read_s: float | None,
        total: Deadline | None,
    ) -> None:
        self.sock = sock
        self._loop = loop
        self.turn = turn_of(loop)
        self._clock = clock
        self._read_s = read_s
        self._total = total
        self._reading: asyncio.Future[None] | None = None
        self._writing: list[asyncio.Future[None]] = []

    async def read(self, attempt: Callable[[], T], timeout_s: float | None) -> T:
        """Return what ``attempt`` does as soon as it is not told to wait (BlockingIOError).

        Raises:
            OSError: What the system said.
            TimedOutError: ``timeout_s``, or the time for everything, passed.
            ClosedError: The socket was closed meanwhile.
            LocalProtocolError: Another task is already receiving.
        """
        await self.turn.take()
        if self.sock.fileno() < 0:
            raise ClosedError("the connection was closed")
        if self._reading is not None:
            raise LocalProtocolError("another task is already receiving from this connection")
        deadline = Deadline.after(self._read_s if timeout_s is None else timeout_s, self._clock)
        while True:
            self._check_total()
            try:
                return attempt()
            except (BlockingIOError, InterruptedError):
                pass
            waiter = self._reading = self._loop.create_future()
            self._loop.add_reader(self.sock, _settle, waiter)
            try:
                await self._wait(waiter, deadline)
            except TimedOutError as error:
                try:
                    return attempt()  # what has come in time is read before time is up: law 11
                except (BlockingIOError, InterruptedError):
                    raise error from None
            finally:
                self._reading = None
                if self.sock.fileno() >= 0:
                    self._loop.remove_reader(self.sock)

    async def write(self, attempt: Callable[[], T], size: int) -> T:
        """Likewise, for room to send so many bytes."""
        await self.turn.take(size)
        if self.sock.fileno() < 0:
            raise ClosedError("the connection was closed")
        while True:
            self._check_total()
            try:
                return attempt()
            except (BlockingIOError, InterruptedError):
                pass
            waiter = self._loop.create_future()
            if not self._writing:
                self._loop.add_writer(self.sock, self._wake_writers)
            self._writing.append(waiter)
            try:
                await self._wait(waiter, None)
            finally:
                if waiter in self._writing:
                    self._writing.remove(waiter)
                    if not self._writing and self.sock.fileno() >= 0:
                        self._loop.remove_writer(self.sock)

    def _wake_writers(self) -> None:
        self._loop.remove_writer(self.sock)
        waiting, self._writing = self._writing, []
        for waiter in waiting:
            _settle(waiter)

    async def _wait(self, waiter: asyncio.Future[None], deadline: Deadline | None) -> None:
        timers: list[TimerHandle] = []
        for limit, phase in ((deadline, Phase.READ), (self._total, Phase.TOTAL)):
            if limit is not None:
                timers.append(self._clock.call_at(limit.at, partial(_fail, waiter, limit.error(phase))))
        try:
            await waiter
        finally:
            for timer in timers:
                timer.cancel()

    def _check_total(self) -> None:
        if self._total is not None and self._clock.time() >= self._total.at:
            raise self._total.error(Phase.TOTAL)

    def close(self) -> None:
        """Close the socket; a caller that waits gets ClosedError."""
        if self.sock.fileno() < 0:
            return
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()
        for waiter in (*self._writing, *([] if self._reading is None else [self._reading])):
            _fail(waiter, ClosedError("the connection was closed"))


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _fail(waiter: asyncio.Future[None], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error)
