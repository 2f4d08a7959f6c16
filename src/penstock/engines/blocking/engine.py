"""The blocking engine: a thread for each connection, for handlers that block."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ...address import Kind
from ..alarms import ClockAlarms
from ..base import ThreadEngine
from ..client import ClientPlan, SyncConnection
from ..listener import Listener
from ..plan import Plan
from .client import ThreadClientConnection
from .datagram_client import ThreadDatagramConnection
from .guarding import ThreadContext
from .poller import Poller
from .server import BlockingServer
from .timers import Timers

# Every connection holds a thread as long as it is open, also one whose peer says nothing. One that waits costs 24 KiB
# and no time, so 256 cost 6 MiB: it takes more than a handful of silent peers to hold everybody up until the first of
# them meets its first-message timeout.
DEFAULT_THREADS: Final = 256


class BlockingEngine(ThreadEngine):
    """Threads that wait, for handlers that block."""

    name = "blocking"
    descriptors_per_connection = 2  # its socket, and what wakes the thread that waits for it
    default_threads = DEFAULT_THREADS
    thread_per_connection = True

    def refuses(self, plan: Plan) -> str | None:
        """Refuse coroutines: there is no loop to run them."""
        service = plan.service
        if service.handler.is_async:
            return f"{service.name} is async, which needs a loop; use --engine pure, or a def handler"
        if service.datagram is not None and service.datagram.is_async:
            return f"{service.name} answers datagrams in a coroutine, which needs a loop; use --engine pure"
        return None

    def serve(self, listeners: Sequence[Listener], plan: Plan) -> BlockingServer:
        """Prepare to serve. Threads begin with `BlockingServer.start`."""
        return BlockingServer(listeners, plan)

    def connect(self, sock: socket.socket, plan: ClientPlan) -> SyncConnection[Any]:
        """Make a connection, whose timers are run by the threads that wait for it."""
        poller = None
        try:
            poller = Poller()
            timers = Timers(poller.wake)
            clock = plan.clock or timers
            context = ThreadContext(
                clock=clock,
                alarms=ClockAlarms(clock),
                timeouts=plan.timeouts_by(clock),
                limits=plan.limits,
                report=deque.clear,
                secure=plan.secure,
                timers=timers,
            )
            if plan.local.is_datagram:
                return ThreadDatagramConnection(context, sock, poller, plan)
            records = plan.local.kind is Kind.SEQPACKET
            connection: ThreadClientConnection[Any] = ThreadClientConnection(
                context, sock, poller, plan, records=records
            )
        except BaseException:
            if poller is not None:
                poller.close()
            sock.close()
            raise
        try:
            connection.begin_layer()
            connection.await_ready(plan.ready_by)
        except BaseException:
            connection.abort()
            raise
        return connection
