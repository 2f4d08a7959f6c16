"""The link of a connection that is about to move: nothing passes it, and what is sent meanwhile is kept."""

# ruff: noqa: SLF001 - what is held is the law of any engine's connection

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ..core.send_queue import SendQueue
from ..reasons import CloseReason
from .link import Link, LinkUser
from .wire import SocketOptions


class HeldLink(Link):
    """In the place of a connection's link from the moment when it is held to the one when it goes on.

    Args:
        below: The link that was there; None where the connection is its own.
        rose: Called with `queued_bytes` when that has grown; None where `send` is listened to.

    Attributes:
        below: The same.
        sent: What was sent meanwhile.
        sends_eof: Our direction was ended meanwhile.
        output_paused: Output was over its high watermark when the connection was held.
        queue: What waited behind the link then.
        reads: The connection was read then.
        owed_bytes: The kernel had not taken so many then.
        stalled: Since when its peer had not read then, and how much it had read before that.
        is_gone: The other process was told to begin: what ends the connection from now on ends it there.
        lost: Why it was ended since; None where it was not.
    """

    __slots__ = (
        "_codec",
        "_known",
        "below",
        "is_gone",
        "lost",
        "output_paused",
        "owed_bytes",
        "queue",
        "reads",
        "rose",
        "sends_eof",
        "sent",
        "stalled",
    )

    def __init__(self, below: Link | None, rose: Callable[[int], object] | None = None) -> None:
        self.below = below
        self.rose = rose
        self.sent = bytearray()
        self.sends_eof = self.output_paused = self.reads = self.is_gone = False
        self.queue: SendQueue | None = None
        self.owed_bytes = 0
        self.stalled = (0.0, 0)
        self.lost: CloseReason | None = None
        self._known: tuple[Any, Any, Sequence[Any]] | None = None
        self._codec: Any = None

    def knows(self, conn: Any, places: Sequence[Any]) -> None:
        """Take note of what was told of a connection that its owner may change: see `is_as_told`."""
        self._known = conn.timeouts, conn._levels.limits, places
        self._codec = conn.codec

    def is_as_told(self, conn: Any) -> bool:
        """Whether its codec, timeouts, limits, groups and keys are those that the other process was told of."""
        if self.output_paused != conn.output_paused:  # it is owed more than moves without a policy that may drop some
            return False
        if self._codec is not conn.codec:
            return False
        now = conn.timeouts, conn._levels.limits, conn.server.places_of(conn)
        return self._known is not None and now == self._known

    def remember(self, conn: Any) -> None:
        """Take note of what `restore` gives back: how its output stands as it is held."""
        self.output_paused = bool(conn._write_paused)
        rare = conn._rare
        self.stalled = conn._stalled_since, 0 if rare is None else rare.taken_bytes
        self.queue = conn._queue_if_any()

    def restore(self, conn: Any) -> bytes:
        """It goes on where it was, with its output as it stood. Return what was posted behind the link meanwhile."""
        conn._write_paused = self.output_paused
        later = conn._queue_if_any()
        if later is self.queue:
            later = None
        elif later is not None or self.queue is not None:
            conn._of_few().queue = self.queue
        conn._stalled_since, taken_bytes = self.stalled
        if conn._rare is not None:
            conn._rare.taken_bytes = taken_bytes
        conn.bytes_out -= len(self.sent)
        return later.take(len(later)) if later else b""

    def waiting(self) -> tuple[bytes, list[int], dict[int, Hashable]]:
        """Return what waited behind the link, as `SendQueue.told`."""
        return self.queue.told() if self.queue else (b"", [], {})

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait for the kernel since before, and were sent meanwhile. So limits and policies hold."""
        return self.owed_bytes + len(self.sent)

    @property
    def socket(self) -> SocketOptions | socket.socket | None:
        """That of the link."""
        return None if self.below is None else self.below.socket

    def hand_to(self, user: LinkUser) -> None:
        """Refuse: no layer begins now."""
        raise AssertionError("TLS does not begin on a connection that is about to move")

    def send(self, data: bytes) -> int:
        """Keep it."""
        self.sent += data
        queued_bytes = self.queued_bytes
        if self.rose is not None:
            self.rose(queued_bytes)
        return queued_bytes

    def send_eof(self) -> None:
        """Take note of it."""
        self.sends_eof = True

    def pause_reading(self) -> None:
        """Nothing: it is not read."""

    def resume_reading(self) -> None:
        """Nothing: its connection reads when it goes on."""

    def close(self) -> None:
        """Nothing: a connection that is held closes when it is no longer."""

    def abort(self) -> None:
        """Close the link now, wherever the connection is by then."""
        if self.below is not None:
            self.below.abort()

    def connection_lost(self, error: BaseException | None) -> None:
        """Nothing: there is nobody over it."""
