"""Making a connection, of any kind, in the running loop."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, TypeVar, overload

from ..address import Address, Family, Kind, Scheme, parse_address
from ..codecs.base import Codec
from ..codecs.registry import parse_codec
from ..config import Limits, Timeouts
from ..core.events import Event
from ..engines.base import Clock, Connection
from ..engines.listener import peer_of
from ..engines.pure.records import RecordTransport
from ..engines.pure.stream import Host, StreamConnection
from ..engines.pure.tasks import TaskConnection
from ..errors import ConfigurationError, ConnectError, ConnectTimeoutError
from .datagrams import DatagramClient

M = TypeVar("M")

# A client waits as long as its user does: the server's patience is not its own.
CLIENT_TIMEOUTS = Timeouts(first_message_s=None, idle_s=None, message_s=None)
DEFAULT_CONNECT_TIMEOUT_S = 10.0

_FAMILIES = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


@overload
async def connect(
    address: str | Address,
    *,
    codec: Codec[M],
    timeouts: Timeouts = ...,
    limits: Limits | None = ...,
    connect_timeout_s: float | None = ...,
    clock: Clock | None = ...,
) -> Connection[M]: ...
@overload
async def connect(
    address: str | Address,
    *,
    codec: str = ...,
    timeouts: Timeouts = ...,
    limits: Limits | None = ...,
    connect_timeout_s: float | None = ...,
    clock: Clock | None = ...,
) -> Connection[Any]: ...


async def connect(
    address: str | Address,
    *,
    codec: Codec[Any] | str = "lines",
    timeouts: Timeouts = CLIENT_TIMEOUTS,
    limits: Limits | None = None,
    connect_timeout_s: float | None = DEFAULT_CONNECT_TIMEOUT_S,
    clock: Clock | None = None,
) -> Connection[Any]:
    """Connect; return once the connection can be used.

    ``async with await connect("tcp://127.0.0.1:9000", codec="lines") as conn:`` closes it at the end of the block.

    Args:
        address: ``tcp://``, ``udp://``, ``unix:``, ``unix+dgram:`` or ``unix+seqpacket:``. A name with several
            addresses is tried in the system's order.
        codec: A codec, or its name and options.
        timeouts: Of the connection once it is made; by default it waits as long as its user does.
        limits: Of its buffers.
        connect_timeout_s: For resolving and connecting together, in seconds; None for ever.
        clock: Where time comes from; None for the loop's own.

    Raises:
        ConnectError: Refused, unreachable, not resolvable: ``errno`` says which.
        ConnectTimeoutError: Not within ``connect_timeout_s``. Nothing is left open.
        ConfigurationError: The address or the codec is wrong, or cannot be connected to.

    Cancelling it leaves nothing open.
    """
    target = parse_address(address) if isinstance(address, str) else address
    chosen: Codec[Any] = parse_codec(codec) if isinstance(codec, str) else codec
    loop = asyncio.get_running_loop()
    host = Host(loop, clock or loop, timeouts, limits or Limits(), _ignore, _forget)
    try:
        async with asyncio.timeout(connect_timeout_s):
            return await _connect(target, chosen, host)
    except TimeoutError:
        raise ConnectTimeoutError(str(target), f"no answer within {connect_timeout_s:g} s") from None
    except socket.gaierror as error:
        raise ConnectError(str(target), f"{target.host} cannot be resolved: {error.strerror}") from error
    except OSError as error:
        raise ConnectError.from_os_error(str(target), error) from error


async def _connect(address: Address, codec: Codec[Any], host: Host) -> Connection[Any]:
    if address.scheme is Scheme.TLS:
        raise ConfigurationError(f"{address}: this version does not speak TLS")
    if address.kind is Kind.DATAGRAM:
        return DatagramClient(host, await _connected_socket(host.loop, address), codec, address)
    if address.kind not in (Kind.STREAM, Kind.SEQPACKET):
        raise ConfigurationError(f"{address}: only tcp://, udp:// and unix addresses can be connected to")
    sock = await _connected_socket(host.loop, address)
    connection: TaskConnection[Any] = TaskConnection(
        host,
        None,
        codec,
        peer_of(sock, sock.getpeername()),
        address,
        records=address.kind is Kind.SEQPACKET,
    )
    if address.kind is Kind.SEQPACKET:
        made = host.loop.create_future()
        RecordTransport(host.loop, sock, connection)
        host.loop.call_soon(made.set_result, None)
        await made
    else:
        try:
            await host.loop.create_connection(lambda: connection, sock=sock)
        except BaseException:
            sock.close()
            raise
    return connection


async def _connected_socket(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    """Try the address's addresses in turn.

    Raises:
        OSError: What the last one said.
    """
    kinds = {Kind.STREAM: socket.SOCK_STREAM, Kind.DATAGRAM: socket.SOCK_DGRAM, Kind.SEQPACKET: socket.SOCK_SEQPACKET}
    assert address.kind is not None
    kind = kinds[address.kind]
    if address.is_unix:
        return await _try(loop, socket.AF_UNIX, kind, address.unix_name)
    family = _FAMILIES.get(address.family, socket.AF_UNSPEC)
    infos = await loop.getaddrinfo(address.host, address.port, family=family, type=kind)
    last: OSError | None = None
    for found_family, _, _, _, name in infos:
        try:
            return await _try(loop, found_family, kind, name)
        except OSError as error:
            last = error
    assert last is not None, "getaddrinfo returns an address or raises"
    raise last


async def _try(loop: asyncio.AbstractEventLoop, family: int, kind: int, name: Any) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_UNIX and kind == socket.SOCK_DGRAM:
            sock.bind("")  # autobind (unix(7)): a datagram socket without a name gets no answer
        await loop.sock_connect(sock, name)
        if kind == socket.SOCK_STREAM and family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _ignore(event: Event) -> None:
    """A client's connection reports to whoever holds it, by what its methods raise."""


def _forget(connection: StreamConnection[Any]) -> None:
    """A client's connection is in nobody's list."""
