"""The output of a connection: what is sent, what waits for the kernel, what a peer may be owed."""

from __future__ import annotations

import socket
from abc import abstractmethod
from contextlib import suppress
from typing import TypeVar

from ...codecs.base import Codec
from ...core.endings import why_not
from ...core.events import MessageDropped, ReadingPaused, ReadingResumed
from ...core.send_queue import SendQueue, progressed
from ...core.states import State
from ...errors import SlowPeerError
from ...reasons import CloseReason
from .driving import DrivenSocket, Host
from .output import RecordOutput, StreamOutput
from .poller import Poller

M = TypeVar("M")


class SendingSocket(DrivenSocket[M]):
    """The part of a connection that sends.

    Args:
        host: Who made it.
        sock: As for `DrivenSocket`.
        poller: As for `DrivenSocket`.
        codec: What frames messages.
        records: The socket carries records, not bytes.
    """

    __slots__ = (
        "_backlog",
        "_eof_sent",
        "_error",
        "_leave_reason",
        "_limits",
        "_output",
        "_owed_bytes",
        "_records",
        "_senders",
        "_stalled_bytes",
        "_write_paused",
        "bytes_out",
        "close_reason",
        "codec",
    )

    def __init__(self, host: Host, sock: socket.socket, poller: Poller, codec: Codec[M], *, records: bool) -> None:
        super().__init__(host, sock, poller)
        self.codec = codec
        self.bytes_out = 0
        self.close_reason: CloseReason | None = None
        self._records = records
        self._limits = host.limits
        self._backlog: SendQueue | None = None  # what was posted since, where not all that is owed has to leave
        self._output = RecordOutput() if records else StreamOutput()
        self._error: OSError | None = None
        self._leave_reason: CloseReason | None = None  # it closes once the handler at work has returned
        self._eof_sent = False
        self._write_paused = False
        self._owed_bytes = 0  # as `Host.budget` has it too
        self._stalled_bytes = 0  # what the kernel had taken when the peer's patience for reading began to count
        self._senders = 0  # threads that wait until their frame has gone out

    @abstractmethod
    def cut(self, reason: CloseReason) -> None:
        """End now, for a reason of the server's."""

    @abstractmethod
    def _flushed(self) -> None:
        """The kernel took the last byte of output, and we are leaving."""

    @abstractmethod
    def _lose(self, reason: CloseReason) -> None:
        """End now, by our own will."""

    def post(self, message: M) -> None:
        """Queue one message; never wait. Safe from every thread."""
        with self._lock:
            self._require_sendable()
            data = self._encode(message)
            if self._output and self._limits.slow_consumer != "disconnect":
                self._post_behind(data)
            else:
                self._put(data)
        self._tell()

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark. Safe from every thread."""
        with self._lock:
            self._require_sendable()
            if self._write_paused:
                return False
            self._put(self._encode(message))
        self._tell()
        return True

    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy."""
        with self._lock:
            self._limits = self._limits.merged(**limits)

    def _require_sendable(self) -> None:
        if not self._can_send or self._leave_reason is not None:
            raise self._why_not()

    def _encode(self, message: M) -> bytes:
        return self.codec.encode_datagram(message) if self._records else self.codec.encode(message)

    def _put(self, data: bytes) -> bool:
        """Send one frame, or several; the driver sends what the kernel does not take now.

        Returns:
            Whether the kernel has taken all.

        Raises:
            SlowPeerError: The peer is owed too much. The connection is gone.
            BrokenError: As the kernel says now.
        """
        output = self._output
        if self._write_paused:
            posted_bytes = self._backlog.posted_bytes if self._backlog else 0
            if self._owed_with(data) - posted_bytes > self._most_bytes():
                self._lose(CloseReason.SLOW_CONSUMER)
                raise SlowPeerError(CloseReason.SLOW_CONSUMER)
            if self._backlog:
                self._backlog.keep(data)
                self._owe(self._owed_with(b""))
                return False
        try:
            sent = output.push(self._sock, data)
        except OSError as error:
            self._lost(error)
            raise self._why_not() from error
        self._count_sent(sent)
        if sent == len(data):
            return True
        self._owe(len(output))
        self._end_others()
        if len(output) > self._high_bytes():
            self._pause()
        self._wake()
        return False

    def _most_bytes(self) -> int:
        """Return what the peer may be owed while it is over its high watermark."""
        return self._host.budget.most_bytes(self._limits.write_max_bytes)

    def _high_bytes(self) -> int:
        """Return above how much output is paused: there is less of it where little is left for all."""
        return self._host.budget.most_bytes(self._limits.write_high_bytes)

    def _low_bytes(self) -> int:
        """Return with how much left output resumes."""
        high, low = self._high_bytes(), self._limits.write_low_bytes
        return low if high == self._limits.write_high_bytes else min(low, high // 4)

    def _end_others(self) -> None:
        """Hold the budget: those go whose output has not moved for longest."""
        with self._host.budget_lock:
            debtors = self._host.budget.to_be_ended(self)
        for debtor in debtors:
            assert isinstance(debtor, SendingSocket)
            debtor.cut_unless_busy(CloseReason.OVERLOAD)

    def cut_unless_busy(self, reason: CloseReason) -> None:
        """End it now, unless another thread works on it: that one may be about to end who calls this."""
        if self._lock.acquire(blocking=False):
            try:
                self._lose(reason)
            finally:
                self._lock.release()

    def _post_behind(self, data: bytes) -> None:
        """Queue a posted frame for a peer that is owed something."""
        if (
            not self._write_paused
            and len(self._output) + len(data) > self._high_bytes() < self._limits.write_high_bytes
        ):
            self._pause()
        if self._write_paused:
            self._post_late(data)
        else:
            self._put(data)

    def _owed_with(self, data: bytes) -> int:
        return len(self._output) + len(self._backlog or b"") + len(data)

    def _post_late(self, data: bytes) -> None:
        """Queue a posted frame behind output that is over its high watermark, as the policy has it."""
        backlog = self._backlog = self._backlog or SendQueue()
        dropped = backlog.admit(data, self._limits.slow_consumer, self._owed_with(data) - self._most_bytes())
        self._owe(self._owed_with(b""))
        if dropped is not None:
            self._events.append(MessageDropped(self, self._limits.slow_consumer, *dropped))

    def _refill(self, least_bytes: int) -> None:
        """Send what waits behind the output, until ``least_bytes`` are owed there or nothing is left to send."""
        output, backlog = self._output, self._backlog
        try:
            while backlog and (missing := least_bytes - len(output)) > 0:
                self._count_sent(output.push(self._sock, backlog.take(1 if self._records else missing)))
        except OSError as error:
            self._lost(error)

    def _flush_backlog(self) -> None:
        """Our direction ends: all that waits is output now."""
        self._refill(self._owed_with(b"") + 1)
        if self._state is not State.CLOSED:
            self._owe(self._owed_with(b""))

    def _pause(self) -> None:
        """Read no further until the peer has read what it is owed."""
        if not self._write_paused:
            self._write_paused = True
            self._events.append(ReadingPaused(self))
            self._stall_begins()

    def _owe(self, size: int) -> None:
        if size != self._owed_bytes:
            with self._host.budget_lock:
                self._host.budget.owe(self, size)
            self._owed_bytes = size

    def _send(self, data: bytes) -> None:
        """Send one frame or several; return when the kernel has taken all of it.

        Raises:
            SlowPeerError, BrokenError: The connection ended before.
        """
        if self._put(data):
            return
        mark = self.bytes_out + len(self._output)
        self._senders += 1
        self._pause()  # a thread that waits here is held up, however little it waits for
        try:
            self._drive(lambda: self.bytes_out >= mark or self._state is State.CLOSED)
        finally:
            self._senders -= 1
        if self.bytes_out < mark:
            raise self._why_not()

    def _wait_for_room(self) -> None:
        """Wait until output is no longer over its high watermark, or the connection is leaving."""
        self._drive(lambda: not self._write_paused or self._leaving)

    def _count_sent(self, sent: int) -> None:
        if sent:
            self.bytes_out += sent
            if self._deadlines.idle_since is not None:
                self._deadlines.idle_since = self._clock.time()

    def _flush(self) -> None:
        """Send what the kernel takes now."""
        try:
            sent = self._output.flush(self._sock)
        except OSError as error:
            self._lost(error)
            return
        if sent:
            self._count_sent(sent)
            self._output_sank()

    def _output_sank(self) -> None:
        """The peer reads: go on with what waited for that."""
        owed = len(self._output)
        leaving = self._leaving
        # Who waits in `send` waits for the last byte; otherwise the low watermark is enough.
        enough = 0 if leaving or self._senders else self._low_bytes()
        if self._backlog and owed <= enough:
            self._refill(self._high_bytes() + 1)
            if self._state is State.CLOSED:  # the kernel said just now that nobody is there
                return
            owed = len(self._output)
        if owed <= enough:
            self._deadlines.stalled_since = None
        paused = self._write_paused and owed > enough
        self._owe(self._owed_with(b""))
        if leaving:
            if not owed:
                self._flushed()
            return
        if self._write_paused and not paused:
            self._write_paused = False
            self._events.append(ReadingResumed(self))
        if not owed and self._state in (State.LOCAL_EOF, State.BOTH_EOF):
            self._send_fin()

    def _send_fin(self) -> None:
        if not self._eof_sent:
            self._eof_sent = True
            with suppress(OSError):  # ENOTCONN: the peer was faster; reading finds out
                self._sock.shutdown(socket.SHUT_WR)

    def _why_not(self) -> Exception:
        """Return the error for whoever uses a connection that is no longer there."""
        error = why_not(self._state, self.close_reason, leaving=self._leave_reason is not None)
        error.__cause__ = self._error
        return error

    def _stall_begins(self) -> None:
        self._deadlines.stalled_since = self._clock.time()
        self._stalled_bytes = self.bytes_out
        self._arm_next()

    def _has_progressed(self) -> bool:
        return progressed(self._limits, self.bytes_out - self._stalled_bytes)
