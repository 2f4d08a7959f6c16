"""A client's connection without a loop: the blocking engine's own, with what only a client asks of it."""

from __future__ import annotations

import socket
from functools import partial
from typing import TypeVar

from ...core.deadline import Deadline
from ..client import ClientPlan, SyncConnection
from ..client_end import ClientEnd
from .connection import ThreadConnection
from .guarding import ThreadContext
from .poller import Poller

M = TypeVar("M")


class ThreadClientConnection(ClientEnd[M], ThreadConnection[M], SyncConnection[M]):
    """A stream or seqpacket connection that was made by `connect_sync`.

    Args:
        context: As for every connection.
        sock: Connected. It is the connection's from now on.
        poller: Its own from now on.
        plan: What the client said.
        records: The socket carries records, not bytes.
    """

    __slots__ = ("_total", "_unread_bytes")

    _reads_on = True

    def __init__(
        self, context: ThreadContext, sock: socket.socket, poller: Poller, plan: ClientPlan, *, records: bool = False
    ) -> None:
        super().__init__(
            context,
            sock,
            poller,
            plan.codec,
            peer=plan.peer,
            local=plan.local,
            records=records,
            layer=plan.layer,
        )
        self._total = plan.total
        self._unread_bytes = 0  # as of `BrokenError`
        self._read_s = plan.read_s
        self._blames = False
        if plan.total is not None:
            self._arm_next()

    def await_ready(self, limit: Deadline | None) -> None:
        """Wait for the layer over its link, if there is one that needs the peer first.

        Raises:
            TimeoutError: The limit passed before that.
        """
        if not self._opening:
            return
        with self._lock:
            given_up: list[bool] = []
            timer = None if limit is None else self._clock.call_at(limit.at, partial(self._give_up, given_up))
            try:
                self._lead(lambda: not self._opening or bool(self._closing) or bool(given_up))
            finally:
                if timer is not None:
                    timer.cancel()
            if given_up and limit is not None:
                raise limit.error()
        self._tell()

    def request(self, message: M, timeout_s: float | None = None) -> M:  # type: ignore[override]
        """Send one message; return the next one that comes."""
        with self._lock:
            if self._write_paused:
                self._wait_for_room()
            self._require_sendable()
            self._begin_to_send(self._encode(message))
            if not self._ready:
                self._fill(timeout_s)
            reply = self._ready.popleft()
            self.messages_in += 1
        if self._events:
            self._tell()
        return reply

    def _begin_to_send(self, data: bytes) -> None:
        """Send a frame; the receiving thread sends what the kernel does not take now."""
        self._put(data)
        if queued_bytes := self._link.queued_bytes:
            self._obey(self._pauses(queued_bytes, self._clock.time()))  # the peer's time to read it counts

    def connection_lost(self, error: BaseException | None) -> None:
        """Note that the link is gone."""
        self._note_unread()
        super().connection_lost(error)

    def _is_not_received(self) -> bool:
        return self._inbound.pending_bytes > self._context.limits.read_bytes and not self._receiving
