"""Multicast groups and interfaces, as setsockopt(2) takes them: of servers that are bound to one, and of clients."""

from __future__ import annotations

import socket
import sys


def join_group(sock: socket.socket, group: bytes, interface: str | None) -> None:
    """Hear what is sent to a group on an interface, given by its name or number, or for IPv4 by its address.

    Raises:
        OSError: There is no such interface, or it takes no groups.
    """
    option = socket.IPV6_JOIN_GROUP if sock.family == socket.AF_INET6 else socket.IP_ADD_MEMBERSHIP
    sock.setsockopt(_level(sock), option, group + _interface_of(sock.family, interface))


def leave_group(sock: socket.socket, group: bytes, interface: str | None) -> None:
    """Take back a `join_group` of the same arguments; raises as that does."""
    option = socket.IPV6_LEAVE_GROUP if sock.family == socket.AF_INET6 else socket.IP_DROP_MEMBERSHIP
    sock.setsockopt(_level(sock), option, group + _interface_of(sock.family, interface))


def send_groups_through(sock: socket.socket, interface: str) -> None:
    """Have what is sent to groups leave through an interface, given likewise; raises as `join_group`."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(_level(sock), socket.IPV6_MULTICAST_IF, _index_of(interface))
    else:
        sock.setsockopt(_level(sock), socket.IP_MULTICAST_IF, interface_of_ipv4(interface))


def interface_of_ipv4(interface: str | None) -> bytes:
    """Return what IP_MULTICAST_IF takes for an interface, given likewise; None for the system's choice.

    Raises:
        OSError: There is no such interface.
    """
    if interface is None:
        return bytes(4)
    if interface.isdecimal():  # inet_aton takes it for an address
        return bytes(8) + _index_of(interface).to_bytes(4, sys.byteorder)
    try:
        return socket.inet_aton(interface)
    except OSError:
        # struct ip_mreqn: group, address, index. The group is not looked at here (ip(7)).
        return bytes(8) + _index_of(interface).to_bytes(4, sys.byteorder)


def _interface_of(family: int, interface: str | None) -> bytes:
    """Return the part of ``struct ip_mreqn`` or ``ipv6_mreq`` that names an interface."""
    if family == socket.AF_INET6:
        return (_index_of(interface) if interface else 0).to_bytes(4, sys.byteorder)
    packed = interface_of_ipv4(interface)
    return packed if len(packed) == 4 else packed[4:]


def _index_of(interface: str) -> int:
    if not interface.isdecimal():
        return socket.if_nametoindex(interface)
    socket.if_indextoname(int(interface))  # or it raises
    return int(interface)


def _level(sock: socket.socket) -> int:
    return socket.IPPROTO_IPV6 if sock.family == socket.AF_INET6 else socket.IPPROTO_IP
