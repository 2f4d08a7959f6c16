"""What an engine accepts from: an open socket and the address it has."""

import os
import socket
import sys
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ..address import Address, Kind, Peer, Scheme
from ..address.networks import AccessList
from ..errors import TlsMaterialError
from .link import LayerMaker

# struct ucred is pid_t, uid_t, gid_t: see unix(7). Elsewhere the option is missing or has another shape.
_UCRED_BYTES: Final = 12
_HAS_PEERCRED: Final = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a Unix socket that this process made: what tells it from one that took its place.

    Attributes:
        path: Absolute, so that a later chdir does not matter.
        device: ``st_dev``.
        inode: ``st_ino``, which no other file gets while the socket is open.
        pid: The process that made it.
    """

    path: str
    device: int
    inode: int
    pid: int = field(default_factory=os.getpid)


@dataclass(frozen=True, slots=True, eq=False)
class Listener:
    """A socket that is bound, listening if it has connections to accept, non-blocking and not inheritable.

    The server opened it and the server closes it. An engine that hands it to something that closes what it is given,
    as asyncio's ``create_server`` does, hands over a duplicate (``sock.dup()``): while the socket is open, its file
    is told from one that took its place, and nobody takes it for stale.

    On Linux, connections accepted from a TCP listener have TCP_NODELAY already.

    Attributes:
        sock: The socket.
        requested: The address that was asked for: a name, port 0, ``fd://3``.
        address: The address that the socket has: ``tcp://127.0.0.1:43117``. Never a name, never ``fd://``.
        backlog: What listen(2) was called with; asyncio calls it once more and is to be told the same. 0 for datagrams.
        name: What the socket is called in LISTEN_FDNAMES; empty if it was not inherited by name.
        file: The Unix socket's file, if this process made it; otherwise None.
        layer: Over the link of each connection: all bytes pass it on their way in and out. None for nothing.
        proxies: Who may connect at all, each for somebody else: by the PROXY protocol, which `layer` then speaks. None
            where peers come by themselves.
    """

    sock: socket.socket
    requested: Address
    address: Address
    backlog: int = 0
    name: str = ""
    file: SocketFile | None = None
    layer: LayerMaker | None = None
    proxies: AccessList | None = None

    @property
    def kind(self) -> Kind:
        """What the socket carries."""
        kind = self.address.kind
        assert kind is not None
        return kind

    @property
    def is_datagram(self) -> bool:
        """Whether it hears all peers, a whole datagram at a time, and has nothing to accept."""
        return self.address.is_datagram

    def refuse_clear(self) -> None:
        """Refuse to have connections served in clear where the address says TLS.

        Raises:
            TlsMaterialError: It has no layer.
        """
        if self.layer is None and (self.requested.is_tls or self.requested.scheme is Scheme.TCP_TLS):
            raise TlsMaterialError(f"{self.requested}: nothing was made that speaks TLS")


class _Socket(Protocol):
    """As much of a socket as is asked here; what asyncio and uvloop give as a transport's ``socket`` has it too."""

    @property
    def family(self) -> int: ...

    def getsockopt(self, level: int, option: int, buflen: int, /) -> bytes: ...


def peer_of(connection: _Socket, sockname: Any) -> Peer:
    """Say who is at the other end of an accepted connection.

    Args:
        connection: The connection's socket, of which only a Unix one is asked, for SO_PEERCRED.
        sockname: The peer's address, as accept(2) or a transport's ``peername`` gave it.

    Raises:
        OSError: The socket was closed already.
    """
    if isinstance(sockname, tuple):  # IPv4 has two parts, IPv6 four; asking the socket would cost as much as the rest
        return Peer(sockname, socket.AF_INET if len(sockname) == 2 else socket.AF_INET6)
    if _HAS_PEERCRED:
        return Peer(
            sockname, socket.AF_UNIX, connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED_BYTES)
        )
    return Peer(sockname, connection.family)
