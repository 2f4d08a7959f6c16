"""What an address is."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .unix_name import quote_path, unix_name_of_path

ANY_HOST: Final = "*"


class Kind(StrEnum):
    """What a socket carries."""

    STREAM = "stream"
    DATAGRAM = "datagram"
    SEQPACKET = "seqpacket"
    RAW = "raw"


class Family(StrEnum):
    """Which addresses a socket speaks."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DUAL = "dual"  # one IPv6 socket that takes IPv4 too
    UNIX = "unix"
    ANY = "any"  # not known before the name is resolved, or the descriptor looked at


class Scheme(StrEnum):
    """What an address begins with."""

    TCP = "tcp"
    TLS = "tls"
    TCP_TLS = "tcp+tls"
    UDP = "udp"
    UNIX = "unix"
    UNIX_DGRAM = "unix+dgram"
    UNIX_SEQPACKET = "unix+seqpacket"
    RAW_ICMP = "raw+icmp"
    FD = "fd"


UNIX_SCHEMES: Final = frozenset({Scheme.UNIX, Scheme.UNIX_DGRAM, Scheme.UNIX_SEQPACKET})

_KINDS: Final = {
    Scheme.TCP: Kind.STREAM,
    Scheme.TLS: Kind.STREAM,
    Scheme.TCP_TLS: Kind.STREAM,
    Scheme.UDP: Kind.DATAGRAM,
    Scheme.UNIX: Kind.STREAM,
    Scheme.UNIX_DGRAM: Kind.DATAGRAM,
    Scheme.UNIX_SEQPACKET: Kind.SEQPACKET,
    Scheme.RAW_ICMP: Kind.RAW,
}


@dataclass(frozen=True, slots=True)
class Address:
    """One address in its one canonical form: ``parse_address(str(address)) == address``.

    Made by `parse_address`; the class itself checks nothing.

    Attributes:
        scheme: What the address begins with.
        host: Name in lower case, IPv4 address, IPv6 address without brackets (``fe80::1%eth0``), or ``*``;
            empty for Unix sockets and descriptors.
        port: 0 to 65535, where 0 lets the system choose; None where there are no ports.
        path: Of a Unix socket, as written: absolute, relative, or ``@name`` for an abstract name; otherwise empty.
        fd: Number of an inherited descriptor, or its name in LISTEN_FDNAMES; otherwise None.
        family: `Family.ANY` for a name that may resolve to either, and for descriptors.
        mode: Permissions of the Unix socket's file, 0 to 0o777, or None: the server's default.
        interface: Name or number of the interface on which an IPv4 multicast group is joined and sent to; empty for the
            one that the routes name. IPv6 writes it as the zone of the host.
        tls: Whether TLS is spoken on a Unix stream or a descriptor (``?tls=on``); of others the scheme says it.
        starts_tls: Whether TLS begins when a handler says so (``?tls=start``).
        direct: Whether peers come by themselves, though others of the server come by a proxy (``?proxy=off``).
    """

    scheme: Scheme
    host: str = ""
    port: int | None = None
    path: str = ""
    fd: int | str | None = None
    family: Family = Family.ANY
    mode: int | None = None
    interface: str = ""
    tls: bool = False
    starts_tls: bool = False
    direct: bool = False

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken there."""
        return self.tls or self.scheme is Scheme.TLS

    @property
    def may_be_tls(self) -> bool:
        """Whether TLS may be spoken there, at once or later: it needs a certificate."""
        return self.is_tls or self.starts_tls or self.scheme is Scheme.TCP_TLS

    @property
    def kind(self) -> Kind | None:
        """What the socket carries; None for ``fd://``, whose socket alone knows."""
        return _KINDS.get(self.scheme)

    @property
    def is_datagram(self) -> bool:
        """Whether one socket hears all peers, a whole datagram at a time: UDP, Unix datagram, raw."""
        return self.kind in {Kind.DATAGRAM, Kind.RAW}

    @property
    def is_multicast(self) -> bool:
        """Whether its host is a multicast group: 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 section 2.7)."""
        if is_ipv4(self.host):
            return 224 <= int(self.host.partition(".")[0]) < 240
        return ":" in self.host and self.host.startswith("ff") and len(self.host.partition(":")[0]) == 4

    @property
    def is_unix(self) -> bool:
        """Whether it is a Unix socket, with a file or an abstract name."""
        return self.scheme in UNIX_SCHEMES

    @property
    def is_abstract(self) -> bool:
        """Whether it is a Unix socket with a name in the kernel and no file, hence no permissions either."""
        return self.path.startswith("@")

    @property
    def is_public(self) -> bool:
        """Whether other machines may reach it: every host but loopback and localhost, so also a name not yet resolved.

        False for ``fd://``: ask the address that its listener is really bound to.
        """
        if not self.host:
            return False
        if is_ipv4(self.host):
            return not self.host.startswith("127.")
        name = self.host.removesuffix(".").partition("%")[0]
        return name not in {"::1", "localhost"} and not name.endswith(".localhost")

    @property
    def unix_name(self) -> bytes:
        """What bind(2) and connect(2) take for a Unix socket: the encoded path, or NUL and the abstract name."""
        return unix_name_of_path(self.path)

    def __str__(self) -> str:
        query = "&".join(self._parameters())
        query = f"?{query}" if query else ""
        if self.fd is not None:
            return f"{self.scheme}://{self.fd}{query}"
        if self.is_unix:
            slashes = "//" if self.path.startswith(("/", "@")) else ""
            return f"{self.scheme}:{slashes}{quote_path(self.path)}{query}"
        host = host_in_address(self.host)
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{query}"

    def _parameters(self) -> Iterator[str]:
        if self.mode is not None:
            yield f"mode={self.mode:04o}"
        if self.interface:
            yield f"interface={self.interface}"
        elif self.host and self.family is not default_family(self.scheme, self.host):
            yield f"family={self.family}"
        if self.tls:
            yield "tls=on"
        elif self.starts_tls:
            yield "tls=start"
        if self.direct:
            yield "proxy=off"


def default_family(scheme: Scheme, host: str) -> Family:
    """Say what ``host`` means without ``?family=``."""
    # ICMP and ICMPv6 are two protocols: no raw socket speaks both.
    if host in {ANY_HOST, "::"} and scheme is not Scheme.RAW_ICMP:
        return Family.DUAL
    if ":" in host:
        return Family.IPV6
    return Family.IPV4 if is_ipv4(host) else Family.ANY


def host_in_address(host: str) -> str:
    """Write a host as it stands in an address: IPv6 in brackets, a zone as `parse_address` reads it back.

    ``%25`` is read as the ``%`` of RFC 6874, so a zone that begins with 25 is written after it.
    """
    if ":" not in host:
        return host
    literal, percent, zone = host.partition("%")
    return f"[{literal}{'%25' if zone.startswith('25') else percent}{zone}]"


def is_ipv4(host: str) -> bool:
    """Whether a host that was parsed is an IPv4 address: nothing else that parses has only digits and dots."""
    return host.replace(".", "").isdecimal()
