"""A client's datagram socket as a connection: one datagram out, one datagram in."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Hashable
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs import guard
from ...codecs.base import Codec
from ...config import OnFull
from ...core.contract import Connection, refuse_frame
from ...core.cutters import no_stream
from ...core.handlers import Handler
from ...core.send_queue import check_policy
from ...errors import ClosedError, LocalProtocolError, TimedOutError
from ...reasons import CloseReason
from ..client import ClientPlan
from ..datagram_errors import not_received, not_sent
from ..datagram_socket import DatagramSocket
from .scopes import Departure, OpenScope

M = TypeVar("M")

_ids = itertools.count(1)


class DatagramClientConnection(Connection[M]):
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

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, plan: ClientPlan) -> None:
        clock = plan.clock or loop
        self.id = next(_ids)
        self.codec = plan.codec
        self.state = None
        self.bytes_in = self.bytes_out = 0
        self.messages_in = self.messages_out = 0
        self.opened_at = clock.time()
        self.close_reason = None
        self._sock = sock
        self._wire = plan.wire_of(sock)
        self._socket = DatagramSocket(loop, clock, sock, plan.read_s, plan.total)
        self._peer, self._local = plan.peer, plan.local
        self._closed: asyncio.Future[CloseReason] = loop.create_future()

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

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Send one datagram, if the kernel takes it now; else it is lost, as the network may lose any."""
        if on_full is not None:
            check_policy("on_full", on_full, key)
        self.try_send(message)

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Send one datagram, if the kernel takes it now; else it is lost, as the network may lose any."""
        refuse_frame(frame)
        if on_full is not None:
            check_policy("on_full", on_full, key)
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
        await self._send_datagram(data)

    async def send_raw(self, data: bytes) -> None:
        """Send one datagram, once the kernel takes it."""
        refuse_frame(data)
        if self.close_reason is not None:
            await self._socket.turn.take()
        self._require_open()
        await self._send_datagram(data)

    async def wait_writable(self) -> None:
        """Return: a datagram waits for the kernel when it is sent."""
        await self._socket.turn.take()
        self._require_open()

    async def _send_datagram(self, data: bytes) -> None:
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

    async def receive_exactly(self, n: int, timeout_s: float | None = None, *, max_bytes: int | None = None) -> bytes:
        """Refuse: a datagram is one message."""
        await self._socket.turn.take()
        raise no_stream()

    async def receive_until(
        self, delimiter: bytes, max_bytes: int | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Refuse: a datagram is one message."""
        await self._socket.turn.take()
        raise no_stream()

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

    def close(self, *, detail: str = "") -> None:
        """Close the socket. No event of a client's would tell of ``detail``."""
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

    def while_open(self, *, at_eof: bool = True) -> OpenScope:
        """Return a block that is cancelled when the socket is closed."""
        return OpenScope(self, at_eof=at_eof)

    def watch_departure(self, departure: Departure) -> None:
        """Have a future done when the socket is closed: no datagram says that its peer goes."""

        def closed(_: object) -> None:
            if not departure.done():
                departure.set_result(None)

        self._closed.add_done_callback(closed)

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
