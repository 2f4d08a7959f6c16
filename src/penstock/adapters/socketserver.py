"""Handlers of the standard library's `socketserver`, served as they are.

Each connection has a thread, as under `socketserver.ThreadingTCPServer`; each datagram is handled in one of a pool.
"""

from __future__ import annotations

import errno
import socket
import socketserver
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..address import Address, parse_address
from ..core.blocking import BlockingConnection
from ..core.contract import ConnectionBase
from ..core.handlers import ConnectionHandler, MessageHandler
from ..core.service import Service
from ..core.signatures import summary_of
from ..errors import ApplicationError, ClosedError, LocalProtocolError
from .datagrams import key_of
from .sockets import CODEC, ConnectionSocket
from .without import OF_BYTES, OF_DATAGRAMS


def is_handler_class(target: object) -> bool:
    """Whether it is a request handler's class, or a `functools.partial` of one."""
    if isinstance(target, partial):
        target = target.func
    return isinstance(target, type) and issubclass(target, socketserver.BaseRequestHandler)


def is_server(target: object) -> bool:
    """Whether it is a server of `socketserver`, whose handlers find their state there."""
    return isinstance(target, socketserver.BaseServer)


def of_handler(target: Callable[..., Any], name: str) -> Service[bytes]:
    """Make a service of a request handler's class."""
    kind = target.func if isinstance(target, partial) else target
    return _service(StandIn(target), kind, name, _is_of_datagrams(kind), _is_of_streams(kind))


def of_server(server: socketserver.BaseServer, name: str) -> Service[bytes]:
    """Make a service of a server that was made and does not serve: ``TCPServer(address, Handler, False)``.

    Its socket, where it has one, is closed: it listens where Penstock is told to. `verify_request` and
    `finish_request` are called as ever, and handlers find the server itself.

    Raises:
        ApplicationError: It forks for each connection.
    """
    if isinstance(server, getattr(socketserver, "ForkingMixIn", ())):
        raise ApplicationError(
            f"{type(server).__name__} forks for each connection, which penstock does itself: name the class of the "
            f"handler, {_name_of(server.RequestHandlerClass)}, and say --model process"
        )
    server.server_close()
    is_udp = isinstance(server, socketserver.UDPServer)
    kind = server.RequestHandlerClass
    return _service(server, kind, name, is_udp, not is_udp)


def _is_of_datagrams(kind: Any) -> bool:
    return not issubclass(kind, socketserver.StreamRequestHandler)


def _is_of_streams(kind: Any) -> bool:
    return not issubclass(kind, socketserver.DatagramRequestHandler)


def _service(server: Any, kind: Any, name: str, of_datagrams: bool, of_streams: bool) -> Service[bytes]:
    datagram = MessageHandler(partial(_handle_datagram, server), takes_connection=True, is_async=False, blocking=True)
    handler = ConnectionHandler(partial(_handle_connection, server), is_async=False) if of_streams else datagram
    return Service(
        name=name or _name_of(kind),
        handler=handler,
        codec=CODEC,
        datagram=datagram if of_datagrams else None,
        only_datagrams=not of_streams,
        summary=summary_of(kind),
        written_for="socketserver",
        without=OF_BYTES if of_streams else OF_DATAGRAMS,
    )


def _name_of(kind: Any) -> str:
    return getattr(kind, "__name__", None) or type(kind).__name__


def _handle_connection(server: Any, conn: BlockingConnection[bytes]) -> None:
    request = ConnectionSocket(conn)
    _meet(server, conn)
    _process(server, request, conn.peer.sockname)


def _handle_datagram(server: Any, conn: ConnectionBase[bytes], message: bytes) -> None:
    _meet(server, conn)
    _process(server, (message, DatagramSocket(conn)), conn.peer.sockname)


def _process(server: Any, request: Any, client_address: Any) -> None:
    if server.verify_request(request, client_address):
        server.finish_request(request, client_address)


def _meet(server: Any, conn: ConnectionBase[bytes]) -> None:
    if type(server) is StandIn:
        server.meet(conn)


class StandIn(socketserver.BaseServer):
    """What a handler finds as its ``server`` where only the handler's class is served.

    Attributes:
        server_address: Where Penstock listens, the first such address; ("", 0) before the first connection.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, handler_class: Callable[..., Any]) -> None:
        super().__init__(("", 0), handler_class)
        self._served_by: Any = None

    def meet(self, conn: ConnectionBase[bytes]) -> None:
        """Learn from a connection what serves it."""
        if self._served_by is None and conn.server is not None:
            self.server_address = _sockaddr(parse_address(conn.server.addresses[0]))
            self._served_by = conn.server

    def shutdown(self) -> None:
        """Have the server drain. Unlike `socketserver` it does not wait, so that a handler may call it."""
        if self._served_by is not None:
            self._served_by.loop.call_soon_threadsafe(self._served_by.begin_drain)


def _sockaddr(address: Address) -> Any:
    return address.path if address.is_unix else (address.host, address.port)


class DatagramSocket:
    """The socket beside a datagram: answers go to the datagram's sender, from the address that was asked.

    Args:
        conn: The datagram.
    """

    type = socket.SOCK_DGRAM
    proto = 0

    def __init__(self, conn: ConnectionBase[bytes]) -> None:
        self._conn = conn
        self.family = socket.AddressFamily(conn.peer.family)

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """Send a datagram to the sender; return its size.

        Raises:
            OSError: It is for another address, or longer than a datagram can be; or the server has ended.
        """
        if not 1 <= len(flags_and_address) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(flags_and_address)} given)")
        return self._send(bytes(memoryview(data).cast("B")), flags_and_address[-1])

    def sendmsg(self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None) -> int:
        """Send several pieces as one datagram, as `sendto` does."""
        if list(ancdata):
            raise OSError(errno.EOPNOTSUPP, "penstock sends no ancillary data")
        return self._send(b"".join(memoryview(buffer).cast("B") for buffer in buffers), address)

    def _send(self, octets: bytes, address: Any) -> int:
        if key_of(address) != key_of(self._conn.peer.sockname):
            raise OSError(errno.EDESTADDRREQ, "penstock answers the sender of a datagram, and nobody else")
        try:
            self._conn.post(octets)
        except LocalProtocolError as error:
            raise OSError(errno.EMSGSIZE, str(error)) from error
        except ClosedError as error:
            raise OSError(errno.EPIPE, str(error)) from error
        return len(octets)

    def getsockname(self) -> Any:
        """Return the address that the datagram was sent to."""
        return _sockaddr(self._conn.local)
