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
from dataclasses import dataclass, field
from math import inf
from typing import TypeVar

from ...config import Limits, Timeouts
from ...core.deadlines import Deadline, Deadlines
from ...core.events import Event
from ...core.memory import OutputBudget
from ...core.states import State
from ..base import Clock, ConnectionBase, TimerHandle
from .poller import Poller
from .timers import Timers

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Host:
    """What a connection needs of whoever made it: a server, or a client.

    Attributes:
        clock: Where time comes from. Its timers may be called on any thread.
        timeouts: At first.
        limits: Of its buffers.
        report: Takes the events out of the queue it is given, in order, and tells them.
        timers: The clock, when it is one that the waiting thread itself has to run: a client without a thread.
        budget: What all peers together are owed beyond their high watermarks; guarded by ``budget_lock``.
    """

    clock: Clock
    timeouts: Timeouts
    limits: Limits
    report: Callable[[deque[Event]], None]
    timers: Timers | None = None
    budget: OutputBudget = field(default_factory=OutputBudget)
    budget_lock: threading.Lock = field(default_factory=threading.Lock)


class DrivenSocket(ConnectionBase[M]):
    """The part of a connection that waits: for its socket, for time, for what other threads do.

    Args:
        host: Who made it.
        sock: Connected and non-blocking. It is the connection's from now on, which closes it.
        poller: Its own from now on.
    """

    __slots__ = (
        "_armed_at",
        "_changed",
        "_clock",
        "_deadlines",
        "_driving",
        "_events",
        "_fd",
        "_gone",
        "_host",
        "_lock",
        "_poller",
        "_sock",
        "_state",
        "_timer",
    )

    def __init__(self, host: Host, sock: socket.socket, poller: Poller) -> None:
        self._host = host
        self._clock = host.clock
        self._sock = sock
        self._fd = sock.fileno()
        self._poller = poller
        self._state = State.OPEN
        self._gone = False  # the socket is closed
        # Reentrant, for a signal handler or a finaliser may call in while this thread holds it.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._driving = False  # a thread polls; it does not hold the lock
        self._events: deque[Event] = deque()  # told once the lock is free, for an observer may call in
        self._deadlines = Deadlines(host.timeouts, host.clock.time())
        self._timer: TimerHandle | None = None
        self._armed_at = inf

    # -- what a subclass does, the lock held ---------------------------------------------------------------------------

    @abstractmethod
    def _interest(self) -> int:
        """Return what the socket is polled for: `READ`, `WRITE`, both or 0."""

    @abstractmethod
    def _act(self, events: int) -> None:
        """Read or write: the socket is ready for ``events``."""

    @abstractmethod
    def _flush(self) -> bool:
        """Send what the kernel takes now; return whether it took anything."""

    @abstractmethod
    def _pending_bytes(self) -> int:
        """Return how many bytes of incomplete messages there are."""

    @abstractmethod
    def _expire(self, which: Deadline) -> None:
        """A deadline has passed."""

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _drive(self, done: Callable[[], bool]) -> None:
        """Move bytes until ``done()``, or wait for the thread that does. The lock is held, except while waiting."""
        while not done():
            if self._driving:
                self._changed.wait()
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
            self._driving = False
            self._changed.notify_all()
        if self._state is State.CLOSED:  # meanwhile, by another thread, which left the socket to this one
            self._dispose()
            return
        for _, happened in ready:
            self._act(happened)

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
        if self._driving:
            self._poller.wake()
        else:
            self._dispose()

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
            self._deadlines.timeouts = self._deadlines.timeouts.merged(**timeouts)
            self._arm_next()

    def _arm_next(self) -> None:
        """Have `_tick` called when the next deadline is due. A timer that comes earlier is left: it sets the next."""
        entry = self._deadlines.next()
        if entry is None or entry[0] >= self._armed_at or self._state is State.CLOSED:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_at = entry[0]
        self._timer = self._clock.call_at(entry[0], self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_at = inf

    def _tick(self) -> None:
        """Do what is due. Called by the clock, on whatever thread it has; nobody need be waiting."""
        with self._lock:
            self._timer = None
            self._armed_at = inf
            if self._state is not State.CLOSED:
                self._deadlines.partial_bytes = self._pending_bytes()
                which = self._deadlines.due(self._clock.time())
                if which is None or (which is Deadline.WRITE and not self._driving and self._flush()):
                    # Nothing, or nobody had tried to send for a while: the peer is not to blame.
                    self._arm_next()
                else:
                    self._expire(which)
        self._tell()
