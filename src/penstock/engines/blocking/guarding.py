"""A connection that several threads use: its lock, and the locks of what it shares with other connections."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.events import Event
from ...core.gate import Handshake
from ...core.law.closing import CLOSED
from ...reasons import CloseReason, Refusal
from ..connection import LinkedConnection
from ..context import Context
from .timers import Timers

if TYPE_CHECKING:
    from ...core.proxy import ProxyHeader

M = TypeVar("M")


def _nothing(_: object) -> None:
    """Do nothing: a client has no places."""


@dataclass(slots=True, kw_only=True)
class ThreadContext(Context):
    """What a connection on threads needs of what made it: a server, or a client.

    Attributes:
        report: Takes the events out of the queue it is given, in order, and tells them.
        timers: The clock, when it is one that the waiting thread itself has to run: a client without a thread.
        budget_lock: Guards the budget.
        gate_lock: Guards the gate.
        orphaned: Called with a connection whose socket is closed while its handler is at work; its lock is held.
    """

    report: Callable[[deque[Event]], None]
    timers: Timers | None = None
    budget_lock: threading.RLock = field(default_factory=threading.RLock)
    gate_lock: threading.RLock = field(default_factory=threading.RLock)
    orphaned: Callable[[Any], None] = _nothing


class GuardedConnection(LinkedConnection[M]):
    """The part of a connection on threads that keeps them apart.

    All its methods are called with its lock held, but for `cut_unless_busy` and `_tell`.
    """

    __slots__ = ("_events", "_lock")

    _context: ThreadContext

    def __init__(
        self, context: ThreadContext, codec: Codec[M], peer: Peer, local: Address, *, records: bool = False
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        # Reentrant, for a signal handler or a finaliser may call in while this thread holds it.
        self._lock = threading.RLock()
        self._events: deque[Event] = deque()  # told once the lock is free, for an observer may call in

    def _emit(self, event: Event) -> None:
        self._events.append(event)

    def _tell(self) -> None:
        """Report what happened while the lock was held. Called without it."""
        if self._events:
            self._context.report(self._events)

    def _owe(self, size: int) -> None:
        if size != self._owed_bytes():
            with self._context.budget_lock:
                super()._owe(size)
                if self._state == CLOSED:  # a signal handler has ended it meanwhile: nothing is owed any more
                    super()._owe(0)

    def _end_others(self) -> None:
        with self._context.budget_lock:
            debtors = self._context.budget.to_be_ended(self)
        for debtor in debtors:
            assert isinstance(debtor, GuardedConnection)
            debtor.cut_unless_busy(CloseReason.OVERLOAD)

    def cut_unless_busy(self, reason: CloseReason) -> None:
        """End it now, unless another thread works on it: that one may be about to end who calls this."""
        if self._lock.acquire(blocking=False):
            try:
                self._lose(reason)
            finally:
                self._lock.release()

    def _close(self, reason: CloseReason) -> None:
        try:
            super()._close(reason)
        except BaseException:
            self._link.abort()  # half closed it would stay for ever: it ends at once
            raise

    def _lose(self, reason: CloseReason) -> None:
        try:
            super()._lose(reason)
        except BaseException:
            self._link.abort()
            raise

    def _take_place(self, now: float) -> Handshake:
        with self._context.gate_lock:
            return super()._take_place(now)

    def introduced(self, header: ProxyHeader) -> Refusal | None:
        """Be the connection of whom its proxy speaks for."""
        with self._context.gate_lock:
            return super().introduced(header)

    def _give_back(self, handshake: Handshake) -> None:
        with self._context.gate_lock:
            super()._give_back(handshake)
