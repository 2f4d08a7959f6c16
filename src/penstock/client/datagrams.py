"""Datagram sockets as connections: one datagram out, one datagram in."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from typing import Any, Final, TypeVar

from ..address import Address, Peer
from ..codecs import guard
from ..codecs.base import Codec
from ..core.contract import Connection, refuse_frame
from ..core.service import Handler
from ..engines.loop.context import LoopContext
from ..errors import ClosedError, LocalProtocolError, TimedOutError
from ..reasons import CloseReason
from .connection import Allowance
from .datagram_errors import not_received, not_sent
from .datagram_socket import DatagramSocket

M = TypeVar("M")

# Larger than any UDP datagram (65,507 bytes over IPv4), so that none is cut.
MAX_DATAGRAM_BYTES: Final = 65536
_ids = itertools.count(1)


def whole(data: bytes) -> bytes:
    """Return a datagram that was read with room for one byte too many; half of one is nothing.

    Raises:
        OSError: There was more of it than `MAX_DATAGRAM_BYTES` (EMSGSIZE).
    """
    if len(data) > MAX_DATAGRAM_BYTES:
        raise OSError(errno.EMSGSIZE, f"a datagram of more than {MAX_DATAGRAM_BYTES} bytes came, and half is nothing")
    return data


class Wire:
    """What is on the wire between a connected socket and the codec: nothing, here."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def write(self, data: bytes, flags: int = 0) -> None:
        """Send one message. Raises what send(2) says of this one.

        Of an earlier one, that nobody listened or that a router refused it, a connected socket tells once, and then
        nothing has been sent: whoever listens now is to get this one.
        """
        try:
            self._sock.send(data, flags)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise
            self._sock.send(data, flags)

    def read(self, flags: int = 0) -> bytes:
        """Return the next message.

        Raises:
            OSError: As recv(2), and when the datagram is longer than `MAX_DATAGRAM_BYTES`: then it is gone.
        """
        return whole(self._sock.recv(MAX_DATAGRAM_BYTES + 1, flags))


class DatagramClient(Connection[M]):
    """A socket that hears one peer only. The network may lose, repeat and reorder what is sent; there is no EOF.

    `receive` raises `DatagramError` when the peer's system said that nothing listens there (ECONNREFUSED); it stays
    usable, for the next datagram may find somebody.
    """

    __slots__ = (
        "_closed",
        "_local",
        "_peer",
        "_sock",
        "_socket",
        "_wire",
        "bytes_in",
        "bytes_out",
        "close_reason",
        "codec",
        "id",
        "messages_in",
        "messages_out",
        "opened_at",
        "state",
    )

    is_datagram = True

    def __init__(
        self,
        context: LoopContext,
        sock: socket.socket,
        codec: Codec[M],
        *,
        ends: tuple[Peer, Address],
        allowance: Allowance,
        wire: Wire,
    ) -> None:
        self.id = next(_ids)
        self.codec = codec
        self.state = None
        self.bytes_in = self.bytes_out = 0
        self.messages_in = self.messages_out = 0
        self.opened_at = context.clock.time()
        self.close_reason = None
        self._sock = sock
        self._wire = wire
        self._socket = DatagramSocket(context.loop, context.clock, sock, allowance)
        self._peer, self._local = ends
        self._closed: asyncio.Future[CloseReason] = context.loop.create_future()

    def __repr__(self) -> str:
        return f"<datagram connection {self.id} to {self._peer}>"

    @property
    def peer(self) -> Peer:
        """Who it sends to."""
        return self._peer

    @property
    def local(self) -> Address:
        """The address at this end."""
        return self._local

    @property
    def queued_bytes(self) -> int:
        """0: nothing is kept here."""
        return 0

    @property
    def server(self) -> None:
        """None: it is a client's."""
        return None

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def post(self, message: M) -> None:
        """Send one datagram, if the kernel takes it now; else it is lost, as the network may lose any."""
        self.try_send(message)

    def post_frame(self, frame: bytes) -> None:
        """Send one datagram, if the kernel takes it now; else it is lost, as the network may lose any."""
        refuse_frame(frame)
        self._require_open()
        self._sent_now(frame)

    def try_send(self, message: M) -> bool:
        """Send one datagram, if the kernel takes it now; return whether it did."""
        return self._sent_now(self._encoded(message))

    def _sent_now(self, data: bytes) -> bool:
        try:
            self._wire.write(data)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            raise not_sent(self._sock, self._peer.sockname, len(data), error) from error
        self.bytes_out += len(data)
        self.messages_out += 1
        return True

    async def send(self, message: M) -> None:
        """Send one datagram, once the kernel takes it."""
        try:
            data = self._encoded(message)
        except Exception:
            await self._socket.turn.take()
            raise
        try:
            await self._socket.write(lambda: self._wire.write(data), len(data))
        except TimedOutError:  # an OSError too
            raise
        except OSError as error:
            raise not_sent(self._sock, self._peer.sockname, len(data), error) from error
        self.bytes_out += len(data)
        self.messages_out += 1

    def _require_open(self) -> None:
        if self.close_reason is not None:
            raise ClosedError("the connection is closed")

    def _encoded(self, message: M) -> bytes:
        self._require_open()
        return guard.encode_datagram(self.codec, message)

    async def receive(self, timeout_s: float | None = None) -> M:
        """Return the next datagram's message."""
        if self.close_reason is not None:
            await self._socket.turn.take()
            raise ClosedError("the connection is closed")
        try:
            data = await self._socket.read(self._wire.read, timeout_s)
        except TimedOutError:  # an OSError too
            raise
        except OSError as error:
            raise not_received(self._sock, self._peer.sockname, error) from error
        self.bytes_in += len(data)
        message = guard.decode_datagram(self.codec, data)
        self.messages_in += 1
        return message

    def close(self) -> None:
        """Close the socket."""
        self._end(CloseReason.DONE)

    def abort(self) -> None:
        """Close the socket."""
        self._end(CloseReason.ABORTED)

    def _end(self, reason: CloseReason) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            self._socket.close()
            self._closed.set_result(reason)

    async def wait_closed(self) -> CloseReason:
        """Wait until the socket is closed; return why."""
        await self._socket.turn.take()
        return await asyncio.shield(self._closed)

    def send_eof(self) -> None:
        """Refuse: datagrams have no end."""
        raise LocalProtocolError("datagrams have no end to send")

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec from now on."""
        self.codec = codec

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse: a client has no handler."""
        raise LocalProtocolError("a client's connection has no handler")

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Do nothing: a datagram socket waits for nobody."""

    def set_limits(self, **limits: int | str) -> None:
        """Do nothing: a datagram socket keeps nothing."""
