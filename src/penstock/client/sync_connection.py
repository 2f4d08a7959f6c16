"""A client's connection without a loop: the blocking engine's own, with what only a client asks of it."""

from __future__ import annotations

import socket
from typing import TypeVar

from ..address import Address, Peer
from ..codecs.base import Codec
from ..core.deadlines import Deadline
from ..engines.blocking.connection import ThreadConnection
from ..engines.blocking.driving import Host
from ..engines.blocking.poller import Poller
from ..errors import Phase, TimedOutError
from ..reasons import CloseReason
from .connection import Allowance

M = TypeVar("M")


class SyncConnection(ThreadConnection[M]):
    """A connection that was made by `connect_sync`: `BlockingConnection`, with what only a client asks of it."""

    __slots__ = ("_allowance",)

    def __init__(
        self,
        host: Host,
        sock: socket.socket,
        poller: Poller,
        codec: Codec[M],
        *,
        ends: tuple[Peer, Address],
        allowance: Allowance,
        records: bool,
    ) -> None:
        super().__init__(host, sock, poller, codec, peer=ends[0], local=ends[1], records=records)
        self._allowance = allowance
        self._read_s = allowance.read_s
        self._blames = False
        if allowance.total_at is not None:
            self.set_timeouts(lifetime_s=allowance.left_s(host.clock))

    def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the next one that comes.

        Args:
            message: What to send.
            timeout_s: As of `receive`, from the moment when the message was queued.

        Raises:
            What `send` and `receive` raise. After a TimeoutError the reply may still come: close the connection.
        """
        with self._lock:
            self._send_message(message)
            if not self._ready:
                self._fill(timeout_s)
            reply = self._ready.popleft()
        if self._events:
            self._tell()
        return reply

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        super().set_timeouts(**timeouts)
        now = self._durations.timeouts
        # By itself a client blames nobody for silence.
        self._blames = (now.first_message_s, now.idle_s, now.message_s) != (None, None, None)

    def _timed_out(self, which: Deadline) -> bool:
        if which is not Deadline.LIFETIME:
            return super()._timed_out(which)
        self._lose(CloseReason.LIFETIME)  # nobody waits for a flush either
        return True

    def _why_not(self) -> Exception:
        total_s = self._allowance.total_s
        if self.close_reason is CloseReason.LIFETIME and total_s is not None:
            return TimedOutError(Phase.TOTAL, total_s)
        return super()._why_not()
