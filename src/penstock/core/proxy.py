"""The PROXY protocol, versions 1 and 2: what stands before a stream that a proxy hands on. No I/O.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt, called "the text" here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..address import Peer
from ..address.packed import INET, INET6, UNIX, pack_host, unpack_host
from ..errors import ProxyError
from ..reasons import CloseReason, Refusal
from .foreign import looks_like_http, looks_like_tls

if TYPE_CHECKING:
    from .gate import Gate

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
VERSION_1: Final = b"PROXY "

# The longest header of version 1 there can be, with its CRLF: the text, section 2.1.
MAX_LINE_BYTES: Final = 107
# Signature, version and command, family and transport, length.
FIXED_BYTES: Final = 16
# What follows those may be as long as 65535 bytes. Proxies send some hundred; with a certificate a few thousand.
MAX_REST_BYTES: Final = 16384

_LINE: Final = re.compile(rb"PROXY (TCP[46]) ([^ ]+) ([^ ]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n")
_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_STREAM, _DATAGRAM = 1, 2
# By family: what its addresses are packed as.
_ADDRESSES: Final = {
    _UNSPEC: struct.Struct(""),
    _INET: struct.Struct("!4s4sHH"),
    _INET6: struct.Struct("!16s16sHH"),
    _UNIX: struct.Struct("108s108s"),
}
_FAMILIES: Final = {_INET: INET, _INET6: INET6}

# Types of what may follow the addresses: the text, section 2.2.
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, TLS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
_TLS_VERSION, _TLS_NAME, _TLS_CIPHER = 0x21, 0x22, 0x23
_HAS_CERTIFICATE: Final = 0x02 | 0x04  # shown now, or in the session that went on
_MAX_UNIQUE_ID_BYTES: Final = 128

_POLYNOMIAL: Final = 0x82F63B78  # of CRC32c (RFC 9260 appendix A), reversed


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """What a proxy says of the TLS that it ended.

    Attributes:
        verified: Whether the client showed a certificate, and the proxy trusts it.
        version: ``TLSv1.3``; empty where the proxy does not say.
        cipher: Likewise.
        common_name: Of the client's certificate; likewise.
    """

    verified: bool
    version: str = ""
    cipher: str = ""
    common_name: str = ""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """One header.

    Attributes:
        version: 1 or 2.
        is_local: The proxy speaks for itself: it looks whether the server is there.
        source: Who connected to the proxy; None where it does not say.
        destination: Where; likewise.
        tlvs: What else it says, as types and values, in its order.
    """

    version: int
    is_local: bool = False
    source: Peer | None = None
    destination: Peer | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def introduce(self, gate: Gate, proxy: Peer, now: float) -> tuple[ProxiedPeer, Refusal | None]:
        """Have the gate judge and count whom a proxy speaks for, in place of the proxy.

        Returns:
            The peer, by whom the connection is counted from now on; and why it is refused, None where it is not.

        Raises:
            ProxyError: What the header says besides cannot be read. The proxy is counted as before.
            MemoryError: Likewise.
        """
        peer = ProxiedPeer(self.source or proxy, info_of(self, proxy))
        return peer, None if self.source is None else gate.introduce(proxy, peer, now)


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """What a proxy has said of a connection: ``conn.proxy``.

    Attributes:
        version: Of the PROXY protocol: 1 or 2.
        proxy: The proxy that sent it. ``conn.peer`` is the client it speaks for.
        is_local: The proxy speaks for itself: it looks whether the server is there.
        destination: Where the peer connected to; None where the proxy does not say.
        tlvs: All that version 2 said besides, as types and values.
        alpn: The protocol that was agreed on with the peer; None where the proxy does not say.
        authority: The name that the peer asked for; likewise.
        unique_id: What the proxy calls the connection; likewise.
        tls: What it says of the TLS between the peer and itself; None where there was none.
    """

    version: int
    proxy: Peer
    is_local: bool = False
    destination: Peer | None = None
    tlvs: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    alpn: str | None = None
    authority: str | None = None
    unique_id: bytes | None = None
    tls: ProxyTls | None = None


class ProxiedPeer(Peer):
    """A peer whom a proxy speaks for, with what else the proxy said.

    Args:
        peer: Whom: as the header has it, or the proxy itself.
        proxy: The rest.
    """

    __slots__ = ("proxy",)

    def __init__(self, peer: Peer, proxy: ProxyInfo) -> None:
        super().__init__(peer.sockname, peer.family, peer.credentials)
        self.proxy = proxy


# -- reading -----------------------------------------------------------------------------------------------------------


def header_size(data: bytes | bytearray) -> int | None:
    """Say how long the header is with which a stream begins.

    Args:
        data: What has come of the stream, at least a byte.

    Returns:
        Its size; None while it is not known, or not all of it is there.

    Raises:
        ProxyError: The stream begins with something else, or the header is too long.
    """
    if data[: len(VERSION_1)] == VERSION_1[: len(data)]:
        # A line feed of its own ends nothing: two readers of one stream must not see two headers.
        end = data.find(b"\n", 0, MAX_LINE_BYTES)
        if end > 0 and data[end - 1] == 0x0D:
            return end + 1
        if end >= 0 or len(data) >= MAX_LINE_BYTES:
            raise _bad(f"a header of version 1 has no CRLF within {MAX_LINE_BYTES} bytes" if end < 0 else "a bare LF")
        return None
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        what = "TLS" if looks_like_tls(data) else "HTTP" if looks_like_http(data) else "something else"
        raise ProxyError(CloseReason.PROXY_MISSING, f"a PROXY header is required, and there is {what} in its place")
    if len(data) > len(SIGNATURE) and data[12] >> 4 != 2:
        raise _bad(f"version {data[12] >> 4} is not known")
    if len(data) < FIXED_BYTES:
        return None
    size = int.from_bytes(data[14:16], "big")
    if size > MAX_REST_BYTES:
        raise _bad(f"a header announces {size} bytes, more than {MAX_REST_BYTES}")
    return FIXED_BYTES + size if len(data) >= FIXED_BYTES + size else None


def read_header(data: bytes) -> ProxyHeader:
    """Read one header.

    Args:
        data: All of it, and no more: see `header_size`.

    Raises:
        ProxyError: It breaks the rules.
    """
    return _read_line(data) if data.startswith(VERSION_1) else _read_binary(data)


def _read_line(data: bytes) -> ProxyHeader:
    if _UNKNOWN.fullmatch(data):
        return ProxyHeader(1)
    found = _LINE.fullmatch(data)
    if found is None:
        raise _bad("a header of version 1 is none of TCP4, TCP6 and UNKNOWN with two addresses and two ports")
    kind, *hosts, from_port, to_port = (part.decode("latin-1") for part in found.groups())
    family = INET if kind == "TCP4" else INET6
    ends = []
    for host, port in zip(hosts, (from_port, to_port), strict=True):
        try:
            packed = pack_host(family, host)
        except (OSError, ValueError):
            packed = b""
        if not packed or (family == INET and unpack_host(family, packed) != host):
            raise _bad(f"{host!r} is no address of {kind}")
        if int(port) > 65535:
            raise _bad(f"{port} is no port")
        ends.append(_peer(family, packed, int(port)))
    return ProxyHeader(1, False, ends[0], ends[1])


def _read_binary(data: bytes) -> ProxyHeader:
    command = data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    if command == _LOCAL:
        return ProxyHeader(2, True)  # whatever follows is to be passed over: the text, section 2.2
    if command != _PROXY:
        raise _bad(f"command {command} is not known")
    if family not in _ADDRESSES or transport not in (0, _STREAM, _DATAGRAM):
        raise _bad(f"family {family} with transport {transport} is not known")
    layout = _ADDRESSES[family]
    end = FIXED_BYTES + layout.size
    if len(data) < end:
        raise _bad(f"{len(data) - FIXED_BYTES} bytes are no two addresses of family {family}")
    tlvs = tuple(_tlvs(data[end:]))
    _check_sum(data, end, tlvs)
    if family == _UNSPEC or not transport:
        return ProxyHeader(2, tlvs=tlvs)
    parts = layout.unpack_from(data, FIXED_BYTES)
    if family == _UNIX:
        ends = [_unix_peer(name) for name in parts]
    else:
        ends = [_peer(_FAMILIES[family], parts[at], parts[at + 2]) for at in (0, 1)]
    return ProxyHeader(2, False, ends[0], ends[1], tlvs)


def _peer(family: int, packed: bytes, port: int) -> Peer:
    host = unpack_host(family, packed)
    return Peer((host, port) if family == INET else (host, port, 0, 0), family)


def _unix_peer(name: bytes) -> Peer:
    if name.startswith(b"\0"):
        return Peer(name.rstrip(b"\0") or "", UNIX)
    return Peer(name.partition(b"\0")[0].decode("utf-8", "surrogateescape"), UNIX)


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        end = at + 3 + int.from_bytes(data[at + 1 : at + 3], "big")
        if at + 3 > len(data) or end > len(data):
            raise _bad(f"a value of type {data[at]:#04x} ends beyond its header")
        if data[at] != NOOP:
            yield data[at], data[at + 3 : end]
        at = end


def _check_sum(data: bytes, at: int, tlvs: Sequence[tuple[int, bytes]]) -> None:
    """Compare the checksum, where there is one."""
    sums = [value for kind, value in tlvs if kind == CRC32C]
    if not sums:
        return
    if len(sums) > 1 or len(sums[0]) != 4:
        raise _bad("its checksum is not one of four bytes")
    cleared = bytearray(data)
    while cleared[at] != CRC32C:
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big")
    cleared[at + 3 : at + 7] = bytes(4)
    if crc32c(cleared) != int.from_bytes(sums[0], "big"):
        raise _bad("its checksum (CRC32c) is wrong")


def _bad(problem: str) -> ProxyError:
    return ProxyError(CloseReason.PROXY_BAD, f"the PROXY header is wrong: {problem}")


def _table() -> Iterator[int]:
    for number in range(256):
        value = number
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        yield value


_TABLE: Final = tuple(_table())


def crc32c(data: Iterable[int]) -> int:
    """Return the checksum of bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


# -- what is made of it ------------------------------------------------------------------------------------------------


def info_of(header: ProxyHeader, proxy: Peer) -> ProxyInfo:
    """Return what a handler is told of a header.

    Raises:
        ProxyError: A value in it cannot be read.
    """
    known = dict(header.tlvs)
    unique_id = known.get(UNIQUE_ID)
    if unique_id is not None and len(unique_id) > _MAX_UNIQUE_ID_BYTES:
        raise _bad(f"its identifier has {len(unique_id)} bytes, more than {_MAX_UNIQUE_ID_BYTES}")
    return ProxyInfo(
        header.version,
        proxy,
        header.is_local,
        header.destination,
        header.tlvs,
        _text(known.get(ALPN)),
        _text(known.get(AUTHORITY)),
        unique_id,
        _tls(known[TLS]) if TLS in known else None,
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _tls(value: bytes) -> ProxyTls:
    if len(value) < 5:
        raise _bad("what it says of TLS is too short")
    parts = {kind: _text(part) or "" for kind, part in _tlvs(value[5:])}
    return ProxyTls(
        bool(value[0] & _HAS_CERTIFICATE) and not any(value[1:5]),
        parts.get(_TLS_VERSION, ""),
        parts.get(_TLS_CIPHER, ""),
        parts.get(_TLS_NAME, ""),
    )


# -- writing -----------------------------------------------------------------------------------------------------------


def write_header(header: ProxyHeader, *, checksum: bool = False) -> bytes:
    """Return the bytes of a header.

    Args:
        header: What to say.
        checksum: Whether a header of version 2 has one.

    Raises:
        ValueError: Its version cannot say that.
    """
    source, destination = header.source, header.destination
    if (source is None) != (destination is None):
        raise ValueError("a PROXY header has both ends, or none")
    if header.version == 1:
        return _write_line(header)
    tlvs = b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in header.tlvs)
    family, addresses = _UNSPEC, b""
    if source is not None and destination is not None and not header.is_local:
        family, addresses = _pack(source, destination)
    if checksum:
        tlvs += struct.pack("!BHI", CRC32C, 4, 0)
    rest = addresses + tlvs
    command = _LOCAL if header.is_local else _PROXY
    written = SIGNATURE + struct.pack("!BBH", 0x20 | command, family << 4 | bool(family), len(rest)) + rest
    return written[:-4] + struct.pack("!I", crc32c(written)) if checksum else written


def _write_line(header: ProxyHeader) -> bytes:
    source, destination = header.source, header.destination
    if header.is_local or header.tlvs:
        raise ValueError("version 1 of the PROXY protocol says no more than two addresses")
    if source is None or destination is None or source.port is None or destination.port is None:
        return b"PROXY UNKNOWN\r\n"
    kind = "TCP6" if _is_ipv6(source) or _is_ipv6(destination) else "TCP4"
    ends = [_host(end, ipv6=kind == "TCP6") for end in (source, destination)]
    return f"PROXY {kind} {ends[0]} {ends[1]} {source.port} {destination.port}\r\n".encode()


def _pack(source: Peer, destination: Peer) -> tuple[int, bytes]:
    if source.port is None or destination.port is None:
        if source.port is not None or destination.port is not None:
            raise ValueError(f"{source} and {destination} are of two families")
        return _UNIX, _ADDRESSES[_UNIX].pack(*(_name(end) for end in (source, destination)))
    ipv6 = _is_ipv6(source) or _is_ipv6(destination)
    family = _INET6 if ipv6 else _INET
    hosts = [pack_host(_FAMILIES[family], _host(end, ipv6=ipv6)) for end in (source, destination)]
    return family, _ADDRESSES[family].pack(*hosts, source.port, destination.port)


def _is_ipv6(peer: Peer) -> bool:
    return ":" in peer.host


def _host(peer: Peer, *, ipv6: bool) -> str:
    host = peer.host.partition("%")[0]
    return f"::ffff:{host}" if ipv6 and ":" not in host else host


def _name(peer: Peer) -> bytes:
    name = peer.sockname
    return name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogateescape")
