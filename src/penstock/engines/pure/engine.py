"""The pure engine: connections on one asyncio loop, by transports written in Python, or by the loop's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from ..base import Plan
from ..client import ClientConnection, ClientPlan
from ..link import LinkUser, over
from ..listener import Listener
from ..loop.client import LoopClientConnection
from ..loop.engine import SharedLoopEngine, context_of
from ..loop.server import LoopServer
from ..loop.stream import StreamConnection
from .link import StreamLink, TransportLink


class PureEngine(SharedLoopEngine):
    """Asyncio protocols on the running loop."""

    name = "pure"

    def serve(self, listeners: Sequence[Listener], plan: Plan) -> PureServer:
        """Prepare to serve on the running loop."""
        return PureServer(asyncio.get_running_loop(), listeners, plan)

    async def connect_stream(
        self, sock: socket.socket, plan: ClientPlan, loop: asyncio.AbstractEventLoop
    ) -> ClientConnection[Any]:
        """Make a connection of a stream socket."""
        context = context_of(plan, loop)
        connection: LoopClientConnection[Any] = LoopClientConnection(context, plan)
        user = over(plan.layer, connection)
        if _has_our_links(loop):
            StreamLink(loop, sock, user, context.buffer).begin(user.connection_made)
            return connection
        delays = _delays(sock)
        link = TransportLink(user, user.connection_made, context.buffer)
        await loop.create_connection(lambda: link, sock=sock)
        if delays:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # loops set it for every transport
        return connection


def _has_our_links(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether our links are used in a loop, and not its own transports.

    Those of asyncio cost more. uvloop's cost no more than ours there, and its polling keeps resets from ours.
    """
    return isinstance(loop, asyncio.SelectorEventLoop)


def _delays(sock: socket.socket) -> bool:
    """Say whether small pieces wait for an acknowledgement of those before: without TCP_NODELAY."""
    return sock.family != socket.AF_UNIX and not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


class PureServer(LoopServer):
    """Everything that serves one plan on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> None:
        self._has_our_links = _has_our_links(loop)
        self._attaching: set[asyncio.Task[None]] = set()  # accepted sockets that the loop makes its transports for
        super().__init__(loop, listeners, plan)

    def _begin(self, connection: StreamConnection[Any], sock: socket.socket, user: LinkUser) -> None:
        if self._has_our_links:
            StreamLink(self._loop, sock, user, self._context.buffer).begin(user.connection_made)
        else:
            task = self._loop.create_task(self._attach(connection, sock, user))
            self._attaching.add(task)
            task.add_done_callback(self._attached)

    async def _attach(self, connection: StreamConnection[Any], sock: socket.socket, user: LinkUser) -> None:
        try:
            link = TransportLink(user, user.connection_made, self._context.buffer)
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
