"""The network as a client meets it: names, and sockets that connect. A parameter, so that tests can be the network."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ..address import Address, Family, Kind, Peer, Scheme, parse_address, path_of_unix_name
from ..address.model import host_in_address
from ..address.multicast import send_groups_through
from ..address.unix_name import unix_name_of_path
from ..engines.aside import aside
from ..engines.wire import is_connected_to_itself, reset_on_close
from ..errors import ConfigurationError
from .options import SocketOptions

_FAMILIES: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_KINDS: Final = {
    Kind.STREAM: socket.SOCK_STREAM,
    Kind.DATAGRAM: socket.SOCK_DGRAM,
    Kind.SEQPACKET: socket.SOCK_SEQPACKET,
    Kind.RAW: socket.SOCK_DGRAM,  # first choice: see icmp.py
}


# How soon a Unix socket whose backlog was full is asked again.
UNIX_RETRY_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address that may be connected to.

    Attributes:
        family: ``AF_INET``, ``AF_INET6`` or ``AF_UNIX``.
        kind: ``SOCK_STREAM``, …
        sockaddr: What connect(2) takes.
        interface: On which a datagram to an IPv4 multicast group leaves; empty for the one that the routes name.
    """

    family: int
    kind: int
    sockaddr: Any
    interface: str = ""

    def __str__(self) -> str:
        if self.family == socket.AF_UNIX:
            return path_of_unix_name(self.sockaddr)
        return str(Peer(self.sockaddr, self.family))


class Network(Protocol):
    """What `connect` needs of the network."""

    async def resolve(self, address: Address, kind: int) -> Sequence[Candidate]:
        """Return the addresses of a TCP or UDP address, at least one, the system's first choice first.

        Raises:
            socket.gaierror: There is none.
        """

    async def dial(self, candidate: Candidate, options: SocketOptions) -> socket.socket:
        """Return a non-blocking socket that is connected.

        Raises:
            OSError: What connect(2) said.

        Cancelling it leaves nothing open.
        """


class SystemNetwork:
    """The system's resolver and its sockets."""

    async def resolve(self, address: Address, kind: int) -> Sequence[Candidate]:
        """Ask getaddrinfo(3); a name is looked up in a thread, so that the loop goes on."""
        lookup = lookup_of(address, kind)
        try:
            return lookup(socket.AI_NUMERICHOST)
        except socket.gaierror as error:
            if error.errno != socket.EAI_NONAME:
                raise
        return await aside(functools.partial(lookup, 0), "penstock-resolve")

    async def dial(self, candidate: Candidate, options: SocketOptions) -> socket.socket:
        """Connect a new socket."""
        sock = open_socket(candidate, options)
        try:
            sock.setblocking(False)
            if candidate.family == socket.AF_UNIX:
                while not connected_to_unix(sock, candidate):  # noqa: ASYNC110  # nobody tells when there is room
                    await asyncio.sleep(UNIX_RETRY_S)
            else:
                await asyncio.get_running_loop().sock_connect(sock, candidate.sockaddr)
                refuse_itself(sock)
        except BaseException:
            sock.close()
            raise
        return sock


SYSTEM: Final = SystemNetwork()


def refuse_itself(sock: socket.socket) -> None:
    """Refuse a socket that `is_connected_to_itself`: nobody listens there.

    Raises:
        ConnectionRefusedError: It is. The socket is to be closed, which leaves nothing in TIME_WAIT.
    """
    if is_connected_to_itself(sock):
        reset_on_close(sock)  # else the port is held for a minute, against the server that belongs there
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def connected_to_unix(sock: socket.socket, candidate: Candidate) -> bool:
    """Try to connect a non-blocking Unix socket; return False when the server's backlog is full.

    Then nothing is under way, unlike with TCP, and poll(2) would call the socket writable: connect(2), EAGAIN.

    Raises:
        OSError: What connect(2) said.
    """
    try:
        sock.connect(candidate.sockaddr)
    except BlockingIOError:
        return False
    return True


def kind_of(address: Address) -> int:
    """Return the ``SOCK_…`` of an address that can be connected to.

    Raises:
        ConfigurationError: It cannot be.
    """
    if address.kind is None:
        raise ConfigurationError(f"{address}: only tcp://, udp://, unix and raw+icmp addresses can be connected to")
    return _KINDS[address.kind]


def lookup_of(address: Address, kind: int) -> Callable[[int], list[Candidate]]:
    """Return a function that asks getaddrinfo(3) with the flags it is given; it may wait for name servers.

    ``*`` and its like, to which nothing can connect, stand for this machine.
    """
    host = {"*": "localhost", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    host = _with_numeric_zone(host)
    family = _FAMILIES.get(address.family, socket.AF_UNSPEC)

    def look_up(flags: int) -> list[Candidate]:
        found = socket.getaddrinfo(host, address.port or 0, family, kind, flags=flags)
        interface = address.interface
        return list(dict.fromkeys(Candidate(each, kind, sockaddr, interface) for each, _, _, _, sockaddr in found))

    return look_up


def _with_numeric_zone(host: str) -> str:
    """Write a zone as a number: getaddrinfo(3) knows an interface's name for link-local addresses alone."""
    literal, percent, zone = host.partition("%")
    if not percent or zone.isdecimal():
        return host
    try:
        return f"{literal}%{socket.if_nametoindex(zone)}"
    except OSError:
        return host  # which the resolver refuses


def open_socket(candidate: Candidate, options: SocketOptions) -> socket.socket:
    """Make a socket for a candidate, with its options set and bound to its source address.

    Raises:
        OSError: The system refuses; nothing is left open.
        ConfigurationError: ``options.local`` is no address, or one of another family.
    """
    sock = socket.socket(candidate.family, candidate.kind)
    try:
        options.apply(sock)
        if candidate.interface:
            send_groups_through(sock, candidate.interface)
        name = local_name(candidate, options.local)
        if name is not None:
            sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock


def local_name(candidate: Candidate, local: str | None) -> Any:
    """Return what bind(2) takes for a source address; None when there is nothing to bind.

    Raises:
        ConfigurationError: It is no address, or one of another family.
    """
    if candidate.family == socket.AF_UNIX:
        if local is not None:
            return unix_name_of_path(local)
        # Autobind (unix(7)): a datagram socket without a name gets no answer.
        return "" if candidate.kind == socket.SOCK_DGRAM else None
    if local is None:
        return None
    source = source_address(local)
    if source.family is not (Family.IPV6 if candidate.family == socket.AF_INET6 else Family.IPV4):
        raise ConfigurationError(f"local address {local} cannot reach {candidate}: it is of another family")
    found = socket.getaddrinfo(source.host, source.port, type=candidate.kind, flags=socket.AI_NUMERICHOST)
    return found[0][4]


def source_address(local: str) -> Address:
    """Read ``HOST`` or ``HOST:PORT``, the host being numeric.

    Raises:
        ConfigurationError: It is neither.
    """
    has_port = local.rpartition("]")[2].count(":") == 1
    address = parse_address(local if has_port else f"{local}:0")
    if address.family not in _FAMILIES:
        raise ConfigurationError(f"local address {local!r} is not an IPv4 address, or an IPv6 address in brackets")
    return address


def only_reachable(candidates: Sequence[Candidate], options: SocketOptions) -> list[Candidate]:
    """Leave out candidates of another family than the source address.

    Raises:
        ConfigurationError: None is left.
    """
    if options.local is None or candidates[0].family == socket.AF_UNIX:
        return list(candidates)
    wanted = _FAMILIES[source_address(options.local).family]
    left = [candidate for candidate in candidates if candidate.family == wanted]
    if not left:
        raise ConfigurationError(f"local address {options.local} cannot reach {candidates[0]}: it is of another family")
    return left


def local_address(sock: socket.socket, scheme: Scheme) -> Address:
    """Say where this end of a connected socket is."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Address(scheme, path=path_of_unix_name(name), family=Family.UNIX)
    peer = Peer(name, sock.family)
    if scheme is Scheme.RAW_ICMP:
        return parse_address(f"{scheme}://{host_in_address(peer.host)}")
    return parse_address(f"{scheme}://{peer}")
