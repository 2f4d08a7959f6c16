"""The blocking engine's server: a thread for each connection, one for each datagram listener, one that accepts."""

from __future__ import annotations

import contextvars
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, Final

from ...address import Kind, Peer
from ...config import Action
from ...core.contract import Clock, ConnectionBase, TimerHandle
from ...core.events import Accepted, Event, HandlerFailed
from ...core.handlers import Driver, for_sessions
from ...core.memory import Pressure, shed_load
from ...core.sessions import Sessions
from ...errors import LimitError
from ...reasons import CloseReason, Refusal
from ..accept import Acceptor, Taken, turn_away
from ..alarms import ClockAlarms
from ..aside import start_thread
from ..base import EngineServer
from ..listener import Listener
from ..orphans import OrphanKeeper
from ..own import OwnAddresses
from ..plan import Plan
from ..spread import Spread
from ..threads import ThreadPool
from .backlog import ThreadBacklog
from .datagrams import DatagramThread
from .departures import Departures
from .guarding import ThreadContext
from .poller import READ, Poller
from .serving import ServedConnection
from .sessions import SessionConnection, SessionThread, SharedSocket
from .timers import Timers

# A thread in a handler that does not return cannot be ended from outside. Its connection has been cut; after so long it
# is given up, so that the server can stop. Real seconds: no clock that is told the time moves a thread.
GIVE_UP_S: Final = 2.0

# A handler that is at work so long after its connection is one that outlives it.
JOIN_AFTER_S: Final = 0.05


class BlockingServer(EngineServer):
    """Everything that serves one plan.

    The keeper is the server's own thread: it accepts, runs the timers of all connections, and ends the server when the
    last connection has ended. Events are told under one lock, so that observers need none.
    """

    def __init__(self, listeners: Sequence[Listener], plan: Plan) -> None:
        self._plan = plan
        self._poller = Poller()
        own_timers = Timers(self._poller.wake)
        self._timers = own_timers if plan.clock is None else None  # those that the keeper has to run
        self._clock: Clock = plan.clock or own_timers
        self._emit_lock = threading.RLock()  # an observer may do what causes the next event
        self.gate_lock = threading.RLock()  # for the gate tells those who watch it
        self._context = ThreadContext(
            clock=self._clock,
            alarms=ClockAlarms(self._clock),
            report=self._report,
            gate_lock=self.gate_lock,
            orphaned=self._orphaned,
            **plan.for_connections(),
        )
        # Of what follows, and of accept(2). A signal handler may stop the server in the middle of a call.
        self._lock = threading.RLock()
        self._connections: dict[int, ServedConnection[Any]] = {}
        self._messages_in = self._messages_out = 0  # of connections that have ended
        self._endpoints_left = 0
        name = f"penstock-{plan.service.name}"
        self._pool = ThreadPool(plan.threads, name, self._poller.wake)
        self._variables = contextvars.copy_context()  # what each connection begins with, in a copy of its own
        self._keeper = threading.Thread(target=self._keep, name=f"{name}-keeper", daemon=True)
        self._gate_events: deque[Event] = deque()  # told once the gate's lock is free
        self._acceptor = Acceptor(plan.gate, self._clock, self._gate_events.append)
        for listener in listeners:
            if listener.kind is not Kind.DATAGRAM:
                ThreadBacklog(self._acceptor, listener, self, self._poller)
        self._orphans = OrphanKeeper(
            plan.gate,
            self._clock,
            self._emit,
            cancels=plan.cancels_orphans,
            lock=_Both(self._emit_lock, self.gate_lock),
        )
        self._joining: dict[int, TimerHandle] = {}  # of connections that may become orphans
        self._departures = Departures()
        self._spare: Poller | None = None  # for the next connection, made before it is accepted
        self._own = OwnAddresses(listeners)
        self._sessions: Sessions[SharedSocket] = Sessions()
        self._sessions_lock = threading.RLock()  # a signal handler may stop the server in the middle of any call
        self._session_context = replace(self._context, only_received_counts=True)
        self._endpoints = [self._endpoint(each, name) for each in listeners if each.kind is Kind.DATAGRAM]
        self._accepting = False
        self._ending = False
        self._deadline: TimerHandle | None = None
        self._spread: Spread[ServedConnection[Any]] | None = None
        self._give_up_at = inf
        self._over = False

    def _endpoint(self, listener: Listener, name: str) -> DatagramThread:
        service = self._plan.service
        common: dict[str, Any] = {
            "gate": self._plan.gate,
            "gate_lock": self.gate_lock,
            "clock": self._clock,
            "emit": self._emit,
            "own": self._own,
            "ended": self._endpoint_ended,
            "name": f"{name}-{listener.address}",
        }
        if service.sessions:
            endpoint: DatagramThread = SessionThread(
                listener,
                service.codec,
                sessions=self._sessions,
                sessions_lock=self._sessions_lock,
                begin=self._begin_session,
                **common,
            )
        else:
            handler = service.datagram
            assert handler is not None, "the server refuses datagram addresses for a service without connections"
            endpoint = DatagramThread(listener, handler, service.codec, **common)
        endpoint.server = self._plan.server
        return endpoint

    # -- EngineServer --------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> Collection[ConnectionBase[Any]]:
        """The connections that have not ended, as of now."""
        with self._lock:
            return tuple(self._connections.values())

    @property
    def messages(self) -> tuple[int, int]:
        """Messages in and out, answers to datagrams included."""
        with self._lock:
            live = list(self._connections.values())
            answers = sum(endpoint.answers for endpoint in self._endpoints)
            return (
                self._messages_in + sum(connection.messages_in for connection in live),
                self._messages_out + sum(connection.messages_out for connection in live) + answers,
            )

    def _count(self, connection: ServedConnection[Any]) -> None:
        """Keep what a connection has counted that has ended. The lock is held."""
        self._messages_in += connection.messages_in
        self._messages_out += connection.messages_out

    def start(self) -> None:
        """Begin to accept and to read datagrams."""
        self._plan.gate.watch(self._poller.wake)
        self._endpoints_left = len(self._endpoints)
        try:
            for endpoint in self._endpoints:
                start_thread(endpoint.thread)
            start_thread(self._keeper)
        except LimitError:
            self._plan.gate.unwatch(self._poller.wake)
            for endpoint in self._endpoints:
                endpoint.give_up()
            self._orphans.close()
            self._departures.close()
            self._poller.close()
            self._acceptor.close()
            raise
        self.resume()

    def suspend(self) -> None:
        """Leave new connections in the backlog and datagrams with the kernel."""
        with self._lock:  # an accept under way comes before
            self._accepting = False
        for endpoint in self._endpoints:
            endpoint.set_running(False)
        self._poller.wake()

    def resume(self) -> None:
        """Accept again."""
        if not self._ending:
            self._accepting = True
            for endpoint in self._endpoints:
                endpoint.set_running(True)
            self._poller.wake()

    def drain(self, timeout_s: float | None, spread_s: float = 0.0) -> None:
        """Stop accepting, let what was received be answered, cut what is left after ``timeout_s``."""
        if self._over:
            return
        self.suspend()
        self._ending = True
        if timeout_s is not None and self._deadline is None:
            self._deadline = self._clock.call_at(
                self._clock.time() + timeout_s, partial(self._cut, CloseReason.DRAIN_TIMEOUT)
            )
        for endpoint in self._endpoints:
            endpoint.end()
        with self._lock:
            connections = list(self._connections.values())
        if spread_s and self._spread is None:
            # Not of sessions: their peers share one socket, whose next reader takes what they send.
            waiting = [connection for connection in connections if not isinstance(connection, SessionConnection)]
            self._spread = Spread(self._clock, waiting, spread_s)
        for connection in connections:
            if not spread_s or isinstance(connection, SessionConnection):
                connection.drain()
        self._poller.wake()

    def stop(self) -> None:
        """Stop accepting and abort every connection."""
        if self._over:
            return
        self.suspend()
        self._ending = True
        self._cut(CloseReason.STOPPED)

    def shed_load(self, pressure: Pressure, excess_bytes: int) -> None:
        """Read no further what holds bytes already, let the idle go, end the most expensive."""
        shed_load(list(self.connections), self._plan.gate, pressure, excess_bytes)

    def _cut(self, reason: CloseReason) -> None:
        self._give_up_at = min(self._give_up_at, time.monotonic() + GIVE_UP_S)  # first: see `_accepted`
        with self._lock:
            connections = list(self._connections.values())
        for connection in connections:
            connection.cut(reason)
        for endpoint in self._endpoints:
            endpoint.cut()
        self._poller.wake()

    # -- events --------------------------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        with self._emit_lock:
            if not self._over:  # a handler that was given up has nothing more to tell
                self._plan.emit(event)

    def _report(self, events: deque[Event]) -> None:
        """Tell what is in a connection's queue. Two threads may come with the same one: it is emptied in its order."""
        with self._emit_lock:
            while events:
                self._emit(events.popleft())

    def report_refusals(self) -> None:
        """Tell what was noted while the gate's lock was held."""
        self._report(self._gate_events)

    # -- the keeper ----------------------------------------------------------------------------------------------------

    def _keep(self) -> None:
        if self._departures.fd >= 0:
            self._poller.set(self._departures.fd, READ)
        while not self._ended():
            self._acceptor.wake()
            ready = self._poller.wait(self._patience_s())
            if self._timers is not None:
                self._timers.run_due()
            readable = {fd for fd, _ in ready}
            if self._departures.fd in readable:
                with self._lock:
                    gone = [self._connections.get(number) for number in self._departures.heard()]
                for connection in gone:
                    if connection is not None:
                        connection.peer_gone()
            for backlog in [each for each in self._acceptor.backlogs if each.listener.sock.fileno() in readable]:
                backlog.accept()
        self._end()

    def _patience_s(self) -> float | None:
        """Return how long nothing has to be done if nothing happens; None for ever."""
        timeout_s = None if self._timers is None else self._timers.timeout_s()
        if self._give_up_at < inf:
            left_s = self._give_up_at - time.monotonic()
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        return timeout_s

    def _ended(self) -> bool:
        if not self._ending:
            return False
        with self._lock:
            left = bool(self._connections or self._endpoints_left)
        return not left or time.monotonic() >= self._give_up_at

    def _end(self) -> None:
        """Tell that it is over: of connections whose handler does not return, then of the server."""
        self._acceptor.stop()
        with self._emit_lock:
            with self._lock:
                stuck, self._connections = self._connections, {}
                for connection in stuck.values():
                    self._count(connection)
            for connection in stuck.values():
                self._tell_closed(connection)
            self._over = True
        for timer in (self._deadline, self._spread):
            if timer is not None:
                timer.cancel()
        if not stuck and not self._endpoints_left:
            self._pool.end(GIVE_UP_S)
            for endpoint in self._endpoints:
                endpoint.thread.join(GIVE_UP_S)
        else:
            self._pool.end()
        if self._spare is not None:
            self._spare.close()
        self._plan.gate.unwatch(self._poller.wake)
        self._orphans.close()
        self._departures.close()
        self._poller.close()
        self._acceptor.close()
        self._plan.on_stopped()

    # -- accepting, on the keeper --------------------------------------------------------------------------------------

    def has_room(self) -> bool:
        """Say whether one more connection may be served, if the gate says so too."""
        return self._accepting and self._pool.has_room

    def take(self, take: Callable[[], Taken | None]) -> Taken | None:
        """Call ``take``, which accepts one connection and asks the gate, unless it is too late for that.

        Raises:
            OSError: There is no descriptor, or what accept(2) says.
            LimitError: The system gives no further thread.
        """
        # What a connection needs is there before it is accepted: who cannot be served stays in the backlog.
        self._pool.reserve()
        if self._spare is None:
            self._spare = Poller()
        with self.gate_lock:  # the gate's answer holds until the newcomer is counted
            if self._acceptor.opens_at() > self._clock.time():
                return None
            with self._lock:
                return take() if self._accepting else None

    def serve_accepted(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        """Serve a connection that was accepted elsewhere."""
        listener.refuse_clear()
        self.take(lambda: None)  # what a connection needs
        self.begin(sock, peer, listener)

    def begin(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        """Serve a connection that was let in."""
        service = self._plan.service
        handler = service.handler
        assert self._spare is not None
        poller, self._spare = self._spare, None
        try:
            connection: ServedConnection[Any] = ServedConnection(
                self._context,
                sock,
                poller,
                handler,
                codec=service.codec,
                peer=peer,
                local=listener.address,
                records=listener.kind is Kind.SEQPACKET,
                layer=listener.layer,
                at_once=self._plan.driver is Driver.THREAD,
            )
            connection.begin()
            event = Accepted(connection, listener)
            with self._lock:
                self._connections[connection.id] = connection
        except BaseException as error:  # its peer must not keep a place
            with self.gate_lock:
                self._acceptor.leave(peer)
            poller.close()
            turn_away(sock, Action.CLOSE)
            self._emit(HandlerFailed(None, error))
            return
        self._departures.watch(connection.fileno(), connection.id)
        self._begun(connection, event, self._variables.copy())

    def _begin_session(
        self, shared: SharedSocket, peer: Peer, listener: Listener, displaced: SharedSocket | None
    ) -> SessionConnection[Any] | None:
        """Serve a sender of datagrams that was let in, on its endpoint's thread; None where that cannot be done."""
        service, poller = self._plan.service, None
        try:
            if displaced is not None and displaced.conn is not None:
                displaced.conn.cut(CloseReason.OVERLOAD)
            if not self._pool.has_room:
                raise LimitError("no thread is free for one more session")
            self._pool.reserve()
            poller = Poller()
            connection: SessionConnection[Any] = SessionConnection(
                self._session_context,
                shared,
                poller,
                for_sessions(service.handler),
                codec=service.codec,
                peer=peer,
                local=listener.address,
                at_once=self._plan.driver is Driver.THREAD,
            )
            connection.begin()
            event, variables = Accepted(connection, listener), self._variables.copy()
            with self._lock:
                self._connections[connection.id] = connection
        except BaseException as error:
            if poller is not None:
                poller.close()
            with self.gate_lock:
                self._acceptor.leave(peer)
                if isinstance(error, (OSError, LimitError)):
                    self._plan.gate.refuse(Refusal.LIMIT)
            if isinstance(error, (OSError, LimitError)):
                shared.endpoint.drop(Refusal.LIMIT)
            else:
                shared.endpoint.lost(error)
            return None
        self._begun(connection, event, variables)
        return connection

    def _begun(self, connection: ServedConnection[Any], event: Accepted, variables: contextvars.Context) -> None:
        """Tell of a connection, and have a thread serve it."""
        self._emit(event)
        if self._ending:  # while it was being accepted: `drain` or `stop` may have missed it
            connection.drain() if self._give_up_at == inf else connection.cut(CloseReason.STOPPED)
        self._pool.do(variables.run, self._serve, connection)

    # -- the threads ---------------------------------------------------------------------------------------------------

    def _serve(self, connection: ServedConnection[Any]) -> None:
        """Serve one connection: the whole job of one thread."""
        try:
            connection.run()
        finally:
            with self._emit_lock:
                with self._lock:
                    told = self._connections.pop(connection.id, None) is None
                    if not told:
                        self._count(connection)
                if not told:
                    self._tell_closed(connection)
            if self._ending:
                self._poller.wake()

    def _tell_closed(self, connection: ServedConnection[Any]) -> None:
        with self.gate_lock:
            self._acceptor.leave(connection.peer, orphan=connection.is_orphan)
        joining = self._joining.pop(connection.id, None)
        if joining is not None:
            joining.cancel()
        if connection.is_orphan:
            self._orphans.leave(connection.id)
        self._emit(connection.closed_event())

    def _orphaned(self, connection: ServedConnection[Any]) -> None:
        # Most handlers wait for their peer, and have been woken: they end soon.
        join = partial(self._orphans.join, connection)
        with self.gate_lock:  # who finds the place free finds the time set; and who joins has left it
            self._joining[connection.id] = self._clock.call_at(self._clock.time() + JOIN_AFTER_S, join)
            self._acceptor.part(connection.peer)

    def _endpoint_ended(self) -> None:
        with self._lock:
            self._endpoints_left -= 1
        self._poller.wake()


class _Both:
    """Two locks, always taken in this order."""

    def __init__(self, first: threading.RLock, second: threading.RLock) -> None:
        self._first = first
        self._second = second

    def __enter__(self) -> None:
        self._first.acquire()
        self._second.acquire()

    def __exit__(self, *_: object) -> None:
        self._second.release()
        self._first.release()
