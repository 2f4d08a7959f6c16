"""Datagram sockets on a loop: each datagram is a message, its reply goes back to its sender."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ...codecs.base import Codec
from ...core.contract import Clock, TimerHandle
from ...core.endings import reason_after
from ...core.events import Event
from ...core.gate import Gate
from ...core.handlers import CallbackHandler, Handler, MessageHandler, settled
from ...core.interrupts import is_interrupt
from ...reasons import CloseReason
from ..datagram import OneDatagram
from ..destination import send_to
from ..endpoint import DatagramEndpoint
from ..listener import Listener
from ..own import OwnAddresses
from ..replies import UNIX_RETRY_S, ReplyQueue

# Datagrams being handled by coroutines at once; above it the kernel's receive buffer holds them, or drops them.
MAX_HANDLED_AT_ONCE: Final = 256

# How long after a datagram the kernel is asked what it dropped: not for each one, and not while there are none.
CENSUS_S: Final = 0.1


class LoopEndpoint(DatagramEndpoint):
    """One datagram listener at work on a loop.

    Args:
        loop: Which.
        idle: Called when nothing is being handled or sent any more.
        listener, handler, codec, gate, clock, emit, own: As of every endpoint.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        handler: MessageHandler | CallbackHandler | None,
        codec: Codec[Any],
        *,
        gate: Gate,
        clock: Clock,
        emit: Callable[[Event], None],
        own: OwnAddresses,
        idle: Callable[[], None],
    ) -> None:
        super().__init__(listener, handler, codec, gate=gate, clock=clock, emit=emit, own=own)
        self._loop = loop
        self._idle = idle
        self._census: asyncio.TimerHandle | None = None
        self._running = False
        self._replies = ReplyQueue(partial(send_to, self._socket), self.drop, clock.time, is_unix=self._is_unix)
        self._waiting = False  # for the kernel to have room
        self._retry: TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_cut = False  # the server has cancelled them

    @property
    def socket(self) -> socket.socket:
        """Its socket."""
        return self._socket

    @property
    def busy(self) -> bool:
        """Whether a datagram is being handled or a reply waits for the kernel."""
        return bool(self._tasks or self._replies)

    def start(self) -> None:
        """Read from now on."""
        self._running = True
        self._read_if_allowed()

    def stop(self) -> None:
        """Leave datagrams with the kernel from now on."""
        self._running = False
        self._read_if_allowed()
        self.count_kernel_drops()

    def drain(self) -> None:
        """Leave datagrams with the kernel: each that was read is handled."""
        self.stop()

    def cut(self) -> None:
        """Forget what is being handled and what waits to be sent."""
        self._is_cut = True
        for task in list(self._tasks):
            task.cancel()
        self._replies.clear()
        self._wait_for_room()

    @property
    def room(self) -> int:
        """How many more datagrams may be handled at once."""
        return MAX_HANDLED_AT_ONCE - len(self._tasks)

    def _read_if_allowed(self) -> None:
        wanted = self._is_wanted() and not self._resting and self.room > 0
        if wanted != self._reading:
            self._reading = wanted
            try:
                self._poll_reading()
            except MemoryError:  # and nothing else may ever have it begin
                self._reading = not wanted
                self._rest()
            except BaseException:
                self._reading = not wanted
                raise

    def _is_wanted(self) -> bool:
        return self._running

    def _poll_reading(self) -> None:
        if self._reading:
            self._loop.add_reader(self._socket, self._readable)
        else:
            self._loop.remove_reader(self._socket)

    def _readable(self) -> None:
        if self._census is None:
            self._census = self._loop.call_later(CENSUS_S, self.count_kernel_drops)
        self.read()

    def count_kernel_drops(self) -> None:
        """Ask the kernel what it dropped since it was asked last."""
        if self._census is not None:
            self._census.cancel()
            self._census = None
        super().count_kernel_drops()

    def serve(self, conn: OneDatagram[Any], message: Any) -> None:
        """Call the handler, or have a task do so."""
        if self._handler.is_async:
            task = self._loop.create_task(self._serve_async(conn, message), context=self.variables.copy())
            self._tasks.add(task)
            task.add_done_callback(self._task_done)
            self._read_if_allowed()
        else:
            self.call(conn, message)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a signal's, if there is one: the loop has had it, and need not say that nobody has
        self._read_if_allowed()
        if not self.busy:
            self._idle()

    async def _serve_async(self, conn: OneDatagram[Any], message: Any) -> None:
        handler = self._handler
        try:
            callbacks = handler.callbacks()
            if callbacks is None:
                conn.answer(await handler.for_messages(conn, None)(message))
            else:
                await self._converse(callbacks, conn, message)
        except BaseException as error:
            # Any other cancellation is the handler's own.
            if (self._is_cut and isinstance(error, asyncio.CancelledError)) or is_interrupt(error):
                raise
            self.failed(conn, error)
        self.handled(conn)

    async def _converse(self, callbacks: Handler[Any], conn: OneDatagram[Any], message: Any) -> None:
        try:
            await settled(callbacks.on_connect(conn))
            if conn.is_open:
                conn.answer(await settled(callbacks.on_message(conn, message)))
        except BaseException as error:
            conn.end(reason_after(error))
            raise
        finally:
            await settled(callbacks.on_close(conn, conn.end(CloseReason.DONE)))

    def send(self, data: bytes, to: Any) -> bool:
        """Send one datagram, now or when the kernel takes it; drop it, counted, and return False when it cannot."""
        taken = self._replies.send(data, to)
        self._wait_for_room()
        return taken

    def _wait_for_room(self) -> None:
        if self._is_unix:
            if self._replies and self._retry is None:
                self._retry = self._clock.call_at(self._clock.time() + UNIX_RETRY_S, self.send_kept)
            elif not self._replies and self._retry is not None:
                self._retry.cancel()
                self._retry = None
        elif bool(self._replies) != self._waiting:
            self._waiting = not self._waiting
            try:
                self._poll_writing()
            except BaseException:  # what has failed is done another time
                self._waiting = not self._waiting
                raise

    def _poll_writing(self) -> None:
        if self._waiting:
            self._loop.add_writer(self._socket, self.send_kept)
        else:
            self._loop.remove_writer(self._socket)

    def send_kept(self) -> None:
        """Send what waits, as far as there is room."""
        self._retry = None
        self._replies.retry()
        self._wait_for_room()
        if not self.busy:
            self._idle()
