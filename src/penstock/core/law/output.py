# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""What one peer is owed, and whether it reads.

The link holds what the kernel did not take. Behind it, where a policy may give some of it up, stands a queue of whole
frames (`core.send_queue`). The engine tells how much the link holds, and how much all peers together may still be owed.
"""

from __future__ import annotations

from math import inf

from ..send_queue import SendQueue
from .durations import Durations
from .levels import Levels
from .waiting import Waiting

_INFINITY = inf

# Verdicts of `_queued` and `_sank`.
PAUSE = 512  # say so, and read no further: output is over its high watermark
RESUME = 1024  # say so, and go on: it has fallen to the low one
REFILL = 2048  # hand the link what waits behind it, until it holds more than `_high`; then ask `_refilled`
ALL_SENT = 4096  # nothing is left, and the connection is closing: ask `_sent_all`
_PAUSE, _RESUME, _REFILL, _ALL_SENT = PAUSE, RESUME, REFILL, ALL_SENT


class Output(Waiting):
    """The output of one connection, in bytes.

    Args:
        levels: Its limits.
        durations: As of `Deadlines`.
        now: The instant.

    Attributes:
        bytes_out: Bytes handed to the link.
        _levels: Its limits.
        _write_paused: Output went over the high watermark, and has not fallen to the low one since.
    """

    __slots__ = ("_levels", "_write_paused", "bytes_out")

    def __init__(self, levels: Levels, durations: Durations, now: float) -> None:
        super().__init__(durations, now)
        self._begin_output(levels)

    def _begin_output(self, levels: Levels) -> None:
        self.bytes_out = 0
        self._levels = levels
        self._write_paused = False

    # -- watermarks ----------------------------------------------------------------------------------------------------

    def _high(self, room_bytes: int) -> int:
        """Return above how much output is paused.

        Args:
            room_bytes: What a peer may be owed for all that the others are: there is less where little is left.
        """
        return min(self._levels.high, room_bytes)

    def _low(self, room_bytes: int) -> int:
        """Return with how much left it goes on."""
        levels = self._levels
        return levels.low if levels.high <= room_bytes else min(levels.low, room_bytes // 4)

    def _queued(self, queued_bytes: int, room_bytes: int, now: float) -> int:
        """The link holds that much now, more than before.

        Returns:
            PAUSE, once; or 0.
        """
        if queued_bytes <= (0 if self._closing else self._high(room_bytes)):
            return 0
        return self._pauses(queued_bytes, now)

    def _pauses(self, queued_bytes: int, now: float) -> int:
        """Output is paused until the link holds less: as `_queued` says, or before a frame that is to wait behind it.

        Returns:
            PAUSE, once; or 0.
        """
        if self._write_paused:
            return 0
        self._write_paused = True
        if self._closing:
            return 0
        self._stalls(queued_bytes, now)
        return _PAUSE

    def _sank(self, queued_bytes: int, enough_bytes: int, now: float) -> int:
        """The link holds that much now, less than before.

        Args:
            queued_bytes: What it holds.
            enough_bytes: With how much it may go on: what `_low` says, or 0 while somebody waits for the last byte.
            now: The instant.

        Returns:
            ALL_SENT, REFILL, RESUME or 0.
        """
        if self._idle_since != _INFINITY and not (self._can_receive and self._durations.only_received_counts):
            self._idle_since = now
        if self._closing:
            if queued_bytes:
                return 0
            self._write_paused = False
            self._stalled_since = _INFINITY
            return _ALL_SENT
        if not self._write_paused or queued_bytes > enough_bytes:
            return 0
        return _REFILL if self._queue_if_any() else self._resumes()

    def _refilled(self, queued_bytes: int, room_bytes: int, now: float) -> int:
        """What waited behind the link was handed to it, as far as the high watermark lets.

        Returns:
            RESUME; or 0: the link is over that again, and the peer's time to read begins anew.
        """
        if self._closing:
            return 0
        if queued_bytes > self._high(room_bytes):
            self._stalls(queued_bytes, now)
            return 0
        return self._resumes()

    def _resumes(self) -> int:
        self._write_paused = False
        self._stalled_since = _INFINITY
        return _RESUME

    # -- a peer that does not read -------------------------------------------------------------------------------------

    def _stalls(self, queued_bytes: int, now: float) -> float:
        """The peer's time to read begins to count. Return when it is over; infinity for never."""
        self._stalled_since = now
        self._of_few().taken_bytes = self.bytes_out - queued_bytes
        return now + self._durations.write_s

    def _has_progressed(self, queued_bytes: int) -> bool:
        """Say whether the peer has read as much since as has to be read for reading it to go on."""
        if self._rare is None:
            return False
        return self.bytes_out - queued_bytes - self._rare.taken_bytes >= self._levels.step

    # -- what waits ----------------------------------------------------------------------------------------------------

    def _queue_if_any(self) -> SendQueue | None:
        """Return what waits behind the link; None where nothing ever did."""
        return None if self._rare is None else self._rare.queue

    def _queue(self) -> SendQueue:
        """Return the same, to put something there."""
        rare = self._of_few()
        if rare.queue is None:
            rare.queue = SendQueue()
        return rare.queue

    def _owed_bytes(self) -> int:
        """Return what the peer is owed, as the budget of all peers has it."""
        return 0 if self._rare is None else self._rare.owed_bytes

    def _owes(self, size: int) -> int:
        """The budget has it that the peer is owed so many bytes from now on."""
        if size or self._rare is not None:
            self._of_few().owed_bytes = size
        return 0

    # -- what it may be owed -------------------------------------------------------------------------------------------

    def _is_too_much(self, owed_bytes: int, room_bytes: int) -> bool:
        """Say whether a peer that is owed so much is to be disconnected: more than its limit has to be sent.

        Args:
            owed_bytes: All of it, what waits behind the link and may be dropped included.
            room_bytes: What all others leave.
        """
        queue = self._queue_if_any()
        posted_bytes = queue.posted_bytes if queue else 0
        return owed_bytes > min(self._levels.most, room_bytes) + posted_bytes

    def _excess_bytes(self, owed_bytes: int, room_bytes: int) -> int:
        """Return how far a peer that is owed so much would be over its limit; 0 or less: it is not."""
        return owed_bytes - min(self._levels.most, room_bytes)

    def _crowds(self, size: int, queued_bytes: int, room_bytes: int) -> bool:
        """Say whether a posted frame is to wait behind the link, though that is not over its own high watermark.

        So it is where little is left for all peers: what the link has been handed can no longer be given up.
        """
        high = self._high(room_bytes)
        return not self._write_paused and queued_bytes + size > high and high < self._levels.high

    # -- the end -------------------------------------------------------------------------------------------------------

    def _forgets_output(self) -> None:
        """The link is gone: nothing waits for it any more."""
        if self._rare is not None:
            self._rare.queue = None
        self._write_paused = False
