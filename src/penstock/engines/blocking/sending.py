"""The output of a connection: what is sent, what waits for the kernel, what a peer may be owed."""

from __future__ import annotations

import socket
from abc import abstractmethod
from contextlib import suppress
from typing import TypeVar

from ...codecs.base import Codec
from ...core.endings import why_not
from ...core.events import Event, EventName
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
        "_eof_sent",
        "_error",
        "_leave_reason",
        "_output",
        "_owed_bytes",
        "_records",
        "_senders",
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
        self._output = RecordOutput() if records else StreamOutput()
        self._error: OSError | None = None
        self._leave_reason: CloseReason | None = None  # it closes once the handler at work has returned
        self._eof_sent = False
        self._write_paused = False
        self._owed_bytes = 0  # while output is over the high watermark, as `Host.budget` has it too
        self._senders = 0  # threads that wait until their frame has gone out

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
            self._put(self._encode(message))
        self._tell()

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
            limits = self._host.limits
            limit = limits.write_high_bytes if self._host.budget.exceeded else limits.write_max_bytes
            if len(output) + len(data) > limit:
                self._lose(CloseReason.SLOW_CONSUMER)
                raise SlowPeerError(CloseReason.SLOW_CONSUMER)
        try:
            sent = output.push(self._sock, data)
        except OSError as error:
            self._lost(error)
            raise self._why_not() from error
        self._count_sent(sent)
        if sent == len(data):  # and so nothing was owed before
            return True
        if len(output) > self._host.limits.write_high_bytes:
            self._pause()
        if self._write_paused:
            self._owe(len(output))
        self._wake()
        return False

    def _pause(self) -> None:
        """Read no further until the peer has read what it is owed."""
        if not self._write_paused:
            self._write_paused = True
            self._events.append(Event(EventName.READING_PAUSED, self))
            self._stall_begins()

    def _owe(self, size: int) -> None:
        with self._host.budget_lock:
            self._host.budget.used_bytes += size - self._owed_bytes
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

    def _flush(self) -> bool:
        """Send what the kernel takes now; return whether it took anything."""
        try:
            sent = self._output.flush(self._sock)
        except OSError as error:
            self._lost(error)
            return False
        if sent:
            self._count_sent(sent)
            self._output_sank()
        return sent > 0

    def _output_sank(self) -> None:
        """The peer reads: go on with what waited for that."""
        owed = len(self._output)
        leaving = self._leaving
        # Who waits in `send` waits for the last byte; otherwise the low watermark is enough.
        enough = 0 if leaving or self._senders else self._host.limits.write_low_bytes
        if owed <= enough:
            self._deadlines.stalled_since = None
        elif self._deadlines.stalled_since is not None:
            self._deadlines.stalled_since = self._clock.time()
        paused = self._write_paused and owed > enough
        if self._owed_bytes:
            self._owe(owed if paused else 0)
        if leaving:
            if not owed:
                self._flushed()
            return
        if self._write_paused and not paused:
            self._write_paused = False
            self._events.append(Event(EventName.READING_RESUMED, self))
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
        self._arm_next()
