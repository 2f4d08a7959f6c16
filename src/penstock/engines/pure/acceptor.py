"""Taking connections from the backlog, and not taking them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from ..accepting import ACCEPT_BACKOFF_S, ACCEPTS_PER_TURN, GONE_ALREADY
from ..base import Clock, TimerHandle
from ..listener import Listener


class Acceptor:
    """Accepts from one listener while it is running and there is room.

    Args:
        loop: Tells when the listener is readable.
        clock: Where time comes from.
        listener: Where connections come from.
        has_room: Asked before each accept; when it says no, call `wake` when it would say yes.
        accepted: Given each new socket, non-blocking, and the peer's name.
        failed: Told of each failure of accept(2), except those of a peer that was gone already.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        listener: Listener,
        *,
        has_room: Callable[[], bool],
        accepted: Callable[[socket.socket, object, Listener], None],
        failed: Callable[[OSError, Listener], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._listener = listener
        self._has_room = has_room
        self._accepted = accepted
        self._failed = failed
        self._running = False
        self._polling = False
        self._backoff: TimerHandle | None = None

    def start(self) -> None:
        """Accept from now on."""
        self._running = True
        self.wake()

    def stop(self) -> None:
        """Leave connections in the backlog from now on."""
        self._running = False
        self._poll(False)
        if self._backoff is not None:
            self._backoff.cancel()
            self._backoff = None

    def wake(self) -> None:
        """There may be room again."""
        if self._running and self._backoff is None and self._has_room():
            self._poll(True)

    def _poll(self, wanted: bool) -> None:
        if wanted != self._polling:
            self._polling = wanted
            if wanted:
                self._loop.add_reader(self._listener.sock, self._accept)
            else:
                self._loop.remove_reader(self._listener.sock)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            if not self._has_room():
                self._poll(False)
                return
            try:
                sock, name = self._listener.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in GONE_ALREADY:
                    continue
                self._failed(error, self._listener)
                self._back_off()
                return
            sock.setblocking(False)
            self._accepted(sock, name, self._listener)
            if not self._running:  # whoever was told stopped the server
                return

    def _back_off(self) -> None:
        self._poll(False)
        self._backoff = self._clock.call_at(self._clock.time() + ACCEPT_BACKOFF_S, self._backed_off)

    def _backed_off(self) -> None:
        self._backoff = None
        self.wake()
