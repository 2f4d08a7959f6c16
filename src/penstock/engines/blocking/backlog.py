"""A listener on the thread that accepts."""

from __future__ import annotations

import errno
import socket
from math import inf
from typing import TYPE_CHECKING

from ...address import Peer
from ...errors import LimitError
from ..accept import Acceptor, Backlog, Taken
from ..listener import Listener
from .poller import READ, Poller

if TYPE_CHECKING:
    from .server import BlockingServer


class ThreadBacklog(Backlog):
    """Polled by the keeper, which calls all of this but for the timer, and looks anew before every wait.

    Args:
        acceptor: As of every backlog.
        listener: Likewise.
        server: What there has to be room in besides.
        poller: The keeper's.
    """

    def __init__(self, acceptor: Acceptor, listener: Listener, server: BlockingServer, poller: Poller) -> None:
        super().__init__(acceptor, listener)
        self._server = server
        self._poller = poller
        self._fd = listener.sock.fileno()
        self._running = True

    def _poll(self, wanted: bool) -> None:
        self._poller.set(self._fd, READ if wanted else 0)
        self._polling = wanted

    def wake(self) -> None:
        """The gate may be open by now, or closed: the threads of connections come and go meanwhile."""
        if self._running and not self._failing:
            self._look()

    def _opens_at(self) -> float:
        if not self._server.has_room():
            return inf
        with self._server.gate_lock:
            return super()._opens_at()

    def _hold_place(self) -> bool:
        with self._server.gate_lock:
            return super()._hold_place()

    def let_go(self) -> None:
        """Give back a place that was held for the next connection."""
        with self._server.gate_lock:
            super().let_go()

    def _has_to_ask(self) -> bool:
        return True

    def may_accept(self) -> bool:
        """Ask the gate, if there is room for a connection."""
        return not self._failing and super().may_accept()

    def _waited(self) -> None:
        # On whatever thread runs the clock.
        self._failing = False
        self._poller.wake()

    def _take(self) -> Taken | None:
        try:
            taken = self._server.take(super()._take)
        except LimitError:
            self.failed(OSError(errno.EAGAIN, "no further thread"))
            return None
        self._server.report_refusals()
        return taken

    def _begin(self, sock: socket.socket, peer: Peer) -> None:
        self._server.begin(sock, peer, self.listener)

    def failed(self, error: OSError) -> None:
        """Leave the listener alone for a while."""
        with self._server.gate_lock:
            self.acceptor.failed(error, self.listener)
        self._back_off()
        self._server.report_refusals()  # last: an observer may move the clock
