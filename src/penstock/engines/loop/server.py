"""A server on one asyncio loop: listeners in, connections and datagrams handled. How bytes are moved is an engine's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...address import Kind, Peer
from ...config import Action
from ...core.contract import Clock, ConnectionBase, TimerHandle
from ...core.events import Accepted, HandlerFailed, TakenOver
from ...core.handlers import AnyHandler, CallbackHandler, Driver, MessageHandler, driver_of, for_sessions
from ...core.handover import CannotMoveError
from ...core.interrupts import is_interrupt
from ...core.memory import Pressure, shed_load
from ...core.sessions import Sessions
from ...reasons import CloseReason
from ..accept import Acceptor, Backlog, turn_away
from ..base import Adoption, EngineServer
from ..link import LinkUser, over
from ..listener import Listener
from ..luggage import Arrival
from ..orphans import OrphanKeeper
from ..own import OwnAddresses
from ..plan import Plan
from ..spread import Spread
from ..threads import ThreadPool
from .backlog import LoopBacklog
from .context import LoopContext, alarms_of
from .datagrams import LoopEndpoint
from .moving import MovingConnection
from .push import PushConnection
from .records import RecordLink
from .sessions import SessionEndpoint, SessionLink
from .stream import StreamConnection
from .surely import Surely
from .tasks import TaskConnection
from .threaded import in_threads
from .timers import Timers

if TYPE_CHECKING:
    from ..handover import Mover

# How long a coroutine that was cut has until it is cancelled once more: it may have been in the middle of its clean-up,
# or wait for a thread to call on_close in, while handlers that are stuck hold them all.
CUT_AGAIN_S = 1.0

# Looked up once: on Python 3.11 a member of an enum costs a tenth of a microsecond each time it is named.
_SEQPACKET = Kind.SEQPACKET


class LoopServer(EngineServer):
    """Everything that serves one plan on one loop, but for the transports of streams: an engine brings those."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan) -> None:
        self._loop = loop
        self._plan = plan
        self._timers = Timers(loop)
        self._clock: Clock = plan.clock or self._timers
        self._connections: dict[int, StreamConnection[Any]] = {}
        self._pool: ThreadPool | None = None
        self._context = LoopContext(
            loop=loop,
            clock=self._clock,
            alarms=alarms_of(self._clock),
            emit=plan.emit,
            released=self._released,
            orphaned=self._orphaned,
            **plan.for_connections(),
        )
        self._handler: AnyHandler = self._placed(plan.service.handler)
        self._make = self._maker(self._handler, self._context)
        self._messages_in = self._messages_out = 0  # of connections that have ended
        self._ending = False
        self._stopped = False
        self._deadline: TimerHandle | None = None
        self._spread: Spread[StreamConnection[Any]] | None = None
        self._again: TimerHandle | None = None
        self._mover: Mover | None = None
        self._adoptions: set[Adoption] = set()  # not begun
        self._acceptor = Acceptor(plan.gate, self._clock, plan.emit)
        self._orphans = OrphanKeeper(plan.gate, self._clock, plan.emit, cancels=plan.cancels_orphans)
        plan.gate.watch(self._acceptor.wake)
        for listener in listeners:
            if listener.kind is not Kind.DATAGRAM:
                self._backlog(listener)
        self._own = OwnAddresses(listeners)
        make = self._session_endpoint if plan.service.sessions else self._endpoint
        self._sessions: Sessions[SessionLink] = Sessions()
        self._endpoints = [make(listener) for listener in listeners if listener.kind is Kind.DATAGRAM]

    def _backlog(self, listener: Listener) -> Backlog:
        return LoopBacklog(self._acceptor, listener, self._loop, self._accepted)

    def _endpoint(self, listener: Listener, make: Callable[..., LoopEndpoint] = LoopEndpoint) -> LoopEndpoint:
        endpoint = make(
            self._loop,
            listener,
            self._datagram_handler(),
            self._plan.service.codec,
            gate=self._plan.gate,
            clock=self._clock,
            emit=self._plan.emit,
            own=self._own,
            idle=self._check_stopped,
        )
        endpoint.server = self._plan.server
        return endpoint

    def _session_endpoint(self, listener: Listener) -> SessionEndpoint:
        context = replace(self._context, only_received_counts=True)
        make = self._maker(for_sessions(self._handler), context)
        endpoint = SessionEndpoint(
            self._loop,
            listener,
            self._plan.service.codec,
            sessions=self._sessions,
            begin=partial(self._begin_session, make),
            gate=self._plan.gate,
            clock=self._clock,
            emit=self._plan.emit,
            own=self._own,
            idle=self._check_stopped,
        )
        endpoint.server = self._plan.server
        return endpoint

    def _datagram_handler(self) -> MessageHandler | CallbackHandler:
        handler = self._plan.service.datagram
        assert handler is not None, "the server refuses datagram addresses for a service without connections"
        placed = self._placed(handler)
        assert not placed.converses
        return placed

    def _placed(self, handler: AnyHandler) -> AnyHandler:
        """Put a handler that may block into the pool."""
        if handler.converses or driver_of(handler, blocking=self._plan.blocking) is not Driver.THREAD:
            return handler
        if self._pool is None:
            self._pool = ThreadPool(self._plan.threads, f"penstock-{self._plan.service.name}")
        return in_threads(handler, self._pool)

    def _maker(self, handler: AnyHandler, context: LoopContext) -> Callable[..., StreamConnection[Any]]:
        """Return what makes a connection of a peer and the address it came to."""
        if handler.converses or self._plan.driver is not Driver.PUSH:  # a task waits for threads, too
            return partial(TaskConnection, context, handler, self._plan.service.codec)
        return partial(PushConnection, context, handler, self._plan.service.codec)

    # -- EngineServer --------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> Collection[ConnectionBase[Any]]:
        """The connections that have not ended."""
        return self._connections.values()

    @property
    def messages(self) -> tuple[int, int]:
        """Messages in and out, answers to datagrams included."""
        live = self._live()
        answers = sum(endpoint.answers for endpoint in self._endpoints)
        return (
            self._messages_in + sum(connection.messages_in for connection in live),
            self._messages_out + sum(connection.messages_out for connection in live) + answers,
        )

    def _live(self) -> list[StreamConnection[Any]]:
        """Return those that have not ended, as of now."""
        return list(self._connections.values())

    def start(self) -> None:
        """Begin to accept and to read datagrams."""
        self.resume()

    def suspend(self) -> None:
        """Leave new connections in the backlog and datagrams with the kernel."""
        self._acceptor.stop()
        for endpoint in self._endpoints:
            endpoint.stop()

    def resume(self) -> None:
        """Accept again."""
        if not self._ending:
            self._acceptor.start()
            for endpoint in self._endpoints:
                endpoint.start()

    def drain(self, timeout_s: float | None, spread_s: float = 0.0) -> None:
        """Stop accepting, let what was received be answered, cut what is left after ``timeout_s``."""
        with Surely(self._loop, self._drain_rest):
            self._ending = True
            if timeout_s is not None and self._deadline is None:
                self._deadline = self._clock.call_at(self._clock.time() + timeout_s, self._cut_drain)
            if not spread_s:
                self._drain_rest()
                return
            self.suspend()
            self._drain_endpoints()
            if self._spread is None:
                waiting = [connection for connection in self._live() if not connection.draining]
                self._spread = Spread(self._clock, waiting, spread_s)
            self._check_stopped()

    def _drain_rest(self) -> None:
        if self._spread is not None:
            self._spread.cancel()
        self.suspend()
        self._drain_endpoints()
        for connection in self._live():
            if not connection.draining:
                connection.drain()
        self._check_stopped()

    def _drain_endpoints(self) -> None:
        """End sessions at once: their peers share one socket, whose next reader takes what they send."""
        for endpoint in self._endpoints:
            endpoint.drain()

    def _cut_drain(self) -> None:
        self._cut(CloseReason.DRAIN_TIMEOUT)

    def shed_load(self, pressure: Pressure, excess_bytes: int) -> None:
        """Read no further what holds bytes already, let the idle go, end the most expensive."""
        shed_load(self._live(), self._plan.gate, pressure, excess_bytes)

    def stop(self) -> None:
        """Stop accepting and abort every connection."""
        with Surely(self._loop, self._stop):
            self._ending = True
            self._stop()

    def _stop(self) -> None:
        self.suspend()
        self._cut(CloseReason.STOPPED)
        self._check_stopped()

    def _cut(self, reason: CloseReason) -> None:
        again = self._clock.call_at(self._clock.time() + CUT_AGAIN_S, partial(self._cut, reason))  # whatever fails here
        before, self._again = self._again, again
        if before is not None:
            before.cancel()
        for adoption in list(self._adoptions):  # another process has them
            adoption.give_up()
        for connection in self._live():
            connection.cut(reason)
        for endpoint in self._endpoints:
            endpoint.cut()

    def _is_idle(self) -> bool:
        return not self.connections and not any(endpoint.busy for endpoint in self._endpoints)

    def _check_stopped(self) -> None:
        if not self._ending or self._stopped or not self._is_idle():
            return
        self._stopped = True
        with contextlib.ExitStack() as steps:  # the last one first, and each of them whatever becomes of the others
            steps.callback(self._plan.on_stopped)
            steps.callback(self._timers.close)
            steps.callback(self._acceptor.close)
            steps.callback(self._orphans.close)
            steps.callback(self._plan.gate.unwatch, self._acceptor.wake)
            for endpoint in self._endpoints:
                steps.callback(endpoint.count_left)
            if self._pool is not None:
                # A handler stuck in a thread cannot be ended from outside; its connection is gone: nobody waits for it.
                steps.callback(self._pool.end)
            for timer in (self._deadline, self._again, self._spread):
                if timer is not None:
                    steps.callback(timer.cancel)

    # -- to another process, and from one ------------------------------------------------------------------------------

    @property
    def mover(self) -> Mover | None:
        """What tells other processes of its connections; None where its handler is none that is called at once."""
        plan = self._plan
        if self._mover is None and plan.service.handler.handover and plan.driver in {Driver.PUSH, Driver.TASK}:
            from ..handover import Mover  # noqa: PLC0415 - few servers hand anything over

            self._mover = Mover(plan.service, plan.timeouts, plan.limits)
        return self._mover

    def adopt(self, sock: socket.socket, arrival: Arrival) -> Adoption:
        """Have a connection of another process."""
        if self._ending:  # who drains here would not be told to
            sock.close()
            raise CannotMoveError("the server is ending")
        try:
            adoption = self._adopted(sock, arrival)
        except BaseException as error:
            sock.close()
            if not is_interrupt(error):
                self._plan.emit(HandlerFailed(None, error))
            raise
        return self._taken_over(adoption, arrival)

    def _adopted(self, sock: socket.socket, arrival: Arrival) -> Adoption:
        from .adoption import LoopAdoption  # noqa: PLC0415 - as above

        connection = self._make(arrival.peer, arrival.local)
        assert isinstance(connection, MovingConnection)
        connection.id = arrival.snapshot.id
        self._plan.gate.take_over(arrival.peer)
        self._connections[connection.id] = connection
        # They are counted in the process that has handled them.
        self._messages_in -= arrival.snapshot.messages_in
        self._messages_out -= arrival.snapshot.messages_out
        return LoopAdoption(connection, sock, arrival, self._go_on)

    def _taken_over(self, adoption: Adoption, arrival: Arrival) -> Adoption:
        """Have the handler of a connection take over."""
        connection = adoption.connection
        try:
            self._plan.emit(TakenOver(connection))
            connection.take_over(arrival)
        except BaseException as error:
            adoption.give_up()
            if not is_interrupt(error):
                self._plan.emit(HandlerFailed(connection, error))
            raise
        adoption.among = self._adoptions
        self._adoptions.add(adoption)
        return adoption

    def _go_on(self, connection: MovingConnection[Any], sock: socket.socket, arrival: Arrival) -> None:
        """Make the link of a connection of another process."""
        raise NotImplementedError

    # -- connections ---------------------------------------------------------------------------------------------------

    def serve_accepted(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        """Serve a connection that was accepted elsewhere."""
        listener.refuse_clear()
        self._accepted(sock, peer, listener)

    def _accepted(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        has_records = listener.kind is _SEQPACKET
        try:
            connection = self._make(peer, listener.address, records=has_records)
            event = Accepted(connection, listener)
            if not self._ending:
                self._connections[connection.id] = connection
        except BaseException as error:
            self._unmade(sock, peer, error)
            return
        if self._ending:  # by code of the user's that ran meanwhile: this one is refused like those in the backlog
            self._unmade(sock, peer, None)
            return
        try:
            self._plan.emit(event)
            if has_records:
                user = over(listener.layer, connection)
                RecordLink(self._loop, sock, user).begin(user.connection_made)
            else:
                self._begin(connection, sock, over(listener.layer, connection))
        except BaseException as error:
            if not connection.is_attached:  # no link will ever tell its end
                sock.close()
                connection.connection_lost(error)
            raise

    def _begin_session(
        self,
        make: Callable[..., StreamConnection[Any]],
        peer: Peer,
        listener: Listener,
        link_to: Callable[[LinkUser], SessionLink],
    ) -> SessionLink:
        """Make the connection of a peer that was let in, and its link. Where that fails, the peer leaves the gate."""
        connection = None
        try:
            connection = make(peer, listener.address, records=True)
            event = Accepted(connection, listener)
            self._connections[connection.id] = connection
            link = link_to(connection)
        except BaseException:
            if connection is not None:
                self._connections.pop(connection.id, None)
            self._acceptor.leave(peer)
            raise
        try:
            self._plan.emit(event)
            link.begin(connection.connection_made)
        except BaseException as error:
            link.abort()
            if not connection.is_attached:  # its link has nobody to tell
                connection.connection_lost(error)
            raise
        return link

    def _begin(self, connection: StreamConnection[Any], sock: socket.socket, user: LinkUser) -> None:
        """Make a stream's link, which tells its user of everything: the connection, or the layer under that."""
        raise NotImplementedError

    def _unmade(self, sock: socket.socket, peer: Peer, error: BaseException | None) -> None:
        """The connection or its handler could not be made: its peer must not keep a place."""
        self._acceptor.leave(peer)
        turn_away(sock, Action.CLOSE)
        if error is None:
            return
        if is_interrupt(error):
            raise error
        self._plan.emit(HandlerFailed(None, error))

    def _orphaned(self, connection: Any) -> None:
        gate = self._plan.gate
        # Most handlers wait for their peer, and have been woken: they end in the loop's next turn. Asked for first:
        # what fails is tried again, and the place is to be counted free once.
        handle = self._loop.call_soon(self._orphans.join, connection)
        try:
            gate.part(connection.peer)
        except BaseException:
            handle.cancel()
            raise
        connection.is_orphan = True
        if gate.waits:
            gate.wake()

    def _released(self, connection: StreamConnection[Any]) -> None:
        # Called again if it fails. The gate is told once, and before the connection is forgotten.
        gate = self._plan.gate
        if connection.id in self._connections:
            gate.leave(connection.peer, orphan=connection.is_orphan)
            del self._connections[connection.id]
            self._messages_in += connection.messages_in
            self._messages_out += connection.messages_out
        if connection.is_orphan:
            self._orphans.leave(connection.id)
        if gate.waits:
            gate.wake()
        self._check_stopped()
