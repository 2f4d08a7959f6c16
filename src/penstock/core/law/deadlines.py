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

from ...config import Timeouts
from ...reasons import CloseReason
from ..timeouts import Timeout
from .closing import CLOSED, CUT, LINGERING, RESET, Closing
from .rare import Rare
from .silence import Silence

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
_PEER, _HANDLER, _MESSAGE_AT_WORK = range(3)
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


def _seconds(value: float | None) -> float:
    return _INFINITY if value is None else float(value)  # a subclass of float would slow each sum down


class Durations:
    """How long each deadline lasts, in seconds; infinity for ever. One for all connections that have the same.

    Args:
        timeouts: What they are taken from.
        only_received_counts: What is sent to a peer keeps it from being idle no longer; so it is in any case where the
            timeouts have a ``receive_idle_s``.
    """

    __slots__ = (
        "finish_s",
        "first_s",
        "handshake_s",
        "idle_s",
        "lifetime_s",
        "linger_s",
        "message_bytes_per_s",
        "message_s",
        "only_received_counts",
        "timeouts",
        "write_s",
    )

    def __init__(self, timeouts: Timeouts, only_received_counts: bool = False) -> None:
        self.timeouts = timeouts
        self.handshake_s = _seconds(timeouts.handshake_s)
        self.first_s = _seconds(timeouts.first_message_s)
        self.only_received_counts = only_received_counts or timeouts.receive_idle_s is not None
        self.idle_s = _seconds(timeouts.idle_s if timeouts.receive_idle_s is None else timeouts.receive_idle_s)
        self.message_s = _seconds(timeouts.message_s)
        self.write_s = _seconds(timeouts.write_s)
        self.linger_s = _seconds(timeouts.linger_s)
        self.lifetime_s = _seconds(timeouts.lifetime_s)
        self.finish_s = _seconds(timeouts.drain_s)
        self.message_bytes_per_s = timeouts.message_bytes_per_s or 0  # 0: a message has message_s, however long it is


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

    # -- who waits for whom --------------------------------------------------------------------------------------------

    def _starts(self, now: float, expects_message: bool) -> None:
        """The handler begins, and waits for the peer; for a message of it, unless it has no use for one."""
        self._idle_since = now
        if expects_message:
            self._first_since = now

    def _waits(self, now: float, partial_bytes: int, is_first: bool) -> float:
        """Somebody waits for the peer's next message.

        Args:
            now: The instant.
            partial_bytes: How many bytes of it are there.
            is_first: There was none before.

        Returns:
            The earliest instant at which the peer would be late, or silent; infinity for never. For what counts whether
            or not somebody waits, the timer is set already.
        """
        durations = self._durations
        if self._whose_move != _PEER:
            self._whose_move = _PEER
            self._first_since += now
            self._partial_since += now
        elif self._rare is not None:
            self._rare.message_at_work = False
        if not durations.only_received_counts or self._idle_since == _INFINITY:
            self._idle_since = now
        earliest = self._idle_since + durations.idle_s
        if is_first and self._first_since == _INFINITY:
            self._first_since = now
        if self._first_since != _INFINITY:
            then = self._first_since + durations.first_s
            if then < earliest:
                earliest = then
        if not partial_bytes:  # none is at hand, be it that one was passed over
            self._partial_since = _INFINITY
        else:
            if self._partial_since == _INFINITY:
                self._partial_since = now
            then = self._message_due_at(partial_bytes)
            if then < earliest:
                earliest = then
            if self._rare is not None:
                then = self._hears(now, partial_bytes)
                if then < earliest:
                    earliest = then
        return earliest

    def _is_kept(self, now: float) -> None:
        """It has been idle for long enough, and its handler is asked whether it may stay: it is idle from now on."""
        self._idle_since = now

    def _works(self, now: float) -> None:
        """Nobody waits for its next message any more: its clocks stand still, but for that of an idle connection.

        While a reply of it is waited for they go on.
        """
        if self._whose_move == _PEER and (self._rare is None or not self._rare.asking):
            self._whose_move = _HANDLER
            self._first_since -= now
            self._partial_since -= now

    def _asks(self, now: float, partial_bytes: int, is_first: bool) -> float:
        """A reply of the peer is waited for, whatever its handler does meanwhile. As `_waits`."""
        rare = self._of_few()
        at_work = rare.message_at_work or self._whose_move == _MESSAGE_AT_WORK
        earliest = self._waits(now, partial_bytes, is_first)
        rare.message_at_work = at_work
        rare.asking += 1
        return earliest

    def _lacks(self, now: float, partial_bytes: int, came_bytes: int) -> float:
        """While a reply is waited for: start or stop the clock of a message that may be it, and is not whole.

        Args:
            now: The instant.
            partial_bytes: How many bytes of it are there, behind all that are whole.
            came_bytes: How many bytes came just now; where it is all among them, its clock starts anew.

        Returns:
            When it must be whole; infinity where none has begun.
        """
        if not partial_bytes:
            self._partial_since = _INFINITY
            return _INFINITY
        if partial_bytes <= came_bytes or self._partial_since == _INFINITY:
            self._partial_since = now
        return self._message_due_at(partial_bytes)

    def _asked(self, now: float, receives: bool) -> None:
        """It is waited for no more: it has come, or was given up.

        Args:
            now: The instant.
            receives: Somebody waits for the peer's next message.
        """
        rare = self._of_few()
        rare.asking -= 1
        if rare.asking or receives:
            return
        self._works(now)
        if rare.message_at_work:
            rare.message_at_work = False
            self._whose_move = _MESSAGE_AT_WORK
            if self._can_receive:
                self._idle_since = _INFINITY

    def _has_reply(self) -> None:
        """A reply was complete, which is no message for the handler: whatever is missing after it began later."""
        self._first_since = self._partial_since = _INFINITY
        if self._rare is not None:
            self._has_taken()

    def _has_message(self) -> None:
        """A message was complete: whatever is missing after it, it is not one that began before."""
        self._first_since = self._partial_since = _INFINITY
        if self._rare is not None:
            self._has_taken()
            if self._rare.asking:
                self._rare.message_at_work = True
                return
        self._whose_move = _MESSAGE_AT_WORK
        if self._can_receive:
            self._idle_since = _INFINITY

    def _has_finished(self) -> None:
        """The handler has asked for a message where none will come: it is done with the one before."""
        if self._whose_move == _MESSAGE_AT_WORK:
            self._whose_move = _HANDLER
        if self._rare is not None:
            self._rare.message_at_work = False

    def _has_unfinished(self) -> bool:
        """Say whether the handler is at work on a message."""
        return self._whose_move == _MESSAGE_AT_WORK or (self._rare is not None and self._rare.message_at_work)

    def _peer_ended(self, now: float) -> float:
        """The peer's EOF has come. It is idle from now on, whatever is done about what it has sent.

        Returns:
            As `_due_at`, of an idle connection.
        """
        self._idle_since = now
        return now + self._durations.idle_s

    def _leaves_rest(self, now: float, partial_bytes: int) -> float:
        """All whole messages were handled: start or stop the clock of the one at hand, and wait for the peer again.

        For drivers that always wait for the peer, and never call `_works`.

        Returns:
            As `_due_at`, where a clock was started; else infinity.
        """
        starts = False
        if self._idle_since == _INFINITY:
            self._idle_since = now
            starts = True
        if not partial_bytes:
            self._partial_since = _INFINITY
        else:
            if self._partial_since == _INFINITY:
                self._partial_since = now
                starts = True
            if self._rare is not None and self._hears(now, partial_bytes) != _INFINITY:
                starts = True
        return self._due_at(partial_bytes) if starts else _INFINITY

    # -- silence -------------------------------------------------------------------------------------------------------

    def _listens_for(self, quiet_s: float | None) -> int:
        """From now on a silence of ``quiet_s`` ends a message, as the codec has it; None: none does."""
        if quiet_s is not None:
            self._of_few().silence = Silence(quiet_s)
        elif self._rare is not None:
            self._rare.silence = None
        return 0

    def _hears(self, now: float, partial_bytes: int) -> float:
        """So many bytes of a message are there, by what was read last: the silence after them begins.

        Returns:
            When it will have lasted long enough; infinity for never, and while the peer is not read.
        """
        if self._rare is None or self._rare.silence is None:
            return _INFINITY
        return self._rare.silence.hears(now, partial_bytes)

    def _has_taken(self) -> None:
        """A message was taken: what is left, or comes next, is other bytes, though they be as many."""
        if self._rare is not None and self._rare.silence is not None:
            self._rare.silence.takes()

    def _leaves_behind(self, now: float, partial_bytes: int) -> float:
        """So many bytes are left behind a message that was taken: their silence goes on, or begins.

        Returns:
            As `_hears`.
        """
        if self._rare is None or self._rare.silence is None:
            return _INFINITY
        return self._rare.silence.leaves(now, partial_bytes)

    def _stops_listening(self, now: float) -> None:
        """The peer is not read any more: no silence of its own goes on."""
        if self._rare is not None and self._rare.silence is not None:
            self._rare.silence.stops(now)

    def _listens_again(self, now: float) -> float:
        """The peer is read again. As `_hears`."""
        if self._rare is None or self._rare.silence is None:
            return _INFINITY
        return self._rare.silence.goes_on(now)

    def _is_put_off(self, now: float) -> bool:
        """`_due` said SILENCE as its timer came: say whether it came so late that the silence goes on."""
        return self._rare is not None and self._rare.silence is not None and self._rare.silence.is_put_off(now)

    def _falls_silent(self) -> None:
        """`_expires` said TAKE_REST, and it is done."""
        if self._rare is not None and self._rare.silence is not None:
            self._rare.silence.ends()

    def _silent_at(self) -> float:
        """Return when a silence will have lasted long enough; infinity for never."""
        if self._rare is None or self._rare.silence is None:
            return _INFINITY
        return self._rare.silence.due_at

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
