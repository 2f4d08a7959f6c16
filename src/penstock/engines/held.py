"""The link of a connection that is about to move: nothing passes it, and what is sent meanwhile is kept."""

from __future__ import annotations

import socket

from ..core.send_queue import SendQueue
from .link import Link, LinkUser
from .wire import SocketOptions


class HeldLink(Link):
    """In the place of a connection's link from the moment when it is held to the one when it goes on.

    Args:
        below: The link that was there; None where the connection is its own.

    Attributes:
        below: The same.
        sent: What was sent meanwhile.
        sends_eof: Our direction was ended meanwhile.
        output_paused: Output was over its high watermark when the connection was held.
        queue: What waited behind the link then.
        reads: The connection was read then.
    """

    __slots__ = ("below", "output_paused", "queue", "reads", "sends_eof", "sent")

    def __init__(self, below: Link | None) -> None:
        self.below = below
        self.sent = bytearray()
        self.sends_eof = self.output_paused = self.reads = False
        self.queue: SendQueue | None = None

    def waiting(self) -> tuple[bytes, list[int]]:
        """Return what waited behind the link, as `SendQueue.told`."""
        return self.queue.told() if self.queue else (b"", [])

    @property
    def queued_bytes(self) -> int:
        """0: nothing is paused or given up for what is sent in this short time."""
        return 0

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
        return 0

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
