"""Datagram sockets: each datagram is a message, its reply goes back to its sender."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from ...address import Peer
from ...codecs.base import Codec
from ...core.events import Event, EventName
from ...core.gate import Gate
from ...core.service import CallbackHandler, Handler, MessageHandler, settled
from ...errors import RemoteProtocolError
from ...reasons import CloseReason
from ..base import Clock, TimerHandle
from ..datagram import MAX_DATAGRAM_BYTES, READS_PER_TURN, DatagramConnection, handle, is_forged, kernel_drops
from ..listener import Listener
from ..replies import UNIX_RETRY_S, ReplyQueue

# Datagrams being handled by coroutines at once; above it the kernel's receive buffer holds them, or drops them.
MAX_HANDLED_AT_ONCE = 256

# How long after a datagram the kernel is asked what it dropped: not for each one, and not while there are none.
CENSUS_S = 0.1

Emit = Callable[[Event], None]


class DatagramEndpoint:
    """One datagram listener at work. It has no connections: a datagram's handler is given a `DatagramConnection`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        handler: MessageHandler | CallbackHandler,
        codec: Codec[Any],
        *,
        gate: Gate,
        clock: Clock,
        emit: Emit,
        idle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._socket = listener.sock
        self._own = self._socket.getsockname()
        self._handler = handler
        self._codec = codec
        self._gate = gate
        self._clock = clock
        self._emit = emit
        self._idle = idle
        self._census: asyncio.TimerHandle | None = None
        self._kernel_drops = kernel_drops(listener.sock)  # an inherited socket may have some
        self._reading = False
        self._running = False
        self._is_unix = listener.sock.family == socket.AF_UNIX
        self._replies = ReplyQueue(self._socket.sendto, self._drop, clock.time, is_unix=self._is_unix)
        self._waiting = False  # for the kernel to have room
        self._retry: TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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
        self._count_kernel_drops()

    def cut(self) -> None:
        """Forget what is being handled and what waits to be sent."""
        for task in self._tasks:
            task.cancel()
        self._replies.clear()
        self._wait_for_room()

    def _read_if_allowed(self) -> None:
        wanted = self._running and len(self._tasks) < MAX_HANDLED_AT_ONCE
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self._loop.add_reader(self._socket, self._read)
            else:
                self._loop.remove_reader(self._socket)

    def _read(self) -> None:
        if self._census is None:
            self._census = self._loop.call_later(CENSUS_S, self._count_kernel_drops)
        for _ in range(READS_PER_TURN):
            if not self._reading:
                return
            try:
                data, name = self._socket.recvfrom(MAX_DATAGRAM_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # A reply that an earlier peer refused comes back as an error of this socket (udp(7), ECONNREFUSED).
                self._drop(type(error).__name__)
                continue
            if len(data) > MAX_DATAGRAM_BYTES:  # there is more of it than this (recv(2)), and half of it is nothing
                self._drop("too_large")
                continue
            if is_forged(name, self._own, self._socket):
                self._drop("forged")
                continue
            self._received(data, name)

    def _count_kernel_drops(self) -> None:
        if self._census is not None:
            self._census.cancel()
            self._census = None
        drops = kernel_drops(self._socket)
        if drops > self._kernel_drops:
            self._drop("kernel_queue_full", drops - self._kernel_drops)
        self._kernel_drops = drops

    def _received(self, data: bytes, name: Any) -> None:
        gate = self._gate
        if gate.judges_datagrams:
            refusal = gate.admit_datagram(Peer(name, self._socket.family), self._clock.time())
            if refusal is not None:
                self._drop(refusal)
                return
        try:
            message = self._codec.decode_datagram(data)
        except RemoteProtocolError as error:
            self._drop(str(error.reason))
            return
        conn: DatagramConnection[Any] = DatagramConnection(self, name, self._listener, len(data), gate)
        if self._handler.is_async:
            task = self._loop.create_task(self._handle_async(conn, message))
            self._tasks.add(task)
            task.add_done_callback(self._task_done)
            self._read_if_allowed()
        else:
            self._handle(conn, message)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._read_if_allowed()
        if not self.busy:
            self._idle()

    def _handle(self, conn: DatagramConnection[Any], message: Any) -> None:
        try:
            handle(self._handler, conn, message)
        except Exception as error:
            self._failed(conn, error)
        self._emit(Event(EventName.DATAGRAM, conn, {"listener": self._listener}))

    async def _handle_async(self, conn: DatagramConnection[Any], message: Any) -> None:
        handler = self._handler
        try:
            if isinstance(handler, MessageHandler):
                function = handler.function
                conn.answer(await (function(conn, message) if handler.takes_connection else function(message)))
            else:
                await self._converse(handler.factory(), conn, message)
        except Exception as error:
            self._failed(conn, error)
        self._emit(Event(EventName.DATAGRAM, conn, {"listener": self._listener}))

    async def _converse(self, callbacks: Handler[Any], conn: DatagramConnection[Any], message: Any) -> None:
        try:
            await settled(callbacks.on_connect(conn))
            if conn.is_open:
                conn.answer(await settled(callbacks.on_message(conn, message)))
        except Exception:
            conn.end(CloseReason.HANDLER_ERROR)
            raise
        finally:
            await settled(callbacks.on_close(conn, conn.end(CloseReason.DONE)))

    def _failed(self, conn: DatagramConnection[Any], error: Exception) -> None:
        self._emit(Event(EventName.HANDLER_FAILED, conn, {"error": error}))

    def send(self, data: bytes, name: Any) -> bool:
        """Send one datagram, now or when the kernel takes it; drop it, counted, and return False when it cannot."""
        taken = self._replies.send(data, name)
        self._wait_for_room()
        return taken

    def _wait_for_room(self) -> None:
        if self._is_unix:
            if self._replies and self._retry is None:
                self._retry = self._clock.call_at(self._clock.time() + UNIX_RETRY_S, self._send_queued)
            elif not self._replies and self._retry is not None:
                self._retry.cancel()
                self._retry = None
        elif bool(self._replies) != self._waiting:
            self._waiting = bool(self._replies)
            if self._waiting:
                self._loop.add_writer(self._socket, self._send_queued)
            else:
                self._loop.remove_writer(self._socket)

    def _send_queued(self) -> None:
        self._retry = None
        self._replies.retry()
        self._wait_for_room()
        if not self.busy:
            self._idle()

    def refuse_answer(self) -> None:
        """Count an answer that is too large for its question."""
        self._drop("amplification")

    def _drop(self, reason: str, count: int = 1) -> None:
        fields = {"reason": reason, "count": count, "listener": self._listener}
        self._emit(Event(EventName.DATAGRAM_DROPPED, None, fields))

    @property
    def codec(self) -> Codec[Any]:
        """What decodes the datagrams."""
        return self._codec
