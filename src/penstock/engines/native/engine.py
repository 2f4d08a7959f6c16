"""The native engine: connections served in compiled code, the rest of a server as every loop has it.

Streams and datagrams are read, written and watched by the poller; handlers are called, and their tasks resumed, from
there. Records of seqpacket sockets go through the loop, as on the pure engine.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from ...address import Kind, Peer
from ...core.budget import OutputBudget
from ...core.contract import ConnectionBase
from ...core.handlers import AnyHandler, Driver
from ..accept import Acceptor, Backlog
from ..base import Adoption
from ..client import ClientConnection, ClientPlan
from ..listener import Listener
from ..loop.datagrams import LoopEndpoint
from ..loop.engine import SharedLoopEngine, ignore
from ..loop.server import LoopServer
from ..loop.stream import StreamConnection
from ..luggage import Arrival
from ..plan import Plan
from .acceptor import ListenerPoll, adopted
from .drivers.client import ClientConversation
from .endpoint import NativeEndpoint
from .host import Host
from .loop import NativeLoop
from .openssl import loaded
from .polling.attached import AttachedPoller
from .polling.poller import Poller
from .polling.selector import NativeSelector


class NativeEngine(SharedLoopEngine):
    """Epoll, in the running loop: as its selector where the loop was made with one, else beside it."""

    name = "native"

    def why_ssl(self) -> str | None:
        """Return what is not as compiled code would need it; None where all is."""
        return loaded.why_not()

    def serve(self, listeners: Sequence[Listener], plan: Plan) -> NativeServer:
        """Prepare to serve on the running loop."""
        return NativeServer(asyncio.get_running_loop(), listeners, plan)

    async def connect_stream(
        self, sock: socket.socket, plan: ClientPlan, loop: asyncio.AbstractEventLoop
    ) -> ClientConnection[Any]:
        """Make a connection of a stream socket, in a loop that has the engine's selector.

        A client costs no poller beside a loop: in others its connections are the pure engine's (`engines.registry`).
        """
        selector = getattr(loop, "_selector", None)
        assert isinstance(selector, NativeSelector), "other loops have other engines"
        clock = plan.clock or loop
        host = Host(
            selector,
            loop,
            plan.codec,
            timeouts=plan.timeouts_by(clock),
            limits=plan.limits,
            clock=None if clock is loop else clock,
            emit=ignore,
            budget=OutputBudget(),
        )
        host.secure = plan.secure
        return ClientConversation(host, plan, sock.detach())


ClientConnection.register(ClientConversation)  # it is no subclass, but it has the same methods


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an asyncio loop whose selector serves the engine's sockets itself."""
    return NativeLoop()


class NativeBacklog(Backlog):
    """Says when to accept; in between, connections are taken and made in compiled code."""

    def __init__(self, acceptor: Acceptor, listener: Listener, host: Host, handler: AnyHandler, driver: Driver) -> None:
        super().__init__(acceptor, listener)
        self._listener_poll = ListenerPoll(host, self, handler, driver)

    def may_accept(self) -> bool:
        """Ask the gate, once a backlog that the loop polls has had its turn: compiled code is told of its own first."""
        first = self.acceptor.backlogs[0]
        if not isinstance(first, NativeBacklog):
            first.take_turn()
        return self._running and super().may_accept()

    def _poll(self, wanted: bool) -> None:
        if wanted != self._polling:
            self._listener_poll.poll(wanted)
            self._polling = wanted

    def _begin(self, sock: socket.socket, peer: Peer) -> None:
        raise AssertionError("what compiled code accepts does not come this way")


class NativeAdoption(Adoption):
    """A connection of another process whose handler has taken over.

    Args:
        connection: It.
        arrival: What was told of it.
    """

    def __init__(self, connection: Any, arrival: Arrival) -> None:
        self.connection = connection
        self._arrival = arrival

    def _begin(self) -> None:
        self.connection.begin(self._arrival)

    def _give_up(self) -> None:
        self.connection.never_was()


class NativeServer(LoopServer):
    """Everything that serves one plan on one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> None:
        self._attached_poller: AttachedPoller | None = None
        self._native = Host(
            self._poller_of(loop),
            loop,
            plan.service.codec,
            timeouts=plan.timeouts,
            limits=plan.limits,
            clock=plan.clock,
            emit=plan.emit,
            budget=plan.budget,
            idle=self._check_stopped,
            gate=plan.gate,
            server=plan.server,
            name=plan.service.name,
        )
        super().__init__(loop, listeners, plan)
        handler = self._handler
        self._native.keeper = self._orphans
        self._native.secure = self._context.secure
        self._native.cancels_on_close = handler.cancel_on_close
        self._native.hands_over = handler.handover
        self._native.closes_at_eof = handler.converses and handler.cancel_on_close
        self._native.threaded = handler.is_threaded
        self._native.tally = plan.tally
        self._native.handle_with(handler)
        self._native.survive_bad_messages(handler.on_bad_message)
        self._native.join()

    def _poller_of(self, loop: asyncio.AbstractEventLoop) -> Poller:
        selector = getattr(loop, "_selector", None)
        if isinstance(selector, NativeSelector):
            selector.bind(loop)
            return selector
        self._attached_poller = AttachedPoller(loop)
        return self._attached_poller

    def _backlog(self, listener: Listener) -> Backlog:
        if listener.kind is Kind.SEQPACKET:
            return super()._backlog(listener)
        return NativeBacklog(self._acceptor, listener, self._native, self._handler, self._plan.driver)

    def _endpoint(self, listener: Listener, make: Callable[..., LoopEndpoint] | None = None) -> LoopEndpoint:
        return super()._endpoint(listener, make or partial(NativeEndpoint, self._native))

    def _live(self) -> list[StreamConnection[Any]]:
        return [*self._native.connections, *super()._live()]

    @property
    def connections(self) -> Collection[ConnectionBase[Any]]:
        """The connections that have not ended."""
        return self._live() if self._connections else self._native.connections

    @property
    def messages(self) -> tuple[int, int]:
        """Messages in and out, answers to datagrams included."""
        messages_in, messages_out = super().messages
        return messages_in + self._native.messages_in, messages_out + self._native.messages_out

    def _adopted(self, sock: socket.socket, arrival: Arrival) -> Adoption:
        return NativeAdoption(adopted(self._native, self._handler, arrival.local, sock, arrival), arrival)

    def drain(self, timeout_s: float | None, spread_s: float = 0.0) -> None:
        """Stop accepting, let what was received be answered, cut what is left after ``timeout_s``."""
        self._native.ending = True
        super().drain(timeout_s, spread_s)

    def stop(self) -> None:
        """Stop accepting and abort every connection."""
        self._native.ending = True
        super().stop()

    def _check_stopped(self) -> None:
        super()._check_stopped()
        if self._stopped:
            self._native.part()
        if self._stopped and self._attached_poller is not None:
            # Not at once: the poller may be serving this very moment.
            self._loop.call_soon(self._attached_poller.detach)
            self._attached_poller = None
