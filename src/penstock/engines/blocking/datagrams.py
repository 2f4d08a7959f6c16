"""A datagram listener and the one thread that reads it, calls the handler and sends the replies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

from ...address import Peer
from ...codecs.base import Codec
from ...core.events import Event, EventName
from ...core.gate import Gate
from ...core.service import CallbackHandler, MessageHandler
from ...errors import RemoteProtocolError
from ..base import Clock
from ..datagram import MAX_DATAGRAM_BYTES, READS_PER_TURN, DatagramConnection, handle, is_forged, kernel_drops
from ..listener import Listener
from ..replies import UNIX_RETRY_S, ReplyQueue
from .poller import READ, WRITE, Poller


class DatagramThread:
    """One datagram listener at work.

    Args:
        listener: Which.
        handler: ``def``, called for one datagram after the other.
        codec: What decodes and encodes them.
        gate: Decides whose datagrams are handled.
        gate_lock: Guards it.
        clock: Where time comes from.
        emit: Told of every event.
        ended: Called last, on the thread.
        name: The thread's.
    """

    def __init__(
        self,
        listener: Listener,
        handler: MessageHandler | CallbackHandler,
        codec: Codec[Any],
        *,
        gate: Gate,
        gate_lock: threading.RLock,
        clock: Clock,
        emit: Callable[[Event], None],
        ended: Callable[[], None],
        name: str,
    ) -> None:
        self._listener = listener
        self._socket = listener.sock
        self._own = self._socket.getsockname()
        self._fd = listener.sock.fileno()
        self._is_unix = listener.sock.family == socket.AF_UNIX
        self._handler = handler
        self._codec = codec
        self._gate = gate
        self._gate_lock = gate_lock
        self._clock = clock
        self._emit = emit
        self._ended = ended
        self._kernel_drops = kernel_drops(listener.sock)  # an inherited socket may have some
        self._poller = Poller()
        self._lock = threading.RLock()  # an observer of what is dropped may send
        self._running = False
        self._ending = False
        self._replies = ReplyQueue(self._socket.sendto, self._drop, clock.time, is_unix=self._is_unix)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def codec(self) -> Codec[Any]:
        """What decodes the datagrams."""
        return self._codec

    # -- any thread ----------------------------------------------------------------------------------------------------

    def set_running(self, running: bool) -> None:
        """Read from now on, or leave datagrams with the kernel."""
        self._running = running
        self._poller.wake()

    def end(self) -> None:
        """Read no more; the thread ends when the datagram at hand is handled and the replies are gone."""
        self._running = False
        self._ending = True
        self._poller.wake()

    def cut(self) -> None:
        """Forget the replies and end."""
        with self._lock:
            self._replies.clear()
        self.end()

    def send(self, data: bytes, name: Any) -> bool:
        """Send one datagram, now or when the kernel takes it; drop it, counted, and return False when it cannot."""
        with self._lock:
            taken = self._replies.send(data, name)
            waiting = bool(self._replies)
        if waiting and threading.current_thread() is not self.thread:
            self._poller.wake()
        return taken

    def refuse_answer(self) -> None:
        """Count an answer that is too large for its question."""
        self._drop("amplification")

    def _drop(self, reason: str, count: int = 1) -> None:
        fields = {"reason": reason, "count": count, "listener": self._listener}
        self._emit(Event(EventName.DATAGRAM_DROPPED, None, fields))

    # -- its own thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending or self._replies:
                waiting = bool(self._replies)
                wants = (READ if self._running else 0) | (WRITE if waiting and not self._is_unix else 0)
                self._poller.set(self._fd, wants)
                ready = self._poller.wait(UNIX_RETRY_S if waiting and self._is_unix else None)
                if waiting:
                    with self._lock:
                        self._replies.retry()
                if any(events & READ for _, events in ready):
                    self._read()
        finally:
            self._poller.close()
            self._ended()

    def _read(self) -> None:
        for count in range(READS_PER_TURN):
            if not self._running:
                return
            try:
                data, name = self._socket.recvfrom(MAX_DATAGRAM_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                if count > 1:  # a queue that overflowed held more than one
                    self._count_kernel_drops()
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
        self._count_kernel_drops()

    def _count_kernel_drops(self) -> None:
        drops = kernel_drops(self._socket)
        if drops > self._kernel_drops:
            self._drop("kernel_queue_full", drops - self._kernel_drops)
        self._kernel_drops = drops

    def _received(self, data: bytes, name: Any) -> None:
        if self._gate.judges_datagrams:
            with self._gate_lock:
                refusal = self._gate.admit_datagram(Peer(name, self._socket.family), self._clock.time())
            if refusal is not None:
                self._drop(refusal)
                return
        try:
            message = self._codec.decode_datagram(data)
        except RemoteProtocolError as error:
            self._drop(str(error.reason))
            return
        conn: DatagramConnection[Any] = DatagramConnection(self, name, self._listener, len(data), self._gate)
        try:
            handle(self._handler, conn, message)
        except BaseException as error:  # SystemExit too: it ends this datagram, not the listener
            self._emit(Event(EventName.HANDLER_FAILED, conn, {"error": error}))
        self._emit(Event(EventName.DATAGRAM, conn, {"listener": self._listener}))
