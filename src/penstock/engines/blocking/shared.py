"""A connection that every thread may call: each call takes its lock, and tells what happened once that is free."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from ...config import OnFull
from ...core.contract import TimerHandle
from ...core.deadline import Deadline
from ...core.law.closing import CLOSED
from ...core.requests import Reply
from ...reasons import CloseReason
from ..requests import give_up
from .leader import LedConnection

M = TypeVar("M")


class SharedConnection(LedConnection[M]):
    """What is asked of a connection from outside: by handlers, by other threads, by the server, by the clock."""

    __slots__ = ()

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message; never wait. Safe from every thread."""
        with self._lock:
            super().post(message, on_full=on_full, key=key)
        self._tell()

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message that is framed already. Safe from every thread."""
        with self._lock:
            super().post_frame(frame, on_full=on_full, key=key)
        self._tell()

    def post_joined(self, frames: bytes, count: int) -> None:
        """Queue several messages whose frames are one string of bytes already. Safe from every thread."""
        self.post_frame(frames)
        with self._lock:
            self._messages_out += count - 1

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark. Safe from every thread."""
        with self._lock:
            queued = super().try_send(message)
        self._tell()
        return queued

    def new_reply(self) -> Future[Any]:
        """Return what waits for a reply: whose thread that is, is open."""
        return Future()

    def put_request(self, message: M, reply: Reply) -> None:
        """Send a request, and note who waits for its reply. Safe from every thread."""
        with self._lock:
            super().put_request(message, reply)
        self._tell()

    def time_reply(self, reply: Reply, timeout_s: float | None) -> TimerHandle | None:
        """Have the reply given up after that time, when what has come by then was read: law 11."""
        limit = Deadline.after(timeout_s, self._clock)
        return None if limit is None else self._clock.call_at(limit.at, partial(self._give_up_reply, reply, limit))

    def _give_up_reply(self, reply: Reply, limit: Deadline) -> None:
        with self._lock:
            if self._state != CLOSED:
                self._catch_up()
            give_up(reply, limit)
        self._tell()

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        with self._lock:
            super().send_eof()
        self._tell()

    def start_tls(self, tls: Any = None, *, reply: M | None = None) -> None:
        """Speak TLS from now on, or once the handler of the message at hand has returned."""
        with self._lock:
            super().start_tls(tls, reply=reply)
        self._tell()

    def close(self, *, detail: str = "") -> None:
        """Flush what was queued, send EOF, then end the connection."""
        with self._lock:
            super().close(detail=detail)
        self._tell()

    def task_begun(self) -> None:
        """A background task begins whose work the peer is owed."""
        with self._lock:
            super().task_begun()

    def task_over(self) -> None:
        """It has ended: close, if that was all there was to wait for."""
        with self._lock:
            super().task_over()
        self._tell()

    def abort(self) -> None:
        """End the connection now."""
        self.cut(CloseReason.ABORTED)

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, for a reason of the server's. What its threads wait for ends with it."""
        with self._lock:
            self._lose(reason)
        self._tell()

    def drain(self) -> None:
        """Read no more. What was received whole is still delivered; then the input ends."""
        with self._lock:
            self._draining = True
            self._inbound.end_requests("the server drains")
            self._news = True
            self._wake()

    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy."""
        with self._lock:
            super().set_limits(**limits)
        self._tell()

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        with self._lock:
            super().set_timeouts(**timeouts)

    def begin_handshake(self) -> None:
        """Give the peer so long to show who it is."""
        with self._lock:
            super().begin_handshake()

    def end_handshake(self) -> None:
        """The peer has shown who it is."""
        with self._lock:
            super().end_handshake()

    def suspend_reading(self) -> None:
        """Read no further until `unsuspend_reading`: memory is short."""
        self._set_suspended(True)

    def unsuspend_reading(self) -> None:
        """Read again, unless something else keeps it from that."""
        self._set_suspended(False)

    def _set_suspended(self, suspended: bool) -> None:
        with self._lock:
            if suspended != self._reading_suspended:
                self._reading_suspended = suspended
                if suspended:
                    self._stops_listening(self._clock.time())
                else:
                    self._reads_again()
                self._wake()

    def close_if_idle(self, share: float) -> None:
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        with self._lock:
            super().close_if_idle(share)
        self._tell()

    def expired(self) -> None:
        """Do what is due, on whatever thread the clock has; nobody need be waiting."""
        with self._lock:
            if self._parked:
                self.place = None
                self._due_while_parked = True
            else:
                super().expired()
        self._tell()
