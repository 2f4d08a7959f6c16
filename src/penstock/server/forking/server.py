"""The server whose connections have processes: it accepts, counts, and tells of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ...address import Address, Peer
from ...codecs.base import Codec
from ...config import Action, TlsConfig
from ...core.contract import Clock, ConnectionBase, TimerHandle
from ...core.events import Accepted, Closed, HandshakeFailed
from ...engines.accept import Acceptor, turn_away
from ...engines.base import EngineServer
from ...engines.listener import Listener
from ...engines.loop.backlog import LoopBacklog
from ...engines.loop.timers import Timers
from ...engines.plan import Plan
from ...engines.spread import Spread
from ...engines.wire import next_connection_id
from ...errors import LocalProtocolError, TlsError, TlsMaterialError
from ...reasons import CloseReason
from .messages import (
    Began,
    End,
    Ended,
    NotBegun,
    Secure,
    Secured,
    Serve,
    Shakes,
    Told,
    WantsEnd,
    received_by_server,
    send,
)
from .nursery import DRAIN, STOP

if TYPE_CHECKING:
    from ...core.gate import Handshake
    from ...core.handlers import Handler
    from .nursery import Nursery

_logger: Final = logging.getLogger("penstock")

# A process that was told to end at once and has not by then is killed: its handler does not return.
PATIENCE_S: Final = 2.0


class ForkedConnection(ConnectionBase[Any]):
    """A connection that a process has, as the server knows it. What it counts is known at its end.

    Args:
        server: Whose.
        peer: Who is at the other end.
        listener: Where it was accepted.
        codec: What its process speaks.
    """

    def __init__(self, server: ForkingServer, peer: Peer, listener: Listener, codec: Codec[Any]) -> None:
        self.id = next_connection_id()
        self.codec = codec
        self.state = None
        self.opened_at = server.now
        self.bytes_in = self.bytes_out = self.messages_in = self.messages_out = 0
        self.close_reason: CloseReason | None = None
        self.pid: int | None = None
        self.cut_as: CloseReason | None = None
        self.detail = ""
        self._server = server
        self._peer = peer
        self._listener = listener
        self._killer: TimerHandle | None = None
        self._handshake: Handshake | None = None

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    @property
    def local(self) -> Address:
        """The address at this end."""
        return self._listener.address

    @property
    def queued_bytes(self) -> int:
        """0: its process has them."""
        return 0

    @property
    def server(self) -> Any:
        """The `Server`."""
        return self._server.plan.server

    def close(self, *, detail: str = "") -> None:
        """Have its process close it; what is queued is sent first."""
        self.detail = self.detail or detail
        self._server.signal(self, DRAIN)

    def abort(self) -> None:
        """Have its process abort it."""
        self.cut(CloseReason.ABORTED)

    def drain(self) -> None:
        """Have its process end in order."""
        self._server.signal(self, DRAIN)

    def cut(self, reason: CloseReason) -> None:
        """Have its process end at once; it is killed if it does not."""
        self.cut_as = self.cut_as or reason
        self._server.signal(self, STOP)
        if self._killer is None:
            clock = self._server.clock
            self._killer = clock.call_at(clock.time() + PATIENCE_S, self._kill)

    def _kill(self) -> None:
        self._server.signal(self, signal.SIGKILL)

    def shakes(self, *, over: bool) -> None:
        """Its process begins a handshake, or has ended it: it has one place at the gate meanwhile."""
        if over:
            handshake, self._handshake = self._handshake, None
            if handshake is not None:
                handshake.end()
        elif self._handshake is None:
            self._handshake = self._server.plan.gate.begin_handshake(self._server.now)

    def over(self) -> None:
        """Its process has ended."""
        self.shakes(over=True)
        if self._killer is not None:
            self._killer.cancel()

    def _refuse(self) -> NoReturn:
        raise LocalProtocolError(f"the process {self.pid} has this connection: only its own handler may do that")

    def post(self, message: Any, **_how: Any) -> None:
        """Refuse."""
        self._refuse()

    def post_frame(self, frame: bytes, **_how: Any) -> None:
        """Refuse."""
        self._refuse()

    def try_send(self, message: Any) -> bool:
        """Refuse."""
        self._refuse()

    def send_eof(self) -> None:
        """Refuse."""
        self._refuse()

    def set_codec(self, codec: Codec[Any]) -> None:
        """Refuse."""
        self._refuse()

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse."""
        self._refuse()

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Refuse."""
        self._refuse()

    def set_limits(self, **limits: int | str) -> None:
        """Refuse."""
        self._refuse()


class ForkingServer(EngineServer):
    """Everything that serves one plan with a process for each connection.

    Args:
        loop: The running loop.
        listeners: Open.
        plan: As of every engine.
        nursery: Forks.

    Attributes:
        plan: The same.
        clock: Where time comes from.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listeners: Sequence[Listener], plan: Plan, nursery: Nursery
    ) -> None:
        self._loop = loop
        self.plan = plan
        self._nursery = nursery
        self._sock, self._reports = nursery.sock, nursery.reports
        self._sock.setblocking(False)
        self._reports.setblocking(False)
        self._timers = Timers(loop)
        self.clock: Clock = plan.clock or self._timers
        self._connections: dict[int, ForkedConnection] = {}
        self._messages_in = self._messages_out = 0
        self._acceptor = Acceptor(plan.gate, self.clock, plan.emit)
        plan.gate.watch(self._acceptor.wake)
        for listener in listeners:
            LoopBacklog(self._acceptor, listener, loop, self._accepted)
        self._output: deque[End | Secure] = deque()
        self._exchanges: deque[asyncio.Future[str]] = deque()  # those that the nursery has not answered, in their order
        self._ending = self._stopped = False
        self._deadline: TimerHandle | None = None
        self._spread: Spread[ForkedConnection] | None = None
        loop.add_reader(self._sock, self._readable)
        loop.add_reader(self._reports, self._reported)

    @property
    def now(self) -> float:
        """The instant."""
        return self.clock.time()

    # -- EngineServer --------------------------------------------------------------------------------------------------

    @property
    def connections(self) -> Collection[ConnectionBase[Any]]:
        """Those whose processes have not ended."""
        return self._connections.values()

    @property
    def messages(self) -> tuple[int, int]:
        """Of connections that have ended."""
        return self._messages_in, self._messages_out

    def start(self) -> None:
        """Begin to accept."""
        self.resume()

    def suspend(self) -> None:
        """Leave new connections in the backlog."""
        self._acceptor.stop()

    def resume(self) -> None:
        """Accept again."""
        if not self._ending:
            self._acceptor.start()

    def drain(self, timeout_s: float | None, spread_s: float = 0.0) -> None:
        """Stop accepting and have every process end in order; end those at once that have not after ``timeout_s``."""
        self.suspend()
        self._ending = True
        if timeout_s is not None and self._deadline is None:
            self._deadline = self.clock.call_at(self.now + timeout_s, self._cut_drain)
        connections = list(self._connections.values())
        if spread_s and self._spread is None:
            self._spread = Spread(self.clock, connections, spread_s)
        elif not spread_s:
            for connection in connections:
                connection.drain()
        self._check_stopped()

    def stop(self) -> None:
        """Stop accepting and abort every connection."""
        self.suspend()
        self._ending = True
        self._cut(CloseReason.STOPPED)
        self._check_stopped()

    def _cut_drain(self) -> None:
        self._cut(CloseReason.DRAIN_TIMEOUT)

    def _cut(self, reason: CloseReason) -> None:
        for connection in list(self._connections.values()):
            connection.cut(reason)

    # -- connections ---------------------------------------------------------------------------------------------------

    def _accepted(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        connection = ForkedConnection(self, peer, listener, self.plan.service.codec)
        name = list(peer.sockname) if isinstance(peer.sockname, tuple) else None
        asked = Serve(id=connection.id, address=str(listener.address), peer=name, requested=str(listener.requested))
        try:
            send(self._sock, asked, [sock.fileno()])
        except OSError as error:  # the nursery has not caught up, or is gone
            self._not_begun(sock, peer, listener, error)
            return
        sock.close()
        self._connections[connection.id] = connection
        if listener.layer is not None:  # or who come all at once would be let in before their processes begin
            connection.shakes(over=False)
        self.plan.emit(Accepted(connection, listener))

    def _not_begun(self, sock: socket.socket, peer: Peer, listener: Listener, error: OSError) -> None:
        self._acceptor.leave(peer)
        turn_away(sock, Action.CLOSE)
        backlog = next(each for each in self._acceptor.backlogs if each.listener is listener)
        backlog.failed(OSError(errno.EAGAIN, error.strerror or "no further process"))

    def signal(self, connection: ForkedConnection, number: int) -> None:
        """Send a connection's process a signal, through the nursery: that knows whether it is there still."""
        if self._nursery.is_lost:
            self._signal_orphan(connection, number)
            return
        self._tell(End(id=connection.id, signal=number))

    async def exchange(self, tls: TlsConfig) -> None:
        """As `Nursery.exchange`."""
        if self._nursery.is_lost or self._stopped:
            raise TlsMaterialError("no process for connections is forked any more")
        answer: asyncio.Future[str] = self._loop.create_future()
        self._exchanges.append(answer)
        self._tell(Secure(tls))
        if problem := await answer:
            raise TlsMaterialError(problem)

    def _answered(self, problem: str) -> None:
        """Say what became of the oldest exchange; of one that is waited for no more, nothing."""
        answer = self._exchanges.popleft()
        if not answer.done():
            answer.set_result(problem)

    def _give_up_exchanges(self) -> None:
        while self._exchanges:
            self._answered("the process that forks those of connections has ended")

    def _tell(self, message: End | Secure) -> None:
        """Tell the nursery something, once it hears."""
        self._output.append(message)
        self._write()

    def _signal_orphan(self, connection: ForkedConnection, number: int) -> None:
        if connection.pid is not None:
            with contextlib.suppress(OSError):  # it has ended
                os.kill(connection.pid, number)
        if number == signal.SIGKILL:  # nobody tells its end
            self._has_ended(connection.id, None)

    def _write(self) -> None:
        while self._output:
            try:
                send(self._sock, self._output[0])
            except BlockingIOError:
                self._loop.add_writer(self._sock, self._write)
                return
            except OSError:  # it is gone, and its processes end
                self._output.clear()
                return
            self._output.popleft()
        self._loop.remove_writer(self._sock)

    # -- what the nursery and the processes say ------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._hear_all(self._sock):
            self._lost()

    def _reported(self) -> None:
        """What the processes say. None of them is left at its end, and no nursery."""
        if self._hear_all(self._reports):
            self._loop.remove_reader(self._reports)
            self._lost()
            for number in list(self._connections):
                self._has_ended(number, None)

    def _hear_all(self, sock: socket.socket) -> bool:
        """Do what has been said; say whether this is the end."""
        while not self._stopped:
            try:
                message = received_by_server(sock)
            except BlockingIOError:
                return False
            except OSError:
                message = None
            if message is None:
                return True
            self._heard(message)
        return False

    def _heard(self, message: Began | NotBegun | Secured | Told | Shakes | WantsEnd | Ended) -> None:
        match message:
            case Began():
                if (connection := self._connections.get(message.id)) is not None:
                    connection.pid = message.pid
            case Told():
                self._told(message)
                if self._nursery.is_lost:
                    self._has_ended(message.id, None)
            case Shakes():
                if (connection := self._connections.get(message.id)) is not None:
                    connection.shakes(over=message.over)
            case WantsEnd():
                server = self.plan.server
                server.begin_stop() if message.at_once else server.begin_drain()
            case Secured():
                self._answered(message.problem)
            case NotBegun():
                _logger.error("no process for connection %d: %s", message.id, message.problem)
                self._has_ended(message.id, None)
            case Ended():
                self._reported()  # what the process has said itself comes first
                self._has_ended(message.id, message.status)

    def _told(self, told: Told) -> None:
        connection = self._connections.get(told.id)
        if connection is None:
            return
        connection.close_reason = CloseReason(told.reason)
        connection.detail = connection.detail or told.detail
        connection.bytes_in, connection.bytes_out = told.bytes_in, told.bytes_out
        connection.messages_in, connection.messages_out = told.messages_in, told.messages_out
        self.plan.server.stats.handler_errors += told.handler_errors
        if told.problem:
            self.plan.emit(HandshakeFailed(connection, TlsError(connection.close_reason, told.problem)))

    def _has_ended(self, number: int, status: int | None) -> None:
        connection = self._connections.pop(number, None)
        if connection is None:
            return
        connection.over()
        if connection.close_reason is None and connection.cut_as is None and status is not None:
            words = f"status {status}" if status >= 0 else _signal_name(-status)
            _logger.error("the process of connection %d ended by itself: process %s, %s", number, connection.pid, words)
        if connection.cut_as is not None and connection.close_reason in (None, CloseReason.STOPPED):
            connection.close_reason = connection.cut_as
        connection.close_reason = connection.close_reason or CloseReason.HANDLER_ERROR
        self._messages_in += connection.messages_in
        self._messages_out += connection.messages_out
        self._acceptor.leave(connection.peer)
        self.plan.emit(
            Closed(
                connection,
                connection.close_reason,
                connection.bytes_in,
                connection.bytes_out,
                self.now - connection.opened_at,
                connection.detail,
            )
        )
        self._check_stopped()

    def _lost(self) -> None:
        """The nursery is gone: nobody serves a further connection, and the processes that there are drain."""
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        if self._nursery.is_lost:
            return
        self._nursery.is_lost = True
        self._output.clear()
        self._give_up_exchanges()
        self.suspend()
        for connection in list(self._connections.values()):
            if connection.pid is None or connection.close_reason is not None:  # no process yet, or none any more
                self._has_ended(connection.id, None)
        if not self._ending:
            _logger.critical("the process that forks those of connections is gone: the server ends")
            self.plan.server.begin_drain()

    def _check_stopped(self) -> None:
        if not self._ending or self._stopped or self._connections:
            return
        self._stopped = True
        self._give_up_exchanges()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._loop.remove_reader(self._reports)
        for timer in (self._deadline, self._spread):
            if timer is not None:
                timer.cancel()
        self.plan.gate.unwatch(self._acceptor.wake)
        self._acceptor.close()
        self._timers.close()
        self.plan.on_stopped()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
