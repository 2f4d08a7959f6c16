"""The output of a connection on an asyncio transport: framed, gathered, bounded; and a peer that does not read it."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections import deque
from typing import TypeVar

from ...codecs.base import Codec
from ...core.endings import why_not
from ...core.events import MessageDropped, ReadingPaused, ReadingResumed
from ...core.send_queue import SendQueue, progressed
from ...core.states import Happening, State
from ...errors import SlowPeerError
from ...reasons import CloseReason
from ..timed import TimedConnection
from .host import Host

M = TypeVar("M")


class SendingConnection(TimedConnection[M]):
    """The part of a connection that sends.

    Args:
        host: Who made it.
        codec: What makes frames of messages.
        records: The transport carries records, not bytes.
    """

    __slots__ = (
        "_attached",
        "_backlog",
        "_corked",
        "_corked_bytes",
        "_corking",
        "_handling",
        "_host",
        "_leave_reason",
        "_limits",
        "_noticed",
        "_owed_bytes",
        "_records",
        "_send_waiters",
        "_stalled_bytes",
        "_transport",
        "_write_paused",
        "bytes_out",
        "close_reason",
        "codec",
    )

    _transport: asyncio.Transport

    def __init__(self, host: Host, codec: Codec[M], *, records: bool) -> None:
        super().__init__(host.clock, host.alarms, host.timeouts)
        self.codec = codec
        self.bytes_out = 0
        self.close_reason: CloseReason | None = None
        self._host = host
        self._limits = host.limits
        self._records = records
        self._attached = False  # there is a transport, or was
        # While a callback or a message handler runs, closing waits for its return: its reply is still sent.
        self._handling = False
        self._leave_reason: CloseReason | None = None
        # Output gathered while a batch of messages is handled, to leave in one write; and before there is a transport.
        self._corking = True
        self._corked: list[bytes] = []
        self._corked_bytes = 0
        self._write_paused = False
        self._backlog: SendQueue | None = None  # what was posted since, where not all that is owed has to leave
        self._noticed = False  # so much waits for the kernel that it is counted
        self._owed_bytes = 0  # as `Host.budget` has it too
        self._stalled_bytes = 0  # what the kernel had taken when the peer's patience for reading began to count
        self._send_waiters: deque[asyncio.Future[None]] = deque()

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def cut(self, reason: CloseReason) -> None:
        """End now, for a reason of the server's."""

    @abstractmethod
    def _output_resumed(self) -> None:
        """Output fell to the low watermark."""

    @abstractmethod
    def _pause_reading(self) -> None:
        """Have the transport read no further."""

    @abstractmethod
    def _flushed(self) -> None:
        """Nothing is left to flush, and the connection leaves."""

    @abstractmethod
    def _lose(self, reason: CloseReason) -> None:
        """End now."""

    # -- sending -------------------------------------------------------------------------------------------------------

    def post(self, message: M) -> None:
        """Queue one message; never wait."""
        if not self._can_send or self._leave_reason is not None:
            raise self._why_not()
        data = self._encode(message)
        if self._noticed and self._limits.slow_consumer != "disconnect":
            self._post_behind(data)
        else:
            self._put(data)

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark."""
        if not self._can_send or self._leave_reason is not None:
            raise self._why_not()
        if self._corked and self._attached and self._transport.get_write_buffer_size():
            self._uncork()  # what was gathered counts, and goes behind what waits
        if self._write_paused or self._corked_bytes > self._limits.write_high_bytes:
            return False
        self._put(self._encode(message))
        return True

    @property
    def raises_when_full(self) -> bool:
        """Whether `post` says to its caller that there is no room."""
        return self._limits.slow_consumer == "raise"

    def refusal(self) -> Exception | None:
        """Return what `post` would raise whatever the message, or None."""
        return None if self._can_send and self._leave_reason is None else self._why_not()

    def _encode(self, message: M) -> bytes:
        return self.codec.encode_datagram(message) if self._records else self.codec.encode(message)

    def _put(self, data: bytes) -> None:
        """Send one frame, or the frames of one batch, in the order of the calls."""
        if not self._can_send:  # the codec ended the connection, or our direction, while it encoded
            return
        if self._write_paused:
            self._charge(len(data))
            if self._backlog:
                self._backlog.keep(data)
                return
        if self._corking:
            self._corked.append(data)
            self._corked_bytes += len(data)
            if self._corked_bytes > self._limits.write_high_bytes:
                self._uncork()
        else:
            if self._corked:
                self._uncork()
            self._write(data)

    def _write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        deadlines = self._deadlines
        if not self._handling and deadlines.idle_since is not None:
            deadlines.idle_since = self._clock.time()
        self._transport.write(data)
        if self._noticed:
            self._watch_output()

    def _uncork(self) -> None:
        corked = self._corked
        if not corked or not self._attached:
            return
        self._corked = []
        self._corked_bytes = 0
        if self._state is State.CLOSED:
            return
        if self._records:
            for record in corked:
                self._write(record)
        else:
            self._write(corked[0] if len(corked) == 1 else b"".join(corked))

    def _charge(self, size: int) -> None:
        """Hold what a peer that does not read is owed to the hard limit."""
        limit = self._most_bytes() + (self._backlog.posted_bytes if self._backlog else 0)
        self._owe(self._owed_bytes + size)
        if self._owed_bytes > limit:
            self._recount(size)
            if self._owed_bytes > limit:
                self._lose(CloseReason.SLOW_CONSUMER)
                raise SlowPeerError(CloseReason.SLOW_CONSUMER)

    def _recount(self, size: int) -> int:
        """Take what the transport has sent meanwhile off what is owed, with ``size`` bytes on their way; return it.

        Only where it matters: asking somebody else's transport may cost as much as it has chunks.
        """
        held_bytes = self._corked_bytes + len(self._backlog or b"")
        before = self._owed_bytes
        self._owe(self._transport.get_write_buffer_size() + held_bytes + size)
        return before - self._owed_bytes

    def _most_bytes(self) -> int:
        """Return what the peer may be owed while it is over its high watermark."""
        return self._host.budget.most_bytes(self._limits.write_max_bytes)

    def _post_behind(self, data: bytes) -> None:
        """Queue a posted frame for a peer that is owed something."""
        high = self._high_bytes()
        waiting_bytes = self._transport.get_write_buffer_size() + self._corked_bytes
        if not self._write_paused and waiting_bytes + len(data) > high < self._limits.write_high_bytes:
            self._uncork()
            self._stop_writing()
        if self._write_paused:
            self._post_late(data)
        else:
            self._put(data)

    def _post_late(self, data: bytes) -> None:
        """Queue a posted frame behind a full transport, or have something give way, as the policy has it."""
        backlog = self._backlog = self._backlog or SendQueue()
        excess_bytes = self._owed_bytes + len(data) - self._most_bytes()
        if excess_bytes > 0:
            excess_bytes -= self._recount(0)
        before = len(backlog)
        dropped = backlog.admit(data, self._limits.slow_consumer, excess_bytes)
        self._owe(self._owed_bytes + len(backlog) - before)
        if dropped is not None:
            self._host.emit(MessageDropped(self, self._limits.slow_consumer, *dropped))

    def _refill(self) -> bool:
        """Hand the transport what waits behind it, up to the high watermark; return whether it is over that again."""
        backlog, high, transport = self._backlog, self._high_bytes(), self._transport
        while backlog and (left := high - transport.get_write_buffer_size()) >= 0:
            self._write(backlog.take(1 if self._records else left + 1))
        if transport.get_write_buffer_size() <= high:
            return False
        self._await_low()
        self._stall_began()
        return True

    def _flush_backlog(self) -> None:
        """Our direction ends: hand the transport all that waits behind it."""
        while self._backlog:
            self._write(self._backlog.take(1 if self._records else len(self._backlog)))

    def _owe(self, size: int) -> None:
        if size != self._owed_bytes:
            self._host.budget.owe(self, size)
            self._owed_bytes = size

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        if self._can_send:
            self._happen(Happening.SEND_EOF)
            if self._attached:
                self._uncork()
                self._flush_backlog()
                self._write_eof()

    def _write_eof(self) -> None:
        # ENOTCONN: the peer's reset has arrived and was not read yet. Reading it ends the connection.
        with contextlib.suppress(OSError):
            self._transport.write_eof()

    def _why_not(self) -> Exception:
        """Return the error for whoever uses a connection that is no longer there."""
        return why_not(self._state, self.close_reason, leaving=self._leave_reason is not None)

    # -- a peer that does not read -------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """So much waits for the kernel that it counts; or some is left to flush at the close."""
        self._noticed = True
        self._watch_output()

    def resume_writing(self) -> None:
        """Output fell to the low watermark; after a close, to nothing."""
        self._noticed = False
        if self._write_paused and not self._leaving:
            self._await_notice()
            if self._backlog and self._refill():
                return
        was_paused, self._write_paused = self._write_paused, False
        if not self._noticed:
            self._owe(0)
        self._deadlines.stalled_since = None
        if self._leaving:
            self._flushed()
        elif was_paused:
            self._host.emit(ReadingResumed(self))
            self._wake_senders()
            self._output_resumed()

    def _await_notice(self) -> None:
        """Have the transport say when it holds what has to be counted."""
        high = self._host.budget.uncounted_bytes(self._limits.write_high_bytes)
        low = self._limits.write_low_bytes if high == self._limits.write_high_bytes else high // 4
        self._transport.set_write_buffer_limits(high=high, low=low)

    def _await_low(self) -> None:
        """Have it say when output may go on. It is over its mark."""
        high, low = self._high_bytes(), self._limits.write_low_bytes
        self._transport.set_write_buffer_limits(
            high=high, low=low if high == self._limits.write_high_bytes else high // 4
        )

    def _high_bytes(self) -> int:
        """Return above how much output is paused: there is less of it where little is left for all."""
        return self._host.budget.most_bytes(self._limits.write_high_bytes)

    def _watch_output(self) -> None:
        """Count what waits for the kernel, and stop where it is too much."""
        waiting_bytes = self._transport.get_write_buffer_size()
        self._owe(waiting_bytes + len(self._backlog or b""))
        for debtor in self._host.budget.to_be_ended(self):
            debtor.cut(CloseReason.OVERLOAD)
        if waiting_bytes > (0 if self._leaving else self._high_bytes()):
            self._stop_writing()

    def _stop_writing(self) -> None:
        if self._write_paused:
            return
        self._write_paused = True
        if not self._leaving:
            self._await_low()
            self._host.emit(ReadingPaused(self))
            self._stall_began()
            self._pause_reading()

    def _wake_senders(self) -> None:
        while self._send_waiters:
            waiter = self._send_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _stall_began(self) -> None:
        now = self._clock.time()
        self._deadlines.stalled_since = now
        self._stalled_bytes = self._taken_bytes()
        if (write_s := self._deadlines.timeouts.write_s) is not None:
            self._arm(now + write_s)

    def _taken_bytes(self) -> int:
        return self.bytes_out - self._transport.get_write_buffer_size()

    def _has_progressed(self) -> bool:
        return progressed(self._limits, self._taken_bytes() - self._stalled_bytes)

    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy."""
        self._limits = self._limits.merged(**limits)
        if self._attached and not self._leaving:
            if self._write_paused:
                self._await_low()
            else:
                self._await_notice()
                if self._noticed:
                    self._watch_output()
