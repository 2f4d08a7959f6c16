"""Sessions on threads: a thread for each sender of datagrams, which are read for all of them by their listener's."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.contract import Clock
from ...core.events import DatagramDropped, Event
from ...core.gate import Gate
from ...core.handlers import AnyHandler
from ...core.law.closing import CLOSED
from ...core.sessions import Credit, Sessions
from ...reasons import CloseReason, Refusal
from ..destination import Sourced
from ..endpoint import READS_PER_TURN
from ..listener import Listener
from ..own import OwnAddresses
from ..session import CREDIT_SPENT, MOST_READS, NOT_READ, SUSPENDED, UNNAMED, key_of
from ..threads import tell_of_failure
from .datagrams import DatagramThread
from .guarding import ThreadContext
from .link import SocketLink
from .poller import READ, Poller
from .serving import ServedConnection

M = TypeVar("M")

# Datagrams of one sender that its thread has not taken yet; more are dropped.
MOST_WAITING: Final = 64


class SharedSocket:
    """As much of a socket as one session needs of its endpoint's: what is sent goes to its peer, what came waits here.

    Args:
        endpoint: Whose socket it is.
        key: By what the peer is known there.
        to: The peer, as endpoints send.
        peer: The peer.
    """

    __slots__ = ("_credit", "_to", "_waiting", "conn", "endpoint", "is_new", "is_struck", "key")

    def __init__(self, endpoint: SessionThread, key: Any, to: Any, peer: Peer) -> None:
        self.endpoint = endpoint
        self._to = to
        self._credit = Credit(trusts=endpoint.gate.is_local(peer))
        self._waiting: deque[bytes] = deque()
        self.key = key
        self.is_new = True  # heard from once
        self.conn: SessionConnection[Any] | None = None  # whose it is; None until that was made
        self.is_struck = False  # no longer in the books: it has ended, or has given way to another one

    def __bool__(self) -> bool:
        """Whether a datagram waits."""
        return bool(self._waiting)

    def put(self, data: bytes) -> bool:
        """Keep a datagram that has come; return False where too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._credit.received(len(data))
        self._waiting.append(data)
        return True

    def take(self) -> bytes:
        """Return the next one. There is one."""
        return self._waiting.popleft()

    def trust(self) -> None:
        """The peer has shown who it is: it may be sent as much as its handler likes."""
        self._credit.trusts = True

    def send(self, data: bytes, _flags: int = 0) -> int:
        """Send one datagram, now or when the kernel takes it; drop it, counted, if it is too much for a stranger."""
        if self._credit.takes(len(data), self.endpoint.gate.rules.datagram_amplification):
            self.endpoint.send(data, self._to)
        else:
            self.endpoint.drop(CREDIT_SPENT)
        return len(data)

    def fileno(self) -> int:
        """Return -1: it has no descriptor of its own."""
        return -1

    def setblocking(self, _flag: bool) -> None:
        """Do nothing: nothing blocks."""

    def setsockopt(self, *_args: object) -> None:
        """Do nothing: the socket is everybody's."""

    def shutdown(self, _how: int) -> None:
        """Do nothing: a datagram has no end."""

    def close(self) -> None:
        """Leave the socket to the others."""
        self.endpoint.forget(self)

    def forget_waiting(self) -> int:
        """Forget what was not taken. Return how many datagrams that was."""
        count = len(self._waiting)
        self._waiting.clear()
        return count


class SharedLink(SocketLink):
    """A link on such a socket, which has room, or drops, and where empty datagrams are sent as any other."""

    __slots__ = ()

    @property
    def socket(self) -> None:  # type: ignore[override]
        """None: it is everybody's."""
        return

    def send(self, data: bytes) -> int:
        """Send one datagram."""
        if not (self._lost or self._closing or self._eof):
            self._sock.send(data)
        return 0

    def trust(self) -> None:
        """The peer has shown who it is."""
        shared: Any = self._sock
        shared.trust()


class SessionConnection(ServedConnection[M]):
    """The connection of one sender."""

    __slots__ = ("_shared",)

    def __init__(
        self,
        context: ThreadContext,
        shared: SharedSocket,
        poller: Poller,
        handler: AnyHandler,
        *,
        codec: Codec[M],
        peer: Peer,
        local: Address,
        at_once: bool,
    ) -> None:
        self._shared = shared
        stand_in: Any = shared
        super().__init__(
            context, stand_in, poller, handler, codec=codec, peer=peer, local=local, records=True, at_once=at_once
        )

    def has_come(self) -> None:
        """A datagram waits. Called without the lock."""
        self._poller.wake()  # in any case: whether a thread waits is known only under the lock

    # -- the socket, the lock held -------------------------------------------------------------------------------------

    def _ready_for(self, events: int, timeout_s: float | None) -> list[tuple[int, int]]:
        self._poller.wait(0.0 if events & READ and self._shared else timeout_s)
        return [(-1, READ)] if self._shared else []

    def _may_park(self, limit: Any) -> bool:
        return False

    def _new_link(self, sock: socket.socket, *, records: bool) -> SocketLink:
        return SharedLink(sock, self, records=records)

    def _read(self) -> None:
        while self._shared and self._state != CLOSED and self._wants_input():
            self.data_received(self._shared.take())

    def _let_go(self) -> None:
        self._shared.close()
        super()._let_go()

    # A sender has no EOF: it has come as soon as this side has ended.

    def _close(self, reason: CloseReason) -> None:
        super()._close(reason)
        if self._closing and self._state != CLOSED:
            self.eof_received()

    def send_eof(self) -> None:
        """End the session, after what was queued."""
        super().send_eof()
        with self._lock:
            if self._can_receive:
                self.eof_received()
        self._tell()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Have the endpoint read what has come by now; then decide."""
        self._shared.endpoint.when_read(self._decide_now)

    def _decide_now(self) -> None:
        with self._lock:
            self._catch_up()
            self._decide()
        self._tell()


# Makes a connection on such a socket of a peer that the gate has let in, once the one is cut that gives way to it.
# None: it cannot, and the peer has left the gate.
BeginSession = Callable[[SharedSocket, Peer, Listener, "SharedSocket | None"], "SessionConnection[Any] | None"]


class SessionThread(DatagramThread):
    """One datagram listener at work, whose datagrams belong to sessions.

    Args:
        sessions: Those of the server.
        sessions_lock: Guards them, and who has one here. Nothing else is locked under it.
        begin: Makes a connection.
        listener, codec, gate, gate_lock, clock, emit, own, ended, name: As of every endpoint.
    """

    def __init__(
        self,
        listener: Listener,
        codec: Codec[Any],
        *,
        sessions: Sessions[SharedSocket],
        sessions_lock: threading.RLock,
        begin: BeginSession,
        gate: Gate,
        gate_lock: threading.RLock,
        clock: Clock,
        emit: Callable[[Event], None],
        own: OwnAddresses,
        ended: Callable[[], None],
        name: str,
    ) -> None:
        super().__init__(
            listener,
            None,
            codec,
            gate=gate,
            gate_lock=gate_lock,
            clock=clock,
            emit=emit,
            own=own,
            ended=ended,
            name=name,
        )
        self._sessions = sessions
        self._sessions_lock = sessions_lock
        self._begin = begin
        self._shared: dict[Any, SharedSocket] = {}
        self._is_open = False  # to newcomers
        self._is_cut = False
        self._to_decide: deque[Callable[[], None]] = deque()  # once all that has come by now was read
        self._dropped: deque[DatagramDropped] = deque()  # told when no lock is held

    # -- any thread ----------------------------------------------------------------------------------------------------

    def set_running(self, running: bool) -> None:
        """Take newcomers from now on, or no longer; sessions go on, as connections do."""
        with self._sessions_lock:
            self._is_open = running
            self._reading = self._is_open or bool(self._shared)  # as a call within this one may have left it
        self._poller.wake()

    def cut(self) -> None:
        """Forget the replies and end."""
        self._is_cut = True
        super().cut()

    def drop(self, reason: str, count: int = 1) -> None:
        """Say that datagrams were dropped, a moment later: the caller may hold the lock of a session."""
        self._dropped.append(DatagramDropped(reason, self._listener, count))
        if threading.current_thread() is not self.thread:
            self._poller.wake()

    def when_read(self, decide: Callable[[], None]) -> None:
        """Have that called once what has come by now was read."""
        self._to_decide.append(decide)
        self._poller.wake()
        if not self.thread.is_alive():
            self._decide()

    def forget(self, shared: SharedSocket) -> None:
        """A session ends: the next datagram of its sender begins another one. May be repeated."""
        with self._sessions_lock:  # under which datagrams are put: none comes after those that are counted here
            if left := shared.forget_waiting():
                self._dropped.append(DatagramDropped(NOT_READ, self._listener, left))
            is_last = self._strike(shared)
        if left or is_last:
            self._poller.wake()

    def strike(self, shared: SharedSocket) -> None:
        """Take a session out of the books that was not begun, or gives way."""
        with self._sessions_lock:
            is_last = self._strike(shared)
        if is_last:
            self._poller.wake()

    def _strike(self, shared: SharedSocket) -> bool:
        """Do so, the lock held; say whether it was the last one here."""
        if shared.is_struck:
            return False
        shared.is_struck = True
        del self._shared[shared.key]
        self._sessions.ends(shared)
        is_last = not self._shared
        if is_last and not self._is_open:
            self._reading = False
        return is_last

    # -- its own thread ------------------------------------------------------------------------------------------------

    def _is_needed(self) -> bool:
        return super()._is_needed() or (bool(self._shared) and not self._is_cut)

    def _turned(self) -> None:
        if self._to_decide:
            for _ in range(MOST_READS):
                if self.read() < READS_PER_TURN:
                    break
                self._tell()
            self._decide()
        self._tell()

    def _decide(self) -> None:
        while self._to_decide:
            tell_of_failure(self._to_decide.popleft())

    def _tell(self) -> None:
        while self._dropped:
            self._emit(self._dropped.popleft())

    def count_left(self) -> None:
        """Count what lies in the kernel, as of every endpoint."""
        super().count_left()
        self._decide()
        self._tell()

    def _received(self, data: bytes, name: Any, source: bytes | None) -> None:
        key = key_of(name, source)
        with self._sessions_lock:  # what is put under it comes before the end of the session, or begins another one
            shared = self._shared.get(key)
            if shared is not None:
                if shared.is_new:
                    shared.is_new = False
                    self._sessions.heard_again(shared)
                is_taken = shared.put(data)
        if shared is None:
            self._new(key, name, source, data)
        elif not is_taken:
            self.drop(NOT_READ)
        elif shared.conn is not None:
            shared.conn.has_come()

    def _new(self, key: Any, name: Any, source: bytes | None, data: bytes) -> None:
        """Begin a session with its first datagram, if the gate lets one more in."""
        if not name or not self._is_open:
            self.drop(SUSPENDED if name else UNNAMED)
            return
        peer = Peer(name, self._socket.family)
        shared = SharedSocket(self, key, name if source is None else Sourced(name, source), peer)
        shared.put(data)
        with self._gate_lock:  # of all listeners, one newcomer at a time: what is found about their number holds
            displaced, refusal = self._enter(shared, peer)
        if refusal is not None:
            self.drop(refusal)
            return
        try:
            conn = self._begin(shared, peer, self._listener, displaced)  # and nothing else: what fails leaves the gate
        except BaseException:
            self.strike(shared)
            raise
        if conn is None:
            self.strike(shared)
            return
        with self._sessions_lock:
            shared.conn = conn
            has_given_way = shared.is_struck
        if has_given_way:  # before it had a connection; or it has ended by itself
            conn.cut(CloseReason.OVERLOAD)

    def _enter(self, shared: SharedSocket, peer: Peer) -> tuple[SharedSocket | None, Refusal | None]:
        """Enter a newcomer in the books and at the gate. Return who gives way to it, or why it is not let in."""
        with self._sessions_lock:
            is_full = self._sessions.is_full(self.gate.rules.max_sessions)
            displaced = self._sessions.to_be_displaced() if is_full else None
            if displaced is not None or not is_full:
                self._shared[shared.key] = shared
                try:
                    self._sessions.begins(shared)
                except BaseException:
                    del self._shared[shared.key]
                    raise
        if is_full and displaced is None:
            self.gate.refuse(Refusal.SESSIONS)
            return None, Refusal.SESSIONS
        try:
            refusal = self.gate.admit(peer, self._clock.time())
        except BaseException:
            self.strike(shared)
            raise
        if refusal is not None:
            self.strike(shared)
        elif displaced is not None:
            displaced.endpoint.strike(displaced)
        return displaced, refusal
