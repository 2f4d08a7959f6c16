"""What the engines of a loop do alike for clients."""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from ...address import Kind
from ...core.contract import Connection
from ...core.events import Event
from ...core.handlers import Driver
from ..base import LoopEngine
from ..client import ClientConnection, ClientPlan
from ..link import over
from .client import LoopClientConnection
from .context import LoopContext, alarms_of
from .datagram_client import DatagramClientConnection
from .records import RecordLink
from .stream import StreamConnection

if TYPE_CHECKING:
    from ..plan import Plan


class SharedLoopEngine(LoopEngine):
    """An engine of a loop, but for streams: records and datagrams go the same way on all of them."""

    def refuses(self, plan: Plan) -> str | None:
        """Refuse ``def`` connection handlers: they block."""
        if plan.driver is Driver.OWN_THREAD:
            return f"{plan.service.name} is a def connection handler, which blocks; use --engine blocking, or async def"
        return None

    async def connect(self, sock: socket.socket, plan: ClientPlan) -> Connection[Any]:
        """Make a connection, which is used in the running loop. Cancelling this closes the socket."""
        loop = asyncio.get_running_loop()
        try:
            if plan.local.is_datagram:
                return DatagramClientConnection(loop, sock, plan)
            if plan.local.kind is not Kind.SEQPACKET:
                return await self.connect_stream(sock, plan, loop)
            context = context_of(plan, loop)
            connection: LoopClientConnection[Any] = LoopClientConnection(context, plan, records=True)
            user = over(plan.layer, connection)
            RecordLink(loop, sock, user).begin(user.connection_made)
            return connection
        except BaseException:
            sock.close()
            raise

    @abstractmethod
    async def connect_stream(
        self, sock: socket.socket, plan: ClientPlan, loop: asyncio.AbstractEventLoop
    ) -> ClientConnection[Any]:
        """Make a connection of a stream socket. The caller closes the socket when this raises."""


def context_of(plan: ClientPlan, loop: asyncio.AbstractEventLoop) -> LoopContext:
    """Return what a client's connection in Python needs: it is in nobody's list, and its user is told by exceptions."""
    clock = plan.clock or loop
    return LoopContext(
        loop=loop,
        clock=clock,
        alarms=alarms_of(clock),
        timeouts=plan.timeouts_by(clock),
        limits=plan.limits,
        emit=ignore,
        released=_forget,
        secure=plan.secure,
    )


def ignore(event: Event) -> None:
    """An event: what a client is to know its connection's methods raise."""


def _forget(connection: StreamConnection[Any]) -> None:
    """A connection has ended."""
