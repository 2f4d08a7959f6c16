"""An unconnected datagram socket: to anybody, from anybody, and to groups."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, overload

from ..address import Address, Family, Kind, Peer, parse_address
from ..address.multicast import join_group, leave_group
from ..codecs import guard
from ..codecs.base import Codec
from ..codecs.registry import parse_codec
from ..core.contract import Clock
from ..core.deadline import Deadline
from ..engines.datagram_errors import not_received, not_sent
from ..engines.datagram_socket import DatagramSocket
from ..engines.datagram_wire import whole
from ..engines.wire import MAX_DATAGRAM_BYTES
from ..errors import ClosedError, ConfigurationError, ConnectError, DatagramError, TimedOutError
from .failures import not_resolved
from .network import SYSTEM, Candidate, Network, kind_of, local_address
from .options import ClientTimeouts, SocketOptions
from .waiting import take_turn

M = TypeVar("M")

_DEFAULT_TIMEOUTS: Final = ClientTimeouts()
_DEFAULT_OPTIONS: Final = SocketOptions()


class Datagrams(Generic[M]):
    """A datagram socket that sends to any address and hears all. Made by `open_datagrams`.

    The network may lose, repeat and reorder what is sent. Several tasks may send at once; one receives.

    Attributes:
        codec: What makes messages of datagrams.
        local: The address at this end.
    """

    def __init__(self, waiting: DatagramSocket, codec: Codec[M], local: Address, network: Network) -> None:
        self.codec = codec
        self.local = local
        self._waiting = waiting
        self._sock = waiting.sock
        self._network = network

    def __repr__(self) -> str:
        return f"<datagrams {self.local}>"

    async def send_to(self, message: M, to: str | Address | Peer) -> None:
        """Send one datagram, once the kernel takes it.

        Args:
            message: What to send.
            to: An address of this socket's kind, ``udp://239.0.0.1:9000``, or who a datagram came from.

        Raises:
            LocalProtocolError, TypeError: The codec refuses the message, or it is longer than a datagram can be.
            ConfigurationError: ``to`` is no address of this socket's kind.
            ConnectError: ``to`` cannot be resolved.
            DatagramError: The system refused: no route, or broadcast without ``broadcast=True``.
            ClosedError: The socket was closed.
        """
        try:
            data = guard.encode_datagram(self.codec, message)
            name = to.sockname if isinstance(to, Peer) else await self._name_of(to)
            self._check_open()
        except Exception:
            await take_turn()
            raise
        try:
            await self._waiting.write(lambda: self._sock.sendto(data, name), len(data))
        except TimedOutError:
            raise
        except OSError as error:
            raise not_sent(self._sock, name, len(data), error) from error

    async def _name_of(self, to: str | Address) -> Any:
        target = parse_address(to) if isinstance(to, str) else to
        if target.scheme is not self.local.scheme:
            raise ConfigurationError(f"{target}: this socket sends to {self.local.scheme}: addresses")
        if target.is_unix:
            return target.unix_name
        try:
            candidates = await self._network.resolve(target, socket.SOCK_DGRAM)
        except socket.gaierror as error:
            raise not_resolved(target, error) from error
        for candidate in candidates:
            if candidate.family == self._sock.family:
                return candidate.sockaddr
        raise ConfigurationError(f"{target}: a socket at {self.local} cannot send to another family")

    async def receive_from(self, timeout_s: float | None = None) -> tuple[M, Peer]:
        """Return the next datagram's message and its sender, to whom `send_to` can answer.

        Raises:
            RemoteProtocolError: The datagram is not exactly one message. It is gone; the socket is as it was.
            TimedOutError: Nothing came within ``timeout_s`` seconds, or the socket's own ``read_s``.
            DatagramError: What was sent before could not be delivered, as the system reports on some networks; or the
                datagram was too long, of more than 64 KiB, and half of it is nothing.
            ClosedError: The socket was closed.
            LocalProtocolError: Another task is already receiving.

        Cancelling is safe: no datagram is lost.
        """
        if self._sock.fileno() < 0:
            await take_turn()
        self._check_open()
        try:
            data, name = await self._waiting.read(lambda: self._sock.recvfrom(MAX_DATAGRAM_BYTES + 1), timeout_s)
            whole(data)
        except TimedOutError:
            raise
        except OSError as error:
            raise not_received(self._sock, None, error) from error
        return guard.decode_datagram(self.codec, data), Peer(name, self._sock.family)

    def join(self, group: str, interface: str | None = None) -> None:
        """Receive what is sent to a multicast group from now on.

        Args:
            group: Its address, ``239.0.0.1`` or ``ff15::1``.
            interface: Name, or IPv4 address, of the interface to listen on; None for the system's choice.

        Raises:
            ConfigurationError: It is no multicast group of the socket's family.
            DatagramError: The system refuses: no such interface, no route, joined already.
        """
        self._membership(group, interface, joining=True)

    def leave(self, group: str, interface: str | None = None) -> None:
        """Take back a `join` of the same arguments; raises as that does."""
        self._membership(group, interface, joining=False)

    def _membership(self, group: str, interface: str | None, *, joining: bool) -> None:
        self._check_open()
        family = self._sock.family
        try:
            packed = socket.inet_pton(family, group)
        except OSError:
            packed = b""
        if not packed or not (packed[0] == 0xFF if family == socket.AF_INET6 else 224 <= packed[0] <= 239):
            raise ConfigurationError(f"{group!r} is not a multicast group that a socket at {self.local} could join")
        try:
            (join_group if joining else leave_group)(self._sock, packed, interface)
        except OSError as error:
            what = "joined" if joining else "left"
            raise DatagramError(f"{group} cannot be {what}: {(error.strerror or str(error)).lower()}") from error

    def _check_open(self) -> None:
        if self._sock.fileno() < 0:
            raise ClosedError("the socket is closed")

    def fileno(self) -> int:
        """Return the socket's descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket. May be repeated."""
        self._waiting.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@overload
async def open_datagrams(
    local: str | Address = ...,
    *,
    codec: Codec[M],
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    share_port: bool = ...,
    clock: Clock | None = ...,
    network: Network = ...,
) -> Datagrams[M]: ...
@overload
async def open_datagrams(
    local: str | Address = ...,
    *,
    codec: str = ...,
    timeouts: ClientTimeouts = ...,
    options: SocketOptions = ...,
    share_port: bool = ...,
    clock: Clock | None = ...,
    network: Network = ...,
) -> Datagrams[Any]: ...


async def open_datagrams(
    local: str | Address = "udp://0.0.0.0:0",
    *,
    codec: Codec[Any] | str = "raw",
    timeouts: ClientTimeouts = _DEFAULT_TIMEOUTS,
    options: SocketOptions = _DEFAULT_OPTIONS,
    share_port: bool = False,
    clock: Clock | None = None,
    network: Network = SYSTEM,
) -> Datagrams[Any]:
    """Open a datagram socket that is connected to nobody.

    Args:
        local: Where: ``udp://0.0.0.0:9000``; ``udp://[::]:0`` for IPv6; ``unix+dgram:PATH``, whose file stays, or
            ``unix+dgram://@NAME``. Port 0 lets the system choose.
        codec: A codec, or its name and options.
        timeouts: ``read_s`` and ``total_s`` count.
        options: Of the socket; ``local`` of theirs is not looked at.
        share_port: Let others who say so too open the same port: what is sent to a group then reaches all of them, what
            is sent to this machine reaches one.
        clock: Where time comes from; None for the loop's own.
        network: Resolves the names that are sent to.

    Raises:
        ConnectError: The socket cannot be had there: in use, not this machine's, not allowed.
        ConfigurationError: The address, the codec or an option is wrong.
    """
    await take_turn()
    where = parse_address(local) if isinstance(local, str) else local
    if where.kind is not Kind.DATAGRAM:
        raise ConfigurationError(f"{where}: only udp:// and unix+dgram: addresses carry datagrams")
    chosen = parse_codec(codec) if isinstance(codec, str) else codec
    loop = asyncio.get_running_loop()
    clock = clock or loop
    candidate = Candidate(_family_of(where), kind_of(where), _name_to_bind(where))
    try:
        sock = socket.socket(candidate.family, candidate.kind)
        try:
            sock.setblocking(False)
            options.apply(sock)
            if share_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(candidate.sockaddr)
            waiting = DatagramSocket(loop, clock, sock, timeouts.read_s, Deadline.after(timeouts.total_s, clock))
            return Datagrams(waiting, chosen, local_address(sock, where.scheme), network)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise ConnectError.from_os_error(str(where), error) from error


def _family_of(where: Address) -> int:
    if where.is_unix:
        return socket.AF_UNIX
    if where.host == "*" or ":" in where.host:
        return socket.AF_INET6
    if where.family is Family.IPV4:
        return socket.AF_INET
    raise ConfigurationError(f"{where}: a socket is opened at a number, not at a name")


def _name_to_bind(where: Address) -> Any:
    if where.is_unix:
        return where.unix_name
    return ("::" if where.host == "*" else where.host, where.port or 0)
