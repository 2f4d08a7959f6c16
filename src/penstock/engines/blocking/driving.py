"""A socket that several threads wait for, with whichever of them waits doing the work, and its clock.

One lock guards a connection. Nobody waits while holding it: the one thread that polls (the driver) lets go of it
meanwhile, and every other thread that waits for something on this connection waits for the driver. When the driver has
what it wanted, one of the others takes over. So a connection needs no thread of its own to be correct, and several
threads may send, receive and close at once.
"""

from __future__ import annotations

import socket
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from ...config import Limits, Timeouts
from ...core.budget import OutputBudget
from ...core.contract import NO_HANDSHAKE, Clock
from ...core.events import Event
from ...core.gate import Gate, Handshake
from ...core.states import State
from ...errors import LocalProtocolError
from ..timed import ClockAlarms, TimedConnection
from .parking import prepare
from .poller import Poller
from .timers import Timers

M = TypeVar("M")


@dataclass(slots=True)
class Host:
    """What a connection needs of whoever made it: a server, or a client.

    Attributes:
        clock: Where time comes from. Its timers may be called on any thread.
        timeouts: At first.
        limits: Of its buffers.
        report: Takes the events out of the queue it is given, in order, and tells them.
        timers: The clock, when it is one that the waiting thread itself has to run: a client without a thread.
        budget: What all peers together are owed; guarded by ``budget_lock``.
        gate: Counts handshakes, guarded by ``gate_lock``; a client has none.
    """

    clock: Clock
    timeouts: Timeouts
    limits: Limits
    report: Callable[[deque[Event]], None]
    timers: Timers | None = None
    budget: OutputBudget = field(default_factory=OutputBudget)
    budget_lock: threading.Lock = field(default_factory=threading.Lock)
    gate: Gate | None = None
    gate_lock: threading.RLock = field(default_factory=threading.RLock)
    alarms: ClockAlarms = field(init=False)

    def __post_init__(self) -> None:
        self.alarms = ClockAlarms(self.clock)


class DrivenSocket(TimedConnection[M]):
    """The part of a connection that waits: for its socket, for time, for what other threads do.

    Args:
        host: Who made it.
        sock: Connected. It is the connection's from now on, which sets how it blocks, and closes it.
        poller: Its own from now on.
    """

    __slots__ = (
        "_changed",
        "_driving",
        "_due_while_parked",
        "_events",
        "_fd",
        "_gone",
        "_host",
        "_lock",
        "_parked",
        "_poller",
        "_sock",
        "_waiting",
    )

    def __init__(self, host: Host, sock: socket.socket, poller: Poller) -> None:
        super().__init__(host.clock, host.alarms, host.timeouts)
        self._host = host
        prepare(sock)
        self._sock = sock
        self._fd = sock.fileno()
        self._poller = poller
        self._gone = False  # the socket is closed
        # Reentrant, for a signal handler or a finaliser may call in while this thread holds it.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0  # threads that wait for the one that drives
        self._driving = False  # a thread waits for the socket; it does not hold the lock
        self._parked = False  # it does so in recv(2), where it cannot be woken
        self._due_while_parked = False  # a deadline passed meanwhile: what recv(2) returns comes first
        self._events: deque[Event] = deque()  # told once the lock is free, for an observer may call in

    # -- what a subclass does, the lock held ---------------------------------------------------------------------------

    @abstractmethod
    def _interest(self) -> int:
        """Return what the socket is polled for: `READ`, `WRITE`, both or 0."""

    @abstractmethod
    def _act(self, events: int) -> None:
        """Read or write: the socket is ready for ``events``."""

    @abstractmethod
    def _receive_now(self, flags: int) -> bytes:
        """Return what recv(2) does with these flags."""

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Take what was received: bytes, or a record; none for EOF."""

    @abstractmethod
    def _lost(self, error: OSError) -> None:
        """The transport broke."""

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _drive(self, done: Callable[[], bool]) -> None:
        """Move bytes until ``done()``, or wait for the thread that does. The lock is held, except while waiting."""
        while not done():
            if self._driving:
                self._waiting += 1
                try:
                    self._changed.wait()
                finally:
                    self._waiting -= 1
            else:
                self._turn()

    def _turn(self) -> None:
        """Wait once for the socket, a deadline or another thread, and do what it asks for."""
        events = self._interest()
        timers = self._host.timers
        self._driving = True
        self._lock.release()
        try:
            if self._events:
                self._host.report(self._events)
            self._poller.set(self._fd, events)
            ready = self._poller.wait(None if timers is None else timers.timeout_s())
            if timers is not None:
                timers.run_due()
        finally:
            self._lock.acquire()
            self._drove()
        if self._state is State.CLOSED:  # meanwhile, by another thread, which left the socket to this one
            self._dispose()
            return
        for _, happened in ready:
            self._act(happened)

    def _park(self) -> None:
        """Wait in recv(2), for `PARK_S` at most, and take what it returns. As `_turn`, but nobody can wake it."""
        data: bytes | None = None
        broken: OSError | None = None
        self._driving = self._parked = True
        self._lock.release()
        try:
            if self._events:
                self._host.report(self._events)
            data = self._receive_now(0)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            broken = error
        finally:
            self._lock.acquire()
            self._parked = False
            self._drove()
        if self._state is State.CLOSED:
            self._dispose()
        elif broken is not None:
            self._lost(broken)
        elif data is not None:
            self._take(data)
        if self._due_while_parked:
            self._due_while_parked = False
            super().expired()

    def _drove(self) -> None:
        """This thread has waited; the lock is held again."""
        self._driving = False
        if self._waiting:
            self._changed.notify_all()

    def _wake(self) -> None:
        """Have the driver look again at what is to be done."""
        if self._driving:
            self._poller.wake()

    def _tell(self) -> None:
        """Report what happened while the lock was held. Called without it."""
        if self._events:
            self._host.report(self._events)

    def _let_go(self) -> None:
        """The state is closed: close the socket, or have the thread that polls it do so."""
        self._disarm()
        if not self._driving:
            self._dispose()
            return
        self._poller.wake()
        if self._parked:
            with suppress(OSError):  # ENOTCONN: what broke it has woken the thread, too
                self._sock.shutdown(socket.SHUT_RD)

    def _dispose(self) -> None:
        if not self._gone:
            self._gone = True
            self._poller.close()
            self._sock.close()
            self._changed.notify_all()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        with self._lock:
            super().set_timeouts(**timeouts)

    def begin_handshake(self) -> None:
        """Give the peer so long to show who it is."""
        with self._lock:
            super().begin_handshake()

    def end_handshake(self) -> None:
        """The peer has shown who it is."""
        with self._lock:
            super().end_handshake()

    def _take_handshake(self, now: float) -> Handshake:
        gate = self._host.gate
        if gate is None:
            raise LocalProtocolError(NO_HANDSHAKE)
        with self._host.gate_lock:
            return gate.begin_handshake(now)

    def _give_back_handshake(self, handshake: Handshake) -> None:
        with self._host.gate_lock:
            handshake.end()

    def expired(self) -> None:
        """Do what is due, on whatever thread the clock has; nobody need be waiting."""
        with self._lock:
            if self._parked:
                self.place = None
                self._due_while_parked = True
            else:
                super().expired()
        self._tell()
