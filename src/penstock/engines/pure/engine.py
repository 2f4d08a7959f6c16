"""The pure engine: connections on one asyncio loop, by transports written in Python, or by the loop's own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..client import ClientConnection, ClientPlan
from ..link import over
from ..listener import Listener
from ..loop.client import LoopClientConnection
from ..loop.engine import SharedLoopEngine, context_of
from .link import StreamLink, TransportLink, has_our_links

if TYPE_CHECKING:
    from ..plan import Plan
    from .server import PureServer


class PureEngine(SharedLoopEngine):
    """Asyncio protocols on the running loop."""

    name = "pure"

    def serve(self, listeners: Sequence[Listener], plan: Plan) -> PureServer:
        """Prepare to serve on the running loop."""
        from .server import PureServer  # noqa: PLC0415 - a client needs nothing of it

        return PureServer(asyncio.get_running_loop(), listeners, plan)

    async def connect_stream(
        self, sock: socket.socket, plan: ClientPlan, loop: asyncio.AbstractEventLoop
    ) -> ClientConnection[Any]:
        """Make a connection of a stream socket."""
        context = context_of(plan, loop)
        connection: LoopClientConnection[Any] = LoopClientConnection(context, plan)
        user = over(plan.layer, connection)
        if has_our_links(loop):
            StreamLink(loop, sock, user, context.buffer).begin(user.connection_made)
            return connection
        delays = _delays(sock)
        link = TransportLink(user, user.connection_made, context.buffer)
        await loop.create_connection(lambda: link, sock=sock)
        if delays:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # loops set it for every transport
        return connection


def _delays(sock: socket.socket) -> bool:
    """Say whether small pieces wait for an acknowledgement of those before: without TCP_NODELAY."""
    return sock.family != socket.AF_UNIX and not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
