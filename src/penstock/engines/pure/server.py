"""The server of the pure engine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from ..link import Link, LinkUser
from ..listener import Listener
from ..loop.moving import MovingConnection
from ..loop.server import LoopServer
from ..loop.stream import StreamConnection
from ..luggage import Arrival
from ..plan import Plan
from .link import StreamLink, TransportLink, has_our_links


class PureServer(LoopServer):
    """Everything that serves one plan on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> None:
        self._has_our_links = has_our_links(loop)
        self._attaching: set[asyncio.Task[None]] = set()  # accepted sockets that the loop makes its transports for
        super().__init__(loop, listeners, plan)

    def _begin(self, connection: StreamConnection[Any], sock: socket.socket, user: LinkUser) -> None:
        if self._has_our_links:
            StreamLink(self._loop, sock, user, self._context.buffer).begin(user.connection_made)
        else:
            self._attach_soon(connection, sock, user, user.connection_made)

    def _go_on(self, connection: MovingConnection[Any], sock: socket.socket, arrival: Arrival) -> None:
        def begun(link: Link) -> None:
            connection.go_on(link, arrival)

        if self._has_our_links:
            StreamLink(self._loop, sock, connection, self._context.buffer).go_on(begun)
        else:
            self._attach_soon(connection, sock, connection, begun)

    def _attach_soon(
        self, connection: StreamConnection[Any], sock: socket.socket, user: LinkUser, begun: Callable[[Link], object]
    ) -> None:
        task = self._loop.create_task(self._attach(connection, sock, user, begun))
        self._attaching.add(task)
        task.add_done_callback(self._attached)

    async def _attach(
        self, connection: StreamConnection[Any], sock: socket.socket, user: LinkUser, begun: Callable[[Link], object]
    ) -> None:
        try:
            link = TransportLink(user, begun, self._context.buffer)
            await self._loop.connect_accepted_socket(lambda: link, sock)
        except BaseException as error:  # the peer left, or the loop is out of resources, between accept(2) and here
            sock.close()
            if connection.id in self._connections:
                connection.connection_lost(error)
            if not isinstance(error, OSError):
                raise

    def _attached(self, task: asyncio.Task[None]) -> None:
        self._attaching.discard(task)
        self._check_stopped()

    def _is_idle(self) -> bool:
        return not self._attaching and super()._is_idle()
