# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""When a peer has had its time, and with what. Arithmetic on instants that the engine tells.

A deadline moves without touching a timer per message: the engine keeps one timer per connection, set to `_due_at`.
Traffic only moves instants in here; when the timer fires, `_due` says whether anything really is due, and the engine
sets the timer again.
"""

# ruff: noqa: PLR1730, FURB136 - `min`, which the interpreter calls, costs more than all else here

from __future__ import annotations

from math import inf

from ...reasons import CloseReason
from ..timeouts import Timeout
from .closing import CLOSED, CUT, LINGERING, RESET, Closing
from .durations import Durations
from .rare import Rare

_CLOSED, _LINGERING = CLOSED, LINGERING  # C integers where this file is compiled, as all below that have an underscore


# The members of `Timeout` as numbers, which `_due` returns. Those before WRITE hold the peer's silence against it, and
# end with what it sends. Its age is no fault of its own. SILENCE ends a message, and nothing else. OVERTIME ends what
# its handler has of time to finish what it is at, once it was told that the connection ends.
NOT_DUE, SILENCE, FIRST_MESSAGE, IDLE, MESSAGE, HANDSHAKE, WRITE, LINGER, LIFETIME, OVERTIME = range(10)
_NOT_DUE, _SILENCE, _FIRST_MESSAGE, _IDLE, _MESSAGE, _HANDSHAKE, _WRITE, _LINGER, _LIFETIME, _OVERTIME = range(10)
TIMEOUTS = (
    None,
    None,
    Timeout.FIRST_MESSAGE,
    Timeout.IDLE,
    Timeout.MESSAGE,
    Timeout.HANDSHAKE,
    Timeout.WRITE,
    Timeout.LINGER,
    Timeout.LIFETIME,
    Timeout.LIFETIME,  # or another, which is the reason already
)

# Whose move it is.
PEER, HANDLER, MESSAGE_AT_WORK = range(3)
_PEER = PEER
_TOO_OLD, _IDLED = CloseReason.LIFETIME, CloseReason.IDLE_TIMEOUT

# Whose handshake it is: one that its handler began, that of a layer over its link (TLS, PROXY), or both.
OWN, OF_LAYER = 1, 2
ANY = OWN | OF_LAYER
_OWN, _OF_LAYER, _ANY = OWN, OF_LAYER, ANY

# Verdicts of `_expires`, beside those of `closing`: CUT, and RESET, where `_loses` follows.
RESTART = 128  # the peer has read on: its time to read begins anew
TELL = 256  # tell the handler, then close for that reason
TAKE_REST = 16384  # take what is left of the input for a message, and say `_falls_silent`
_CUT, _RESET, _RESTART, _TELL, _TAKE_REST = CUT, RESET, RESTART, TELL, TAKE_REST

_INFINITY = inf


class Deadlines(Closing):
    """The instants one connection's deadlines are counted from: seconds on the engine's clock, infinity for not at all.

    Args:
        durations: How long they last.
        now: The instant.

    Attributes:
        _durations: How long they last.
        _opened_at: When the connection was made.
        _rare: What few connections have at a time; None where it has nothing of it.
        _whose_move: PEER: somebody waits for the peer, who is blamed for silence meanwhile. HANDLER: its handler is at
            work, or waits elsewhere, on nothing that the peer has sent. MESSAGE_AT_WORK: on a message of it. While it
            is not the peer's, the first message and the one at hand are not held against it, and go on from where they
            stood when somebody waits again: `_first_since` and `_partial_since` hold the time waited so far, negative,
            until then.
        _first_since: Since when the first message has been waited for.
        _idle_since: Since when nothing has moved, whatever the handler waits for; infinity while a message of the peer
            is at work, unless that one has sent EOF. Engines set it for each read: a call would cost more than the rest
            of it.
        _partial_since: When the first byte of the message at hand came.
        _stalled_since: Since when output has been over its high watermark, or is being flushed for the close, without
            the peer having read as much of it as lies between the watermarks; once all was sent after the close, since
            when the peer's EOF has been waited for.
    """

    __slots__ = (
        "_durations",
        "_first_since",
        "_idle_since",
        "_opened_at",
        "_partial_since",
        "_rare",
        "_stalled_since",
        "_whose_move",
    )

    def __init__(self, durations: Durations, now: float) -> None:
        super().__init__()
        self._begin_deadlines(durations, now)

    def _begin_deadlines(self, durations: Durations, now: float) -> None:
        self._durations = durations
        self._opened_at = now
        self._whose_move = _PEER
        self._rare: Rare | None = None
        self._first_since = self._idle_since = self._partial_since = _INFINITY
        self._stalled_since = _INFINITY

    # -- what is due ---------------------------------------------------------------------------------------------------

    def _due_at(self, partial_bytes: int) -> float:
        """Return the earliest instant at which something would be due if nothing more happened; infinity for never.

        Args:
            partial_bytes: How many bytes of the incomplete message at hand are there.
        """
        durations = self._durations
        if self._closing:
            if self._state == _CLOSED:
                return _INFINITY
            return self._stalled_since + (durations.linger_s if self._state == _LINGERING else durations.write_s)
        earliest = self._stalled_since + durations.write_s
        # Told to end already: a handler at work comes to its end first, and must not wait for ever for a peer to read,
        # nor for anything else.
        if self.close_reason is not None:
            then = self._overtime_at()
            return then if then < earliest else earliest
        then = self._opened_at + durations.lifetime_s
        if then < earliest:
            earliest = then
        if self._rare is not None:
            then = self._silent_at()
            if then < earliest:
                earliest = then
            if self._rare.handshake_since != _INFINITY:
                then = self._rare.handshake_since + durations.handshake_s
                return then if then < earliest else earliest
        then = self._idle_since + durations.idle_s
        if then < earliest:
            earliest = then
        if self._whose_move == _PEER:
            then = self._first_since + durations.first_s
            if then < earliest:
                earliest = then
            if self._partial_since != _INFINITY:
                then = self._message_due_at(partial_bytes)
                if then < earliest:
                    earliest = then
        return earliest

    def _overtime_at(self) -> float:
        """Return when the handler of a connection that is told to end must have come to its end; infinity for never."""
        durations = self._durations
        if self.close_reason is _TOO_OLD:
            return self._opened_at + durations.lifetime_s + durations.finish_s
        if self.close_reason is _IDLED:
            return self._idle_since + durations.idle_s + durations.finish_s
        return _INFINITY if self._rare is None else self._rare.refused_at + durations.finish_s

    def _message_due_at(self, partial_bytes: int) -> float:
        """Return when the message at hand must be complete: a long one later, as long as it comes fast enough."""
        durations = self._durations
        due_at = self._partial_since + durations.message_s
        if durations.message_bytes_per_s:
            due_at += partial_bytes // durations.message_bytes_per_s
        return due_at

    def _due(self, now: float, partial_bytes: int) -> int:
        """Return which deadline has passed at ``now``, the one that passed first; `NOT_DUE` for none."""
        durations = self._durations
        at = self._due_at(partial_bytes)
        if at > now or at == _INFINITY:
            return _NOT_DUE
        if self._closing:
            return _LINGER if self._state == _LINGERING else _WRITE
        if self.close_reason is not None:
            return _WRITE if at == self._stalled_since + durations.write_s else _OVERTIME
        if self._rare is not None and at == self._silent_at():
            return _SILENCE
        if self._rare is not None and self._rare.handshake_since != _INFINITY:
            if at == self._rare.handshake_since + durations.handshake_s:
                return _HANDSHAKE
        elif at == self._idle_since + durations.idle_s:
            return _IDLE
        elif self._whose_move == _PEER and at == self._first_since + durations.first_s:
            return _FIRST_MESSAGE
        elif self._whose_move == _PEER and at == self._message_due_at(partial_bytes):
            return _MESSAGE
        return _WRITE if at == self._stalled_since + durations.write_s else _LIFETIME

    def _expires(self, which: int, has_progressed: bool) -> int:
        """A deadline has passed.

        Args:
            which: What `_due` returned.
            has_progressed: The peer has read on since output stalled.

        Returns:
            RESTART, CUT, RESET, TELL, TAKE_REST.
        """
        if which == _SILENCE:
            return _TAKE_REST
        if which == _LINGER:
            self._lost(CloseReason.DONE)
            return _CUT
        if which == _WRITE and has_progressed:
            return _RESTART
        if which in (_WRITE, _HANDSHAKE, _OVERTIME):
            return _RESET
        if self.close_reason is None:
            self.close_reason = REASONS[which]
        return _TELL

    def _silent_at(self) -> float:
        """Return when a silence will have lasted long enough; infinity for never."""
        if self._rare is None or self._rare.silence is None:
            return _INFINITY
        return self._rare.silence.due_at

    # -- the last word -------------------------------------------------------------------------------------------------

    def _refuses(self, reason: CloseReason, now: float) -> int:
        """The peer broke the framing: nothing more is received; its handler may send until it comes to its end.

        For that it has as long as a handler that is told of the connection's age.
        """
        self._of_few().refused_at = now
        if self.close_reason is None:
            self.close_reason = reason
        self._become(self._state)
        return 0

    def _has_refused(self) -> bool:
        """Say whether the peer broke the framing, and the connection has yet to close for that."""
        return self._rare is not None and self._rare.refused_at != _INFINITY

    def _begins_task(self) -> int:
        """A background task begins whose work the peer is owed, also once it has sent EOF."""
        rare = self._of_few()
        rare.tasks += 1
        return 0

    def _ends_task(self) -> bool:
        """It has ended. Say whether the connection is to close now: it was the last one that was waited for."""
        rare = self._of_few()
        rare.tasks -= 1
        return not rare.tasks and rare.waits_for_tasks and not self._closing

    def _waits_for_tasks(self) -> bool:
        """The peer has sent EOF, and all before it was handled: say whether `_ends_task` says when to close."""
        if self._rare is None or not self._rare.tasks or self._closing:
            return False
        self._rare.waits_for_tasks = True
        return True

    def _closes_because(self, detail: str) -> int:
        """The handler is about to close it, and says why: the first close is the one that counts."""
        if detail and not self._closing and self._close_after is None:
            self._of_few().detail = detail
        return 0

    def _detail(self) -> str:
        """Return what its handler said about the close."""
        return "" if self._rare is None else self._rare.detail

    def _sent_all_at(self, now: float) -> int:
        """As `_sent_all`; from now on only the peer's EOF is waited for, for ``linger_s``."""
        self._stalled_since = now
        return self._sent_all()

    def idle_for(self, now: float) -> float:
        """For how many seconds nothing has moved; 0 while its handler is at work on a message."""
        return 0.0 if self._idle_since > now else now - self._idle_since

    # -- the handshake -------------------------------------------------------------------------------------------------

    def _begins_handshake(self, now: float, whose: int) -> int:
        """The peer has to show who it is from now on; where it has to already, its time goes on.

        Until it has, it is blamed for no message: of the other deadlines only the lifetime and a stall of output count.

        Args:
            now: The instant.
            whose: OWN or OF_LAYER.
        """
        rare = self._of_few()
        if not rare.handshakes:
            rare.handshake_since = now
        rare.handshakes |= whose
        return 0

    def _in_handshake(self) -> bool:
        """Say whether there is a handshake."""
        return self._rare is not None and self._rare.handshake_since != _INFINITY

    def _ends_handshake(self, whose: int) -> bool:
        """The peer has shown OWN or OF_LAYER who it is; ANY: the connection closes. Say whether none is left."""
        if self._rare is None or not self._rare.handshakes:
            return False
        self._rare.handshakes &= _ANY ^ whose
        if self._rare.handshakes:
            return False
        self._rare.handshake_since = _INFINITY
        return True

    def _of_few(self) -> Rare:
        """Return what few connections have at a time; have it from now on."""
        if self._rare is None:
            self._rare = Rare()
        return self._rare


REASONS = tuple(CloseReason.DONE if deadline is None else deadline.value for deadline in TIMEOUTS)
