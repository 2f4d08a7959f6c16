"""The pure engine: connections on one asyncio loop, by transports written in Python, or by the loop's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any

from ..base import Engine, Plan
from ..listener import Listener
from ..loop.server import LoopServer, needs_a_thread
from ..loop.stream import StreamConnection
from .link import StreamLink, TransportLink


class PureEngine(Engine):
    """Asyncio protocols on the running loop."""

    name = "pure"

    def refuses(self, plan: Plan) -> str | None:
        """Refuse ``def`` connection handlers: they block."""
        return needs_a_thread(plan)

    def server(self, listeners: Sequence[Listener], plan: Plan) -> PureServer:
        """Prepare to serve on the running loop."""
        return PureServer(asyncio.get_running_loop(), listeners, plan)


class PureServer(LoopServer):
    """Everything that serves one plan on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> None:
        # uvloop's transports cost no more than ours there, and its polling keeps resets from ours.
        self._brings_transports = isinstance(loop, asyncio.SelectorEventLoop)
        self._attaching: set[asyncio.Task[None]] = set()  # accepted sockets that the loop makes its transports for
        super().__init__(loop, listeners, plan)

    def _begin(self, connection: StreamConnection[Any], sock: socket.socket) -> None:
        if self._brings_transports:
            StreamLink(self._loop, sock, connection, self._context.buffer).begin(connection.connection_made)
        else:
            task = self._loop.create_task(self._attach(connection, sock))
            self._attaching.add(task)
            task.add_done_callback(self._attached)

    async def _attach(self, connection: StreamConnection[Any], sock: socket.socket) -> None:
        try:
            link = TransportLink(connection, connection.connection_made, self._context.buffer)
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
