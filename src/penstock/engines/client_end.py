"""How a client's connection ends, on every engine in Python: in the time that its user gave, telling what was left."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import Final, TypeVar

from ..core.deadline import Deadline
from ..core.timeouts import Timeout
from ..errors import BrokenError, Phase
from ..reasons import CloseReason
from .connection import LinkedConnection

M = TypeVar("M")

# Of two bases of a class only one may have slots: those of this one stand in its subclasses.
_NO_SLOTS: Final[tuple[str, ...]] = ()


class ClientEnd(LinkedConnection[M]):
    """The part that a client's connections share. How one waits is theirs.

    Attributes:
        _blames: The peer is held to deadlines for what it sends: by itself a client blames nobody for silence.
        _total: When the connection has to be over; None for never.
        _unread_bytes: As of `BrokenError`.
    """

    __slots__ = _NO_SLOTS

    _blames: bool
    _ready: deque[M]
    _total: Deadline | None
    _unread_bytes: int

    @abstractmethod
    def _is_not_received(self) -> bool:
        """Return whether so much has come that nobody receives that the peer is not read any more."""

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        super().set_timeouts(**timeouts)
        now = self._durations.timeouts
        self._blames = (now.first_message_s, now.idle_s, now.message_s) != (None, None, None)

    def _timed_out(self, which: Timeout) -> bool:
        if which is not Timeout.LIFETIME:
            return False
        self._lose(CloseReason.LIFETIME)  # nobody waits for a flush either
        return True

    def _why_not(self) -> Exception:
        if self.close_reason is CloseReason.LIFETIME and self._total is not None:
            return self._total.error(Phase.TOTAL)
        error = super()._why_not()
        if isinstance(error, BrokenError):
            error.unread_bytes = self._unread_bytes
        return error

    def _note_unread(self) -> None:
        """Note, where the connection is about to end, what its peer had waited for us to receive."""
        if self._write_paused and self._is_not_received():
            unread_bytes = self._inbound.pending_bytes + (self._inbound.batch_bytes if self._ready else 0)
            self._unread_bytes = self._unread_bytes or unread_bytes

    def connection_broke(self, error: BaseException) -> None:
        """Send nothing more."""
        self._note_unread()
        super().connection_broke(error)

    def _lose(self, reason: CloseReason) -> None:
        self._note_unread()
        super()._lose(reason)
