"""Who is at the other end."""

import socket
import struct
from typing import Any

from .model import host_in_address
from .unix_name import path_of_unix_name, quote_path


class Peer:
    """Who is at the other end: immutable, hashable, and cheap, for one is made for every accept and every datagram.

    It keeps what the system gave and makes text when asked. An IPv4 peer of a dual-stack socket
    (``::ffff:192.0.2.1``) has an IPv4 `host`, like any other IPv4 peer.

    ``str(peer)`` is ``192.0.2.1:51234``, ``[2001:db8::1]:51234``, ``unix:/run/client.sock``, ``unix:@name``,
    ``unix:pid=123,uid=1000`` for an unnamed Unix peer, or ``unix`` where the system does not say more.

    Args:
        sockname: The peer's address as accept(2) or recvfrom(2) gave it, in Python's form for its family.
        family: The socket's ``AF_…``.
        credentials: Of a Unix socket, the ``struct ucred`` that SO_PEERCRED gave; empty where there is none.

    Two peers are equal when the system said the same of both.
    """

    __slots__ = ("_credentials", "_family", "_sockname")

    def __init__(self, sockname: Any, family: int, credentials: bytes = b"") -> None:
        self._sockname = sockname
        self._family = family
        self._credentials = credentials

    @property
    def sockname(self) -> Any:
        """The address in the form that ``sendto`` takes: a tuple, or the name of a Unix socket, empty if unnamed."""
        return self._sockname

    @property
    def family(self) -> int:
        """The ``AF_…`` of its address."""
        return self._family

    @property
    def credentials(self) -> bytes:
        """Of a Unix socket, the ``struct ucred`` that SO_PEERCRED gave; empty where there is none."""
        return self._credentials

    @property
    def host(self) -> str:
        """IPv4 or IPv6 address, a link-local one with its zone: what peers are counted by. Empty for Unix sockets."""
        family = self._family
        if family != socket.AF_INET6:
            return self._sockname[0] if family == socket.AF_INET else ""
        host: str = self._sockname[0]
        if host.startswith("::ffff:") and "." in host:
            return host[7:]
        if self._sockname[3]:
            return f"{host}%{interface_name(self._sockname[3])}"
        return host

    @property
    def port(self) -> int | None:
        """The peer's port; None for Unix sockets."""
        return self._sockname[1] if self._is_network else None

    @property
    def pid(self) -> int | None:
        """The process that connected, as it was then; None where the system does not say."""
        return self._credential(0)

    @property
    def uid(self) -> int | None:
        """The user that connected; None where the system does not say."""
        return self._credential(1)

    @property
    def gid(self) -> int | None:
        """That user's group; None where the system does not say."""
        return self._credential(2)

    @property
    def _is_network(self) -> bool:
        family = self._family  # not looked up in a set: the hash of an enum's member is written in Python
        return family == socket.AF_INET or family == socket.AF_INET6  # noqa: PLR1714

    def _credential(self, index: int) -> int | None:
        # struct ucred: pid_t is signed, uid_t and gid_t are not. See unix(7).
        return struct.unpack("=iII", self._credentials)[index] if self._credentials else None

    def __str__(self) -> str:
        if self._is_network:
            return f"{host_in_address(self.host)}:{self.port}"
        if self._sockname:
            return f"unix:{quote_path(path_of_unix_name(self._sockname))}"
        return f"unix:pid={self.pid},uid={self.uid}" if self._credentials else "unix"

    def __repr__(self) -> str:
        return f"<Peer {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Peer):
            return NotImplemented
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[Any, int, bytes]:
        return self._sockname, self._family, self._credentials


def interface_name(index: int) -> str:
    """Return the name of an interface, or its number in digits when it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
