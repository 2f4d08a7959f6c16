"""The sending side of the PROXY protocol: a client that is a proxy says whose connection it is."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final, Literal

from ..address import Address, Kind, Peer, parse_address
from ..core.proxy import ProxyHeader, write_header
from ..errors import ConfigurationError, ConnectError, Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class SendProxy:
    """A header of the PROXY protocol, sent first of all: before TLS, before any message.

    Attributes:
        version: 1 or 2.
        source: Whose connection it is, as ``HOST:PORT`` (``[IPV6]:PORT``) or ``unix:PATH``; None: this socket's end.
        destination: Where that one connected to; None: the other end of this socket.
        local: Say that the connection is the client's own, as health checks do. Version 2 only.
        tlvs: What else to say, as types and values. Version 2 only.
        checksum: Add a checksum (CRC32c). Version 2 only.

    Raises:
        ConfigurationError: An address is none, or the version cannot say that.
    """

    version: Literal[1, 2] = 2
    source: str | None = None
    destination: str | None = None
    local: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()
    checksum: bool = False

    def __post_init__(self) -> None:
        if self.version not in (1, 2):
            raise ConfigurationError(f"version is {self.version!r}: 1 or 2", "SendProxy.version")
        if self.version == 1 and (self.local or self.tlvs or self.checksum):
            raise ConfigurationError(
                "version 1 of the PROXY protocol says no more than two addresses", "SendProxy.version"
            )
        for name in ("source", "destination"):
            text = getattr(self, name)
            if text is not None:
                try:
                    _end(text)
                except ConfigurationError as error:
                    raise ConfigurationError(error.problem, f"SendProxy.{name}") from None

    def of(self, sock: socket.socket) -> bytes:
        """Return the header for a connected socket.

        Raises:
            ConfigurationError: The two ends are of different families.
        """
        own, other = (Peer(name, sock.family) for name in (sock.getsockname(), sock.getpeername()))
        source = own if self.source is None else _end(self.source)
        destination = other if self.destination is None else _end(self.destination)
        header = ProxyHeader(self.version, self.local, source, destination, self.tlvs)
        try:
            return write_header(header, checksum=self.checksum)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"a PROXY header cannot say that: {error}", "SendProxy") from None

    def announce(self, sock: socket.socket, target: Address) -> None:
        """Send it on a socket that was connected just now. The socket is closed where that fails.

        A new connection's buffer has room for it.

        Raises:
            ConfigurationError: The target is no stream, or the header cannot be.
            ConnectError: The kernel did not take it whole.
            OSError: The peer has gone.
        """
        try:
            if target.kind not in (None, Kind.STREAM):
                raise ConfigurationError(
                    f"{target}: the PROXY protocol needs a stream, and this is a {target.kind} socket"
                )
            header = self.of(sock)
            if sock.send(header) != len(header):
                problem = "the kernel's buffer has no room for the PROXY header"
                raise ConnectError(str(target), problem, None, Phase.HANDSHAKE)
        except BaseException:
            sock.close()
            raise


_FAMILIES: Final = {True: socket.AF_INET6, False: socket.AF_INET}


def _end(text: str) -> Peer:
    address = parse_address(text)
    if address.is_unix:
        return Peer(address.path, socket.AF_UNIX)
    is_ipv6 = ":" in address.host
    if not address.host.replace(".", "").isdecimal() and not is_ipv6:
        raise ConfigurationError(f"{text!r} is no address: a PROXY header has no names")
    host, port = address.host.partition("%")[0], address.port or 0
    return Peer((host, port, 0, 0) if is_ipv6 else (host, port), _FAMILIES[is_ipv6])
