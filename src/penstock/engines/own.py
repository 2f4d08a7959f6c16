"""Where a server's own datagram sockets are: what comes from there was forged, and would be answered for ever."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Final

from ..address import Peer
from ..core.gate import Gate
from .listener import Listener

WILDCARDS: Final = frozenset({"0.0.0.0", "::"})

_MAPPED: Final = "::ffff:"
# Addresses of documentation, which no machine has (RFC 5737, RFC 3849): a system that lets a socket be bound to them
# lets it be bound to any (ip_nonlocal_bind), and so does not say which are its own.
_NO_MACHINES: Final[dict[int, str]] = {socket.AF_INET: "203.0.113.113", socket.AF_INET6: "2001:db8::ffff:ffff"}


class OwnAddresses:
    """The addresses on which one server receives datagrams, of all its listeners.

    Args:
        listeners: All of the server's; those that receive no datagrams of the network are left out.

    Attributes:
        ports: Theirs. What comes from another port is from none of them.
    """

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._hosts: set[tuple[str, int]] = set()
        self._everywhere: set[tuple[int, int]] = set()  # families and ports of wildcards
        for listener in listeners:
            sock = listener.sock
            if not listener.is_datagram or sock.family == getattr(socket, "AF_UNIX", None):
                continue
            host, port = sock.getsockname()[:2]
            self._hosts.add((_plain(host), port))
            if host in WILDCARDS or listener.address.is_multicast:  # it sends from any address of the machine
                self._everywhere.add((sock.family, port))
                if host == "::" and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
                    self._everywhere.add((socket.AF_INET, port))
        self.ports = frozenset(port for _, port in self._hosts)

    def __contains__(self, name: Any) -> bool:
        """Say whether one of the sockets has this name, as recvfrom(2) has it. Cheap for any other port."""
        port = name[1]
        if port not in self.ports:
            return False
        host = _plain(name[0])
        if (host, port) in self._hosts:
            return True
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return (family, port) in self._everywhere and _is_of_this_machine(family, host, name)


def _plain(host: str) -> str:
    """Write an IPv4 address as one where it comes to a dual-stack socket; leave out a zone."""
    if host.startswith(_MAPPED) and "." in host:
        return host[len(_MAPPED) :]
    return host.partition("%")[0]


def _is_of_this_machine(family: int, host: str, name: Any) -> bool:
    if Gate.is_local(Peer(name, socket.AF_INET6 if len(name) > 2 else socket.AF_INET)):
        return True
    zone = name[3] if family == socket.AF_INET6 and len(name) > 3 else 0
    return _may_bind(family, host, zone) and not _may_bind(family, _NO_MACHINES[family], 0)


def _may_bind(family: int, host: str, zone: int) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0) if family == socket.AF_INET else (host, 0, 0, zone))
        except OSError:
            return False
    return True
