"""A datagram socket as a connection, without a loop: one datagram out, one datagram in."""

from __future__ import annotations

import socket
from typing import TypeVar

from ...core.deadline import Deadline
from ...core.law.closing import CLOSED
from ...errors import CodecError, LocalProtocolError, RemoteProtocolError
from ...reasons import CloseReason
from ..client import ClientPlan
from ..datagram_errors import not_received, not_sent
from .client import ThreadClientConnection
from .guarding import ThreadContext
from .parking import DONT_WAIT
from .poller import READ, WRITE, Poller

M = TypeVar("M")


class ThreadDatagramConnection(ThreadClientConnection[M]):
    """No EOF, nothing to flush, and no datagram ends it, whatever it holds."""

    __slots__ = ("_has_room", "_refusal", "_wire")

    is_datagram = True

    def __init__(self, context: ThreadContext, sock: socket.socket, poller: Poller, plan: ClientPlan) -> None:
        super().__init__(context, sock, poller, plan, records=True)
        self._wire = plan.wire_of(sock)
        self._has_room = True
        self._refusal: OSError | None = None  # what the system said of an earlier datagram

    # -- receiving -----------------------------------------------------------------------------------------------------

    def _receive_now(self, flags: int) -> bytes:
        return self._wire.read(flags)

    def _take(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._inbound.feed(data)
        self._news = True

    def _read_failed(self, error: OSError) -> None:
        self._refusal = error
        self._news = True

    def _wait_readable(self, limit: Deadline | None) -> None:
        if self._refusal is None:
            super()._wait_readable(limit)
        if self._refusal is not None:
            error, self._refusal = self._refusal, None
            raise not_received(self._sock, self._peer.sockname, error) from error

    def _break_off(self, error: RemoteProtocolError | CodecError) -> None:
        """The next datagram may be a better one."""

    # -- sending -------------------------------------------------------------------------------------------------------

    def try_send(self, message: M) -> bool:
        """Send one datagram, if the kernel takes it now; return whether it did."""
        with self._lock:
            self._require_sendable()
            return self._sent_now(self._encode(message))

    def _put(self, data: bytes) -> None:
        self._sent_now(data)

    def _sent_now(self, data: bytes) -> bool:
        try:
            self._wire.write(data, DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            raise not_sent(self._sock, self._peer.sockname, len(data), error) from error
        self.bytes_out += len(data)
        self._messages_out += 1
        return True

    def _begin_to_send(self, data: bytes) -> None:
        self._send(data)

    def _send(self, data: bytes, limit: Deadline | None = None) -> int:
        while not self._sent_now(data):
            self._has_room = False
            self._senders += 1
            self._wake()
            try:
                self._lead(lambda: self._has_room or self._state == CLOSED)
            finally:
                self._senders -= 1
            self._require_sendable()
        return 0

    def _interest(self) -> int:
        return (READ if self._wants_input() else 0) | (WRITE if self._senders else 0)

    def _act(self, events: int) -> None:
        if events & WRITE:
            self._has_room = True
        if events & READ:
            self._read()

    def send_eof(self) -> None:
        """Refuse: datagrams have no end."""
        raise LocalProtocolError("datagrams have no end to send")

    # -- the end -------------------------------------------------------------------------------------------------------

    def _close(self, reason: CloseReason) -> None:
        """Close at once: there is nothing to flush, and nobody to tell."""
        if self._state != CLOSED:
            self._lost(reason)
            self._inbound.clear()
            self._ready.clear()
            self._link.abort()
