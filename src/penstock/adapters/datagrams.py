"""Datagram protocols of asyncio: one protocol for each server, as one has for each endpoint of a loop."""

from __future__ import annotations

import asyncio
import errno
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ..core.contract import ConnectionBase
from ..errors import ClosedError, LocalProtocolError

# Senders that can be answered later than in `datagram_received`, the latest ones.
_MOST_SENDERS = 4096


class Endpoints:
    """The protocol of each server.

    Args:
        factory: Makes one, without arguments.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory
        self._transports: WeakKeyDictionary[Any, AnsweringTransport] = WeakKeyDictionary()

    async def handle(self, conn: ConnectionBase[bytes], message: bytes) -> None:
        """Tell the protocol of a datagram; make it with the first one."""
        transport = self._transports.get(conn.server)
        if transport is None:
            transport = self._transports[conn.server] = AnsweringTransport(self._factory(), conn)
            conn.task(transport.live(), name="datagram protocol")
        transport.received(conn, message)


class AnsweringTransport(asyncio.DatagramTransport):
    """What a datagram protocol sends by: to those who have sent, and nobody else.

    Args:
        protocol: Whom it tells.
        conn: The first datagram.
    """

    def __init__(self, protocol: Any, conn: ConnectionBase[bytes]) -> None:
        super().__init__()
        self._protocol: Any = protocol
        self._local = conn.local
        self._senders: OrderedDict[Any, ConnectionBase[bytes]] = OrderedDict()
        self._closed = asyncio.Event()
        protocol.connection_made(self)

    async def live(self) -> None:
        """Wait until the server has stopped, or the protocol has closed; tell it of the end."""
        try:
            await self._closed.wait()
        finally:
            self._closed.set()
            self._senders.clear()
            self._protocol.connection_lost(None)

    def received(self, conn: ConnectionBase[bytes], message: bytes) -> None:
        """Tell the protocol of a datagram, unless it has closed."""
        if self._closed.is_set():
            return
        sender = conn.peer.sockname
        self._senders[key_of(sender)] = conn
        self._senders.move_to_end(key_of(sender))
        if len(self._senders) > _MOST_SENDERS:
            self._senders.popitem(last=False)
        self._protocol.datagram_received(message, sender)

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send a datagram to somebody who has sent one; tell `error_received` where that cannot be.

        Raises:
            TypeError: It is not bytes.
            ValueError: There is no address: the socket is bound, and not connected.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if addr is None:
            raise ValueError("sendto needs an address: the socket is not connected")
        if self._closed.is_set():
            return
        conn = self._senders.get(key_of(addr))
        if conn is None:
            self._protocol.error_received(OSError(errno.EDESTADDRREQ, f"nothing has come from {addr}, whom to answer"))
            return
        try:
            conn.post(bytes(data))
        except LocalProtocolError as error:
            self._protocol.error_received(OSError(errno.EMSGSIZE, str(error)))
        except ClosedError as error:
            self._protocol.error_received(OSError(errno.EPIPE, str(error)))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol from now on."""
        self._protocol = protocol

    def get_protocol(self) -> Any:
        """Return whom it tells."""
        return self._protocol

    def get_write_buffer_size(self) -> int:
        """Return 0: what the kernel does not take waits in the server, within its limits."""
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known by that name: sockname."""
        if name != "sockname":
            return default
        return self._local.path if self._local.is_unix else (self._local.host, self._local.port)

    def is_closing(self) -> bool:
        """Return whether it was closed."""
        return self._closed.is_set()

    def close(self) -> None:
        """Tell the protocol of the end, and of no further datagram. May be repeated."""
        self._closed.set()

    def abort(self) -> None:
        """Close."""
        self.close()


def key_of(address: Any) -> Any:
    """Return what two addresses have in common that are the same to who sends: IPv6 has two numbers more."""
    return tuple(address[:2]) if isinstance(address, (tuple, list)) else address
