# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""Who waits for whom: since when a peer's silence is held against it, and what a silence ends."""

# ruff: noqa: PLR1730 - `min`, which the interpreter calls, costs more than all else here

from __future__ import annotations

from math import inf

from .deadlines import HANDLER, MESSAGE_AT_WORK, PEER, Deadlines
from .silence import Silence

_PEER, _HANDLER, _MESSAGE_AT_WORK = PEER, HANDLER, MESSAGE_AT_WORK
_INFINITY = inf


class Waiting(Deadlines):
    """The instants of `Deadlines`, as somebody begins to wait for the peer, or works on what it has sent.

    Args:
        durations: As of `Deadlines`.
        now: The instant.
    """

    __slots__ = ()

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
