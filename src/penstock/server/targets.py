"""What sockets an address stands for, what address a socket has, and which of them would be in each other's way."""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

from ..address import ANY_HOST, Address, Family, Kind, Scheme
from ..address.model import is_ipv4
from ..errors import BindError, ConfigurationError
from .diagnosis import interfaces, listed

SOCKET_TYPES: Final = {
    Kind.STREAM: socket.SOCK_STREAM,
    Kind.DATAGRAM: socket.SOCK_DGRAM,
    Kind.SEQPACKET: socket.SOCK_SEQPACKET,
    Kind.RAW: socket.SOCK_RAW,
}
_FAMILIES: Final = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Target:
    """One socket to open.

    Attributes:
        address: The address that was asked for; a name has a target for each address it resolves to.
        family: On the network, the ``AF_…``.
        sockaddr: On the network, what bind(2) takes: host, port and, for IPv6, flow and scope.
        fd: The inherited descriptor.
        name: What LISTEN_FDNAMES calls that.
    """

    address: Address
    family: int = socket.AF_UNSPEC
    sockaddr: tuple[Any, ...] = ()
    fd: int | None = None
    name: str = ""

    @property
    def host(self) -> str:
        """On the network, the IPv4 or IPv6 address, without a zone."""
        host: str = self.sockaddr[0]
        return host

    @property
    def is_dual(self) -> bool:
        """Whether it is an IPv6 socket that takes IPv4 too."""
        return self.family == socket.AF_INET6 and self.address.family is Family.DUAL

    def with_port(self, port: int) -> "Target":
        """Return the same target on the network at another port."""
        return replace(self, sockaddr=(self.host, port, *self.sockaddr[2:]))


def network_targets(address: Address) -> list[Target]:
    """Resolve an address on the network, which may take as long as the resolver takes.

    Raises:
        BindError: The name cannot be resolved, or there is no such interface.
    """
    port = address.port or 0
    if address.host == ANY_HOST:
        if _has_ipv6():
            return [Target(address, socket.AF_INET6, ("::", port, 0, 0))]
        return [Target(address, socket.AF_INET, ("0.0.0.0", port))]
    if is_ipv4(address.host):
        return [Target(address, socket.AF_INET, (address.host, port))]
    host, _, zone = address.host.partition("%")
    if ":" in host:
        return [Target(address, socket.AF_INET6, (host, port, 0, _scope_id(address, zone) if zone else 0))]
    return _resolve(address, port)


def bound_address(sock: socket.socket, scheme: Scheme) -> Address:
    """Return the address that a socket on the network is bound to."""
    sockname = sock.getsockname()
    host: str = sockname[0]
    port = None if scheme is Scheme.RAW_ICMP else sockname[1]
    if sock.family == socket.AF_INET:
        return Address(scheme, host, port, family=Family.IPV4)
    if host.startswith("::ffff:") and "." in host:  # an inherited one can be
        return Address(scheme, host[7:], port, family=Family.IPV4)
    is_dual = host == "::" and scheme is not Scheme.RAW_ICMP and not _is_ipv6_only(sock)
    zone = f"%{socket.if_indextoname(sockname[3])}" if sockname[3] else ""
    return Address(scheme, host + zone, port, family=Family.DUAL if is_dual else Family.IPV6)


def refuse_overlaps(groups: Sequence[Sequence[Target]]) -> None:
    """Find the mistake of naming an address twice before the kernel calls it somebody's: the somebody would be us.

    Args:
        groups: For each address that was asked for, its targets.

    Raises:
        ConfigurationError: Two of the addresses are one, or one takes in the other.
    """
    for group, other_group in combinations(groups, 2):
        for one in group:
            for other in other_group:
                if _overlap(one, other):
                    raise ConfigurationError(_overlap_problem(one, other))


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def _is_ipv6_only(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def _scope_id(address: Address, zone: str) -> int:
    try:
        if not (zone.isascii() and zone.isdecimal()):
            return socket.if_nametoindex(zone)
        socket.if_indextoname(int(zone))  # or it raises
        return int(zone)
    except (OSError, OverflowError):
        problem = f"unknown interface {zone}; this machine has {listed(interfaces())}"
        raise BindError(str(address), problem, errno.ENODEV) from None


def _resolve(address: Address, port: int) -> list[Target]:
    assert address.kind is not None
    try:
        found = socket.getaddrinfo(
            address.host,
            port,
            family=_FAMILIES.get(address.family, socket.AF_UNSPEC),
            type=SOCKET_TYPES[address.kind],
            flags=socket.AI_PASSIVE,
        )
    except (socket.gaierror, UnicodeError) as error:
        words = error.strerror if isinstance(error, socket.gaierror) else str(error)
        raise BindError(str(address), f"the host {address.host} cannot be resolved: {words}") from None
    targets = [Target(address, family, sockaddr) for family, _, _, _, sockaddr in found]
    return list(dict.fromkeys(targets))  # /etc/hosts may give one address twice


def _overlap(one: Target, other: Target) -> bool:
    if one.fd is not None or other.fd is not None:
        return one.fd == other.fd
    if one.address.is_unix or other.address.is_unix:
        return _unix_key(one.address) == _unix_key(other.address)
    if one.address.kind is not other.address.kind or one.address.port != other.address.port or one.address.port == 0:
        return False
    return _covers(one, other) or _covers(other, one)


def _unix_key(address: Address) -> object:
    if address.is_abstract:  # each kind of socket has its own names
        return address.kind, address.path
    return os.path.abspath(address.path) if address.is_unix else None


def _covers(wide: Target, narrow: Target) -> bool:
    if wide.family != narrow.family:
        return wide.is_dual
    if wide.address.is_multicast and wide.sockaddr == narrow.sockaddr:
        # On two interfaces a group is two: each socket hears its own (IP_MULTICAST_ALL is off).
        return wide.address.interface in {"", narrow.address.interface}
    return wide.sockaddr == narrow.sockaddr or wide.host in {"0.0.0.0", "::"}


def _overlap_problem(one: Target, other: Target) -> str:
    if one.address == other.address:
        return f"{one.address} is given twice; leave one out"
    for wide, narrow in ((one, other), (other, one)):
        if wide.is_dual and narrow.family == socket.AF_INET:
            alone = Address(wide.address.scheme, "::", wide.address.port, family=Family.IPV6)
            return f"{wide.address} takes IPv4 too, and so {narrow.address}; leave that out, or write {alone}"
    return f"{one.address} and {other.address} are the same, or one is part of the other; leave one out"
