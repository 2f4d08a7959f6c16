"""A listener on a loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from ...address import Peer
from ..accept import Acceptor, Backlog
from ..listener import Listener


class LoopBacklog(Backlog):
    """Polled by the loop.

    Args:
        acceptor: As of every backlog.
        listener: Likewise.
        loop: Tells when the listener is readable.
        begin: Given each new socket, non-blocking, with the peer that was let in and the listener.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        begin: Callable[[socket.socket, Peer, Listener], None],
    ) -> None:
        super().__init__(acceptor, listener)
        self._loop = loop
        self._accepted = begin

    def _poll(self, wanted: bool) -> None:
        if wanted != self._polling:
            if wanted:
                self._loop.add_reader(self.listener.sock, self.accept)
            else:
                self._loop.remove_reader(self.listener.sock)
            self._polling = wanted  # last: what has failed is done another time

    def _begin(self, sock: socket.socket, peer: Peer) -> None:
        self._accepted(sock, peer, self.listener)
