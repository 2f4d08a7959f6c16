"""A handler that one task, or one thread, runs: its callbacks are made in turn, and never overlap."""

from __future__ import annotations

from typing import Final, TypeVar

from ..core.handlers import AnyHandler, Handler, may_keep_idle
from ..core.timeouts import Timeout
from .receiving import ReceivingConnection

M = TypeVar("M")

# Of two bases of a class only one may have slots: those of this one stand in its subclasses.
_NO_SLOTS: Final[tuple[str, ...]] = ()


class InTurnConnection(ReceivingConnection[M]):
    """The part that a server's connections share, whose handler is run by a task or a thread of its own.

    Attributes:
        _handler: The handler.
        _callbacks: What is called of it; None where it receives and sends itself.
    """

    __slots__ = _NO_SLOTS

    _handler: AnyHandler
    _callbacks: Handler[M] | None

    def _asks_whether_idle_may_stay(self) -> bool:
        if self._expired is not None or not may_keep_idle(self._callbacks):
            return False  # it was to be asked before, and the callback at work has not returned since
        self._is_kept(self._clock.time())
        return self._timed_out(Timeout.IDLE)

    def _has_last_word(self) -> bool:
        return bool(self._handler.converses) or self._callbacks is not None
