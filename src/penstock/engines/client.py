"""What a client asks of an engine: to make a connection of a socket that is connected already."""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..address import Address, Peer
from ..codecs.base import Codec
from ..config import Limits, Timeouts
from ..core.blocking import BlockingConnection
from ..core.contract import Clock, Connection
from ..core.deadline import Deadline
from .datagram_wire import DatagramWire
from .link import LayerMaker

M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """What an engine is to do with a connected socket. A client has no handler, no gate and no end of its own.

    Attributes:
        codec: What cuts its stream into messages.
        peer: Who is at the other end.
        local: The address at this end, of the scheme that was connected to: it says what the socket carries.
        timeouts: Of the connection itself, at first.
        limits: Of its buffers.
        read_s: How long one message is waited for, where a call does not say; None for ever.
        total: Until when everything is to be done; None for ever.
        ready_by: Until when a thread waits for a layer that needs the peer first; on a loop its user does.
        clock: Where time comes from; None for the engine's own.
        layer: Over the link of a stream or of records, as of a `Listener`.
        wire: What is between a datagram socket and the codec, where that is not nothing.
        secure: Makes what makes the layer of TLS that begins later, of what the user says of it.
    """

    codec: Codec[Any]
    peer: Peer
    local: Address
    timeouts: Timeouts
    limits: Limits
    read_s: float | None = None
    total: Deadline | None = None
    ready_by: Deadline | None = None
    clock: Clock | None = None
    layer: LayerMaker | None = None
    wire: DatagramWire | None = None
    secure: Callable[[Any], LayerMaker] | None = None

    def timeouts_by(self, clock: Clock) -> Timeouts:
        """Return the timeouts of a connection that begins now: its lifetime is what is left for everything."""
        return self.timeouts if self.total is None else self.timeouts.merged(lifetime_s=self.total.left_s(clock))

    def wire_of(self, sock: socket.socket) -> DatagramWire:
        """Return what is between a datagram socket and the codec."""
        return self.wire or DatagramWire(sock)


class ClientConnection(Connection[M]):
    """A client's connection on a loop, of streams or of records: also what those ask of it who keep connections."""

    __slots__ = ()

    @property
    @abstractmethod
    def on_change(self) -> Callable[[], object] | None:
        """Called when it may be written to again, at the EOF of the peer, at the end. Returns at once, never raises."""

    @on_change.setter
    @abstractmethod
    def on_change(self, callback: Callable[[], object] | None) -> None: ...

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether messages may go both ways, as far as was heard."""

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """Whether its socket is closed."""

    @property
    @abstractmethod
    def can_write(self) -> bool:
        """Whether `put_frames` would not go over the high watermark further than it is."""

    @property
    @abstractmethod
    def is_unused(self) -> bool:
        """Whether it is open and nothing at all came that nobody asked for: no message, no part of one, no EOF.

        Asks the kernel too: what came since the loop last looked counts.
        """

    @abstractmethod
    def close_unused(self) -> None:
        """Close at once, with EOF and not with a reset. It must be owed nothing, and have sent all it was given."""

    @abstractmethod
    def put_frames(self, frames: Sequence[bytes]) -> None:
        """Hand messages that were encoded to the transport, in one write. It must be open.

        Raises:
            SlowPeerError: The peer is owed more than ``limits.write_max_bytes``. The connection is aborted.
        """


class SyncConnection(BlockingConnection[M]):
    """A client's connection without a loop: `BlockingConnection`, with what only a client asks of it."""

    __slots__ = ()

    @abstractmethod
    def request(self, message: M, timeout_s: float | None = None) -> M:  # type: ignore[override]  # nothing awaits here
        """Send one message; return the next one that comes.

        That may come before all of a long message has gone. What is left goes as what is posted does.

        Args:
            message: What to send.
            timeout_s: As of `receive`, from the moment when the message was queued.

        Raises:
            What `send` and `receive` raise. After a TimeoutError the reply may still come: close the connection.
        """
