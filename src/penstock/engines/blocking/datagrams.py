"""A datagram listener and the one thread that reads it, calls the handler and sends the replies."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from ...codecs.base import Codec
from ...core.contract import Clock
from ...core.events import Event
from ...core.gate import Gate
from ...core.handlers import CallbackHandler, MessageHandler
from ..datagram import OneDatagram
from ..destination import send_to
from ..endpoint import DatagramEndpoint
from ..listener import Listener
from ..own import OwnAddresses
from ..replies import UNIX_RETRY_S, ReplyQueue
from .poller import READ, WRITE, Poller


class DatagramThread(DatagramEndpoint):
    """One datagram listener at work.

    Args:
        listener: Which.
        handler: ``def``, called for one datagram after the other; None where they belong to sessions.
        codec: What decodes and encodes them.
        gate: Decides whose datagrams are handled.
        gate_lock: Guards it.
        clock: Where time comes from.
        emit: Told of every event.
        own: Where the server receives datagrams.
        ended: Called last, on the thread.
        name: The thread's.
    """

    def __init__(
        self,
        listener: Listener,
        handler: MessageHandler | CallbackHandler | None,
        codec: Codec[Any],
        *,
        gate: Gate,
        gate_lock: threading.RLock,
        clock: Clock,
        emit: Callable[[Event], None],
        own: OwnAddresses,
        ended: Callable[[], None],
        name: str,
    ) -> None:
        super().__init__(listener, handler, codec, gate=gate, clock=clock, emit=emit, own=own, gate_lock=gate_lock)
        self._fd = listener.sock.fileno()
        self._ended = ended
        self._poller = Poller()
        self._lock = threading.RLock()  # an observer of what is dropped may send
        self._ending = False
        self._replies = ReplyQueue(partial(send_to, self._socket), self.drop, clock.time, is_unix=self._is_unix)
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    # -- any thread ----------------------------------------------------------------------------------------------------

    def set_running(self, running: bool) -> None:
        """Read from now on, or leave datagrams with the kernel."""
        self._reading = running
        self._poller.wake()

    def end(self) -> None:
        """Read no more; the thread ends when the datagram at hand is handled and the replies are gone."""
        self._reading = False
        self._ending = True
        self._poller.wake()

    def cut(self) -> None:
        """Forget the replies and end."""
        with self._lock:
            self._replies.clear()
        self.end()

    def give_up(self) -> None:
        """End, perhaps before the thread was started."""
        if self.thread.ident is None:
            self._poller.close()
        else:
            self.cut()

    def send(self, data: bytes, to: Any) -> bool:
        """Send one datagram, now or when the kernel takes it; drop it, counted, and return False when it cannot."""
        with self._lock:
            taken = self._replies.send(data, to)
            waiting = bool(self._replies)
        if waiting and threading.current_thread() is not self.thread:
            self._poller.wake()
        return taken

    def _read_if_allowed(self) -> None:
        self._poller.wake()

    # -- its own thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._is_needed():
                waiting = bool(self._replies)
                wants = (READ if self._reading and not self._resting else 0) | (
                    WRITE if waiting and not self._is_unix else 0
                )
                self._poller.set(self._fd, wants)
                ready = self._poller.wait(UNIX_RETRY_S if waiting and self._is_unix else None)
                if waiting:
                    with self._lock:
                        self._replies.retry()
                # A queue that overflowed held more than one.
                if any(events & READ for _, events in ready) and self.read() > 1:
                    self.count_kernel_drops()
                self._turned()
            self.count_left()
        finally:
            self._poller.close()
            self._ended()

    def _is_needed(self) -> bool:
        return not self._ending or bool(self._replies)

    def _turned(self) -> None:
        """What was ready has had its turn."""

    def serve(self, conn: OneDatagram[Any], message: Any) -> None:
        """Call the handler."""
        self.call(conn, message)
