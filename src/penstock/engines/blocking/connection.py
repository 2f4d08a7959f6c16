"""One peer, as a thread sees it: send and receive that wait, iteration, a file object."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Final, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...codecs.raw import Raw
from ...core.blocking import BlockingConnection
from ...core.contract import refuse_frame
from ...core.cutters import exactly, no_stream, until
from ...core.deadline import Deadline
from ...core.law.closing import CLOSED
from ...core.tls import TlsInfo
from ...errors import FrameTooLongError, LocalProtocolError, Phase
from ...reasons import CloseReason
from ..forked import duplicate
from ..link import LayerMaker
from ..receiving import PREFETCH, BadMessagePassedError, ReceivingConnection
from .file import ConnectionFile, TextPair
from .guarding import ThreadContext
from .parking import CAN_PARK, PARK_S
from .poller import Poller
from .shared import SharedConnection

M = TypeVar("M")

ANOTHER_RECEIVES: Final = "another thread is already receiving from this connection"


class ThreadConnection(ReceivingConnection[M], SharedConnection[M], BlockingConnection[M]):
    """A blocking connection: its thread waits on the socket itself."""

    __slots__ = (
        "_batch_size",
        "_blames",
        "_counts_first",
        "_cutter",
        "_expired",
        "_prefetch",
        "_read_s",
        "_ready",
        "_silence_counted",
    )

    def __init__(
        self,
        context: ThreadContext,
        sock: socket.socket,
        poller: Poller,
        codec: Codec[M],
        *,
        peer: Peer,
        local: Address,
        records: bool = False,
        layer: LayerMaker | None = None,
    ) -> None:
        super().__init__(context, sock, poller, codec, peer=peer, local=local, records=records, layer=layer)
        self._begin_receiving()
        self._prefetch = PREFETCH
        self._read_s: float | None = None  # how long `receive` waits where it is not told
        self._blames = True  # the peer is held to its deadlines while somebody waits for it
        self._counts_first = True  # a first message is waited for

    def wait_tls(self, timeout_s: float | None = None) -> TlsInfo:
        """Wait until the TLS handshake is done."""
        with self._lock:
            if self.is_to_be_secured:
                raise LocalProtocolError("TLS begins once this handler has returned: it cannot wait for that")
            limit = self._limit_of(timeout_s)
            given_up = self._lead_until(limit, lambda: self._upgrade is None or bool(self._closing))
            info = self.tls
            if given_up and limit is not None and info is None:
                raise limit.error()
            if info is None:
                raise LocalProtocolError("there is no TLS") if self._can_send else self._why_not()
        self._tell()
        return info

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, timeout_s: float | None = None) -> M:
        """Return the next message."""
        while True:
            try:
                return self._receive(timeout_s)
            except BadMessagePassedError as passed:  # who is told of it is called without the lock
                self._answer_bad_message(passed.error)

    def _receive(self, timeout_s: float | None) -> M:
        with self._lock:
            message = self._next(timeout_s)
        if self._events:
            self._tell()
        return message

    def _next(self, timeout_s: float | None) -> M:
        limit = self._limit_of(timeout_s) if self._levels.message_step_s else None
        if not self._ready or self._expired is not None:
            self._fill(timeout_s)
        if self._levels.message_step_s:
            self._await_token(limit)
            if not self._ready:  # the connection has closed
                self._fill(timeout_s)
        message = self._ready.popleft()
        self.messages_in += 1
        return message

    def receive_exactly(self, n: int, timeout_s: float | None = None, *, max_bytes: int | None = None) -> bytes:
        """Return the next ``n`` bytes, past the codec."""
        try:
            cutter = exactly(n, self.codec, max_bytes)
        except FrameTooLongError as error:
            with self._lock:
                if not (self._closing or self._has_refused()):
                    self._break_off(error)
            self._tell()
            raise
        return self._next_by(cutter, timeout_s)

    def receive_until(self, delimiter: bytes, max_bytes: int | None = None, timeout_s: float | None = None) -> bytes:
        """Return the bytes up to the next delimiter, past the codec."""
        return self._next_by(until(delimiter, self.codec, max_bytes), timeout_s)

    def _next_by(self, cutter: Codec[bytes] | None, timeout_s: float | None) -> bytes:
        if self._records:
            raise no_stream()
        if cutter is None:
            return b""
        with self._lock:
            if self._receiving or self._cutter is not None:
                raise LocalProtocolError(ANOTHER_RECEIVES)
            taken: Any = self._take_past(cutter)
            if taken is None:
                self._lend(cutter)
                try:
                    taken = self._next(timeout_s)
                finally:
                    self._take_back()
        self._tell()
        return taken  # type: ignore[no-any-return]

    def _await_token(self, limit: Deadline | None = None) -> None:
        """Wait until the next message may be handed out at the rate its peer may send at; close if it must not wait.

        Raises:
            TimeoutError: The limit passed before that.
        """
        while not self._is_told_to_close():
            now = self._clock.time()
            if limit is not None and now >= limit.at:
                raise limit.error()
            if self._takes_token():
                return
            self._arm_next()
            self._lead_until_token(limit)

    def _await_allowance(self, limit: Deadline | None) -> None:
        """As `_await_token`, for what is there and may not be a whole message, and without taking the token."""
        while self._inbound.pending_bytes and not self._is_told_to_close():
            now = self._clock.time()
            if self._allows(1, now):
                return
            if limit is not None and now >= limit.at:
                raise limit.error()
            self._arm_next()
            self._lead_until_token(limit)

    def _lead_until_token(self, limit: Deadline | None) -> None:
        self._lead_until(limit, lambda: not self._rate_held() or self._is_told_to_close())

    def _lead_until(self, limit: Deadline | None, done: Callable[[], bool]) -> bool:
        """As `_lead`, and no longer than to the limit. Return whether that has passed."""
        given_up: list[bool] = []  # this wait's own: a timer that comes late is no other wait's
        timer = None if limit is None else self._clock.call_at(limit.at, partial(self._give_up, given_up))
        try:
            self._lead(lambda: done() or bool(given_up))
        finally:
            if timer is not None:
                timer.cancel()
        return bool(given_up)

    def _is_told_to_close(self) -> bool:
        return bool(self._closing) or self._close_after is not None or self._expired is not None

    def _limit_of(self, timeout_s: float | None) -> Deadline | None:
        if timeout_s is None:
            timeout_s = self._read_s
        return Deadline.after(timeout_s, self._clock)

    def _fill(self, timeout_s: float | None = None) -> None:
        """Have a message in ``_ready``, or raise as `receive` does. The lock is held, except while waiting."""
        limit = self._limit_of(timeout_s)
        while True:
            if self._levels.message_step_s and not self._ready:
                # Before a message is cut: one that was gathered cannot be cut again, by another codec.
                self._await_allowance(limit)
            if self._finds_message(self._prefetch):
                return
            self._wait_readable(limit)

    def _wait_readable(self, limit: Deadline | None) -> None:
        """Wait for bytes, EOF or the end, while the clocks count that blame the peer for silence."""
        if self._receiving:
            raise LocalProtocolError(ANOTHER_RECEIVES)
        if limit is not None and limit.is_over:
            raise limit.error()
        self._receiving = True
        self._news = False
        try:
            if limit is None or limit.timeout_s > 0:
                self._await_news(limit)
            if limit is not None and not self._news:
                limit.is_over = True
                self._catch_up()
                if not self._news:
                    raise limit.error()
        finally:
            self._receiving = False

    def _await_news(self, limit: Deadline | None) -> None:
        if self._blames:
            self._count_from(self._clock.time())
        elif self._rare is not None and self._inbound.pending_bytes:
            self._arm(self._hears(self._clock.time(), self._inbound.pending_bytes))
        try:
            if self._overdue:
                self._decide()
            if self._may_park(limit):
                self._park()
                if self._news or (limit is not None and self._clock.time() >= limit.at):
                    return
            self._wake()
            self._lead_until(limit, lambda: self._news)
        finally:
            if self._blames:
                self._works(self._clock.time())

    def _may_park(self, limit: Deadline | None) -> bool:
        """Whether nothing but input is waited for, and nothing else is due while this thread cannot be woken."""
        if not CAN_PARK or self._news or self._has_leader or self._link.queued_bytes or not self._wants_input():
            return False
        if (limit is not None and limit.timeout_s < PARK_S) or self._silent_at() != inf:
            return False
        timers = self._context.timers
        return timers is None or not timers.due_within(PARK_S)

    def _give_up(self, given_up: list[bool]) -> None:
        with self._lock:
            given_up.append(True)
            self._wake()
            self._changed.notify_all()

    def _count_from(self, now: float) -> None:
        """Somebody waits for the peer: the clocks that blame it run, each from where it was stopped."""
        self._arm(self._waits(now, self._inbound.pending_bytes, self._counts_first and self._batch_size == 0))

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one received last."""
        with self._lock:
            super().set_codec(codec)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, message: M) -> None:
        """Send one message; return when the kernel has taken it."""
        with self._lock:
            self._send_message(message)
        if self._events:
            self._tell()

    def _send_message(self, message: M) -> None:
        if self._write_paused:
            self._wait_for_room()
        if not self._can_send or self._close_after is not None:
            raise self._why_not()
        self._send(self._encode(message))

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, past the codec; return when the kernel has taken them."""
        refuse_frame(data)
        with self._lock:
            self._wait_for_room()
            self._require_sendable()
            self._send(data)
        self._tell()

    def send_some(self, data: bytes, timeout_s: float) -> int:
        """Send bytes, past the codec, as many as the kernel takes; return how many these are.

        Args:
            data: The bytes, one at least.
            timeout_s: How long it waits for the kernel to take any. A layer (TLS), or records, has all of them taken,
                and waits as long for the kernel to have them; what is left then goes out before what is sent next.

        Raises:
            TimeoutError: None was taken, and none is kept.
            ClosedError, BrokenError, SlowPeerError: As of `send`.
        """
        with self._lock:
            limit = Deadline(self._clock.time() + timeout_s, timeout_s)
            self._await_taken(limit)
            left_bytes = self._send(data, limit)
            if left_bytes == len(data):
                self._messages_out -= 1
                raise limit.error(Phase.WRITE)
        self._tell()
        return len(data) - left_bytes

    def await_taken(self, timeout_s: float) -> None:
        """Wait until the kernel has all that was sent, no longer than that.

        Raises:
            TimeoutError: It has not.
            ClosedError, BrokenError: As of `send`.
        """
        with self._lock:
            self._await_taken(Deadline(self._clock.time() + timeout_s, timeout_s))
        self._tell()

    def _await_taken(self, limit: Deadline) -> None:
        self._socket_link.send_now()
        if limit.timeout_s > 0:
            self._lead_until(limit, lambda: not (self._owes_anything() and self._can_send))
        self._require_sendable()
        if self._owes_anything():
            raise limit.error(Phase.WRITE)

    def _send(self, data: bytes, limit: Deadline | None = None) -> int:
        """Send one frame or several; return when the kernel has taken all of it. With a limit, when it has some of it.

        Returns:
            How many bytes were taken back, because the kernel took the others only: 0 without a limit.

        Raises:
            SlowPeerError, BrokenError: The connection ended before.
        """
        self._put(data)
        waiting_bytes = len(self._queue_if_any() or b"")
        if not waiting_bytes and not self._link.queued_bytes:
            return 0
        mark = self.bytes_out + waiting_bytes
        is_plain = self._link is self._socket_link and not self._records and not waiting_bytes
        enough = mark if limit is None or not is_plain else mark - len(data) + 1
        if self._taken_up_to() < enough and (limit is None or limit.timeout_s > 0):
            self._senders += 1
            self._obey(self._pauses(self._link.queued_bytes, self._clock.time()))  # a thread that waits is held up
            try:
                # What waited behind the link may have been given up, with what this thread waits for or without.
                self._lead_until(
                    limit, lambda: self._taken_up_to() >= enough or self._state == CLOSED or not self._owes_anything()
                )
            finally:
                self._senders -= 1
        if self._taken_up_to() < mark and self._state == CLOSED:
            raise self._why_not()
        if limit is None or not is_plain or self.bytes_out != mark or self._queue_if_any():
            return 0
        left_bytes = self._socket_link.reclaim()
        self.bytes_out -= left_bytes
        return left_bytes

    def _owes_anything(self) -> bool:
        return bool(self._link.queued_bytes or self._queue_if_any())

    def _taken_up_to(self) -> int:
        """Return how many bytes the kernel has taken."""
        return self.bytes_out - self._link.queued_bytes - self._socket_link.dropped_bytes

    def _wait_for_room(self) -> None:
        """Wait until output is no longer over its high watermark, or nothing more may be sent."""
        self._lead(lambda: not self._write_paused or not self._can_send)

    # -- as a file -----------------------------------------------------------------------------------------------------

    def _file(
        self, mode: str, buffering: int | None, encoding: str | None, errors: str | None, newline: str | None
    ) -> io.IOBase:
        if not set(mode) <= set("rwb") or not {"r", "w"} & set(mode):
            raise ValueError(f"mode is {mode!r}: r, w or both, with or without b")
        if buffering == 0 and "b" not in mode:
            raise ValueError("text cannot be unbuffered; add b to the mode")
        reads, writes = "r" in mode, "w" in mode
        if reads:
            self.set_codec(Raw())
        raw = ConnectionFile(self, self.send_raw, reads=reads, writes=writes)
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 2 else buffering
        if "b" not in mode and reads and writes:
            return TextPair(raw, size, encoding=encoding, errors=errors, newline=newline, line_buffering=buffering == 1)
        if reads and writes:
            return io.BufferedRWPair(raw, raw, size)
        buffered: io.BufferedReader | io.BufferedWriter = (
            io.BufferedReader(raw, size) if reads else io.BufferedWriter(raw, size)
        )
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed. Reading or writing it breaks the connection."""
        return self._sock.fileno()

    def another_fileno(self) -> int:
        """Return a duplicate of the descriptor, which its caller closes; -1 once the socket is closed."""
        with self._lock:
            return duplicate(self._sock.fileno())

    # -- the end -------------------------------------------------------------------------------------------------------

    def wait_closed(self) -> CloseReason:
        """Wait until the transport is gone; return why. Does not close.

        Raises:
            LocalProtocolError: It is called by the handler of a message, whose connection closes when it has returned.
        """
        with self._lock:
            if self._handling and not self._gone:
                raise LocalProtocolError("a connection closes after its message handler: do not wait for it in there")
            self._lead(lambda: self._gone)
        self._tell()
        assert self.close_reason is not None
        return self.close_reason

    def _close(self, reason: CloseReason) -> None:
        try:
            super()._close(reason)
        except BaseException:
            if self._state != CLOSED and isinstance(self._sock, socket.socket):
                # Nothing needs less stack. The thread that polls the socket finds its end, and carries it out.
                try:  # noqa: SIM105 - a call more is what there may be no stack for
                    self._sock.shutdown(socket.SHUT_RDWR)
                except OSError:  # the peer was faster, or the socket is closed: it is ended, and the error is this one
                    pass
            raise
        if self._closing:
            self._ready.clear()

    def _lose(self, reason: CloseReason) -> None:
        try:
            super()._lose(reason)
        except BaseException:
            if self._state != CLOSED and isinstance(self._sock, socket.socket):
                try:  # noqa: SIM105 - as above
                    self._sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            raise
        self._ready.clear()
