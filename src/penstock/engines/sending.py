"""The output of a connection: framed, gathered, bounded; and a peer that does not read it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from math import inf
from typing import Any, ClassVar, Generic, TypeVar

from ..codecs import guard
from ..codecs.base import Codec
from ..config import OnFull
from ..core.contract import ConnectionBase, refuse_frame
from ..core.endings import why_not
from ..core.events import Event, MessageDropped, ReadingPaused, ReadingResumed
from ..core.law.closing import CLOSED, STATES
from ..core.law.output import ALL_SENT, PAUSE, REFILL, RESUME
from ..core.law.rate import Law
from ..core.send_queue import check_policy
from ..errors import SlowPeerError
from ..reasons import CloseReason
from .context import Context
from .link import Link

M = TypeVar("M")


class SendingConnection(Law, ConnectionBase[M], Generic[M]):
    """The part of a connection that sends.

    Args:
        context: Who made it.
        codec: What makes frames of messages.
        records: Its link carries records, not bytes.
    """

    __slots__ = (
        "_clock",
        "_context",
        "_corked",
        "_corked_bytes",
        "_corking",
        "_gone",
        "_link",
        "_messages_out",
        "_records",
        "codec",
        "due_at",
        "place",
    )

    _reads_on: ClassVar[bool] = False  # a client's: its peer is read though it does not read (law 7)
    _link: Link

    def __init__(self, context: Context, codec: Codec[M], *, records: bool) -> None:
        super().__init__(context.levels, context.durations, context.clock.time())
        self._context = context
        self._clock = context.clock
        self.codec = codec
        self._records = records
        self._gone = False  # its link is gone; of threads: its socket is closed
        self.due_at = inf
        self.place: Any = None
        # Output gathered while a batch of messages is handled, to leave in one write; and before there is a link.
        self._corking = True
        self._corked: list[bytes] = []
        self._corked_bytes = 0
        self._messages_out = 0  # without those that are gathered

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def cut(self, reason: CloseReason) -> None:
        """End now, for a reason of the server's."""

    @abstractmethod
    def _output_resumed(self) -> None:
        """Output fell to the low watermark."""

    @abstractmethod
    def _pause_reading(self) -> None:
        """Have the link read no further."""

    @abstractmethod
    def _all_sent(self) -> None:
        """Nothing is left to send, and the connection is closing."""

    @abstractmethod
    def _lose(self, reason: CloseReason) -> None:
        """End now."""

    @abstractmethod
    def _arm(self, when: float) -> None:
        """Have `expired` called no later than ``when``."""

    @abstractmethod
    def _emit(self, event: Event) -> None:
        """Tell an event, now or when no lock is held."""

    def _wake_senders(self) -> None:
        """Have everybody look again who waits for room."""

    def _waits_for_last_byte(self) -> bool:
        """Whether somebody waits until the kernel has taken all, and not only until there is room."""
        return False

    # -- the budget of all peers, which several threads may share ------------------------------------------------------

    def _room_bytes(self) -> int:
        """Return what a peer may be owed for all that the others are."""
        return self._context.budget.room_bytes()

    def _owe(self, size: int) -> None:
        if size != self._owed_bytes():
            self._context.budget.owe(self, size)
            self._owes(size)

    def _end_others(self) -> None:
        """Hold the budget: those go whose output has not moved for longest."""
        for debtor in self._context.budget.to_be_ended(self):
            debtor.cut(CloseReason.OVERLOAD)

    # -- sending -------------------------------------------------------------------------------------------------------

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message; never wait."""
        if on_full is not None:
            on_full = check_policy("on_full", on_full, key)
        self._require_sendable()
        self._post(self._encode(message), on_full, key)

    def frame(self, message: M) -> bytes:
        """Return what `post` would queue for a message."""
        return self._encode(message)

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message that is framed already."""
        refuse_frame(frame)
        if on_full is not None:
            on_full = check_policy("on_full", on_full, key)
        self._require_sendable()
        self._post(frame, on_full, key)

    def post_joined(self, frames: bytes, count: int) -> None:
        """Queue several messages whose frames are one string of bytes already."""
        self.post_frame(frames)
        self._messages_out += count - 1

    def _post(self, data: bytes, on_full: OnFull | None, key: Hashable) -> None:
        can_drop = self._levels.can_drop if on_full is None else on_full != "disconnect"
        if can_drop and self._attached and self._link.queued_bytes:
            self._post_behind(data, on_full or self._levels.limits.slow_consumer, key)
        else:
            self._put(data)

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark."""
        self._require_sendable()
        if self._corked and self._attached and self._link.queued_bytes:
            self._uncork()  # what was gathered counts, and goes behind what waits
        if self._write_paused or self._corked_bytes > self._levels.high:
            return False
        self._put(self._encode(message))
        return True

    @property
    def messages_out(self) -> int:  # type: ignore[override]
        """Messages that were taken to be sent."""
        return self._messages_out + len(self._corked)

    @property
    def queued_bytes(self) -> int:
        """Bytes that were taken to be sent and that the kernel has not taken yet."""
        if self._gone:
            return 0
        return self._held_output() + (self._link.queued_bytes if self._attached else 0)

    @property
    def server(self) -> Any:
        """Whose connection it is; None for a client's."""
        return self._context.server

    @property
    def output_paused(self) -> bool:
        """Whether output is over its high watermark, and has not sunk to the low one since."""
        return bool(self._write_paused)

    @property
    def slow_consumer(self) -> str:
        """What `post` does when the peer would be owed too much."""
        return str(self._levels.limits.slow_consumer)

    @property
    def raises_when_full(self) -> bool:
        """Whether `post` says to its caller that there is no room."""
        return bool(self._levels.limits.slow_consumer == "raise")

    def refusal(self) -> Exception | None:
        """Return what `post` would raise whatever the message, or None."""
        return None if self._can_send and self._close_after is None else self._why_not()

    def _require_sendable(self) -> None:
        if not self._can_send or self._close_after is not None:
            raise self._why_not()

    def _why_not(self) -> Exception:
        """Return the error for a use of a connection that is no longer there."""
        return why_not(STATES[self._state], self.close_reason, leaving=self._close_after is not None)

    def _encode(self, message: M) -> bytes:
        if self._records:
            return guard.encode_datagram(self.codec, message)
        codec = self.codec
        try:  # as `guard` does: here it would be a call more for each message
            data = codec.encode(message)
        except Exception as error:
            raise guard.failure(codec, "encode", error)  # noqa: B904 - as there
        return data if type(data) is bytes else guard.as_bytes(codec, "encode", data)

    def _put(self, data: bytes) -> None:
        """Send one frame, in the order of the calls.

        Raises:
            SlowPeerError: The peer is owed too much. The connection is gone.
        """
        if not self._can_send:  # the codec ended the connection, or our direction, while it encoded
            return
        if self._write_paused:
            self._charge(len(data))
            if queue := self._queue_if_any():
                queue.keep(data)
                self._messages_out += 1
                return
        if self._corking:
            self._corked.append(data)
            self._corked_bytes += len(data)
            if self._corked_bytes > self._levels.high:
                self._uncork()
        else:
            if self._corked:
                self._uncork()
            self._messages_out += 1
            self._write(data)

    def _put_joined(self, data: bytes, count: int) -> None:
        """Send the frames of one batch."""
        if self._can_send:
            self._messages_out += count - 1
            self._put(data)

    def _write(self, data: bytes) -> None:
        """Hand bytes to the link. What fails before that has changed nothing; after it, the bytes are counted."""
        # A reply moves the clock of a peer that has sent EOF: its messages may queue up behind the one at work.
        if self._idle_since != inf and (
            not self._can_receive or not (self._handling or self._durations.only_received_counts)
        ):
            self._idle_since = self._clock.time()
        queued_bytes = self._link.send(data)
        self.bytes_out += len(data)
        if queued_bytes:
            self._output_queued(queued_bytes)

    def _uncork(self) -> None:
        corked = self._corked
        if not corked or not self._attached:
            return
        if self._state == CLOSED:
            self._let_go_of_corked()
            return
        frames = corked if self._records or len(corked) == 1 else [b"".join(corked)]
        size, began, before, at = self._corked_bytes, self.bytes_out, -1, 0
        self._let_go_of_corked()
        try:
            for frame in frames:
                before = self.bytes_out
                self._write(frame)
                at += 1
        except BaseException:
            # At the limit of recursion, say. What the link was not given stays: it is not of the message that failed.
            if self.bytes_out != before:
                at += 1
            if self._state != CLOSED and at < len(frames):
                rest = corked[at:]
                self._messages_out -= len(rest)
                self._corked = rest + self._corked
                self._corked_bytes += size - (self.bytes_out - began)
            raise

    def _let_go_of_corked(self) -> None:
        self._messages_out += len(self._corked)
        self._corked = []
        self._corked_bytes = 0

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        if self._sends_eof():
            self._wake_senders()
            if self._attached:
                self._send_all()
                if self._state != CLOSED:
                    self._link.send_eof()

    def _send_all(self) -> None:
        """Our direction ends: hand the link all that waits for it."""
        self._uncork()
        queue = self._queue_if_any()
        while queue and self._state != CLOSED:
            self._write(queue.take(1 if self._records else len(queue)))

    # -- what waits ----------------------------------------------------------------------------------------------------

    def _held_output(self) -> int:
        """Return how many bytes are gathered, or wait behind the link."""
        return self._corked_bytes + len(self._queue_if_any() or b"")

    def _charge(self, size: int) -> None:
        """Hold what a peer that does not read is owed to the hard limit."""
        room_bytes = self._room_bytes()
        self._owe(self._owed_bytes() + size)
        if self._is_too_much(self._owed_bytes(), room_bytes):
            self._recount(size)
            if self._is_too_much(self._owed_bytes(), room_bytes):
                self._lose(CloseReason.SLOW_CONSUMER)
                raise SlowPeerError(CloseReason.SLOW_CONSUMER)

    def _recount(self, size: int) -> int:
        """Take what the link has sent meanwhile off what is owed, with ``size`` bytes on their way; return it.

        Only where it matters: a loop's own transport does not tell, and may have to add up as much as it has chunks.
        """
        before = self._owed_bytes()
        self._owe(self._link.queued_bytes + self._held_output() + size)
        return before - self._owed_bytes()

    def _post_behind(self, data: bytes, policy: OnFull, key: Hashable) -> None:
        """Queue a posted frame for a peer that is owed something."""
        if self._crowds(len(data), self._link.queued_bytes + self._corked_bytes, self._room_bytes()):
            self._uncork()
            if self._link.queued_bytes:
                self._obey(self._pauses(self._link.queued_bytes, self._clock.time()))
        if self._write_paused:
            self._post_late(data, policy, key)
        else:
            self._put(data)

    def _post_late(self, data: bytes, policy: OnFull, key: Hashable) -> None:
        """Queue a posted frame behind a full link, or have something give way, as the policy has it."""
        queue = self._queue()
        excess_bytes = self._excess_bytes(self._owed_bytes() + len(data), self._room_bytes())
        if excess_bytes > 0:
            excess_bytes -= self._recount(0)
        before = len(queue)
        dropped = queue.admit(data, policy, excess_bytes, key)
        self._messages_out += 1
        self._owe(self._owed_bytes() + len(queue) - before)
        if dropped is not None:
            self._emit(MessageDropped(self, policy, *dropped))

    def _output_queued(self, queued_bytes: int) -> None:
        """The link holds that many bytes, more than before: count them, and stop where it is too much."""
        self._owe(queued_bytes + len(self._queue_if_any() or b""))
        self._end_others()
        self._obey(self._queued(queued_bytes, self._room_bytes(), self._clock.time()))

    def output_sank(self) -> None:
        """The kernel took some of what waited for it: the peer reads."""
        if self._state == CLOSED:
            return
        link, room_bytes, now = self._link, self._room_bytes(), self._clock.time()
        enough_bytes = 0 if self._waits_for_last_byte() else self._low(room_bytes)
        verdict = self._sank(link.queued_bytes, enough_bytes, now)
        if verdict == REFILL:
            high, queue = self._high(room_bytes), self._queue_if_any()
            while queue and (left_bytes := high - link.queued_bytes) >= 0:
                self._write(queue.take(1 if self._records else left_bytes + 1))
                if self._state == CLOSED:
                    return
            verdict = self._refilled(link.queued_bytes, room_bytes, now)
            if not verdict:
                self._arm(now + self._durations.write_s)
        self._owe(link.queued_bytes + len(self._queue_if_any() or b""))
        if self._write_paused and not self._closing:
            self._await_low()
        self._obey(verdict)

    def _obey(self, verdict: int) -> None:
        """Do what the law of output says."""
        if verdict == PAUSE:
            self._await_low()
            if not self._reads_on:
                self._emit(ReadingPaused(self))
            self._arm(self._stalled_since + self._durations.write_s)
            if not self._reads_on:
                self._pause_reading()
        elif verdict == RESUME:
            self._await_notice()
            if not self._reads_on:
                self._emit(ReadingResumed(self))
            self._output_resumed()
        elif verdict == ALL_SENT:
            self._all_sent()

    def _await_low(self) -> None:
        """Have the link say when it holds no more than lets output go on, also where it holds less by now."""
        low = 0 if self._waits_for_last_byte() else self._low(self._room_bytes())
        self._link.watch(low, low)

    def _await_notice(self) -> None:
        """Have the link say when it holds what has to be counted."""
        high = self._context.budget.uncounted_bytes(self._levels.high)
        self._link.watch(high, self._levels.low if high == self._levels.high else high // 4)

    def _stall_begins(self) -> None:
        now = self._clock.time()
        self._arm(self._stalls(self._link.queued_bytes, now))

    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy."""
        self._levels = self._context.levels_of(self._levels.limits.merged(**limits))
        if self._attached and not self._closing:
            self._await_notice()
            self._output_queued(self._link.queued_bytes)
