"""The PROXY protocol: what is a header, what it says, what is none, and that how it comes changes nothing."""

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.address import Peer
from penstock.core.proxy import (
    ALPN,
    AUTHORITY,
    CRC32C,
    NOOP,
    SIGNATURE,
    TLS,
    UNIQUE_ID,
    ProxyHeader,
    ProxyTls,
    crc32c,
    header_size,
    info_of,
    read_header,
    write_header,
)
from penstock.errors import ProxyError

HERE = Peer(("192.0.2.1", 443), socket.AF_INET)
THERE = Peer(("203.0.113.7", 51234), socket.AF_INET)


def v2(command=1, family=0x11, rest=b"", size=None, version=2):
    size = len(rest) if size is None else size
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family, size) + rest


FOUR = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 51234, 443)
SIX = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack("!HH", 1, 65535)


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def read(data):
    assert len(data) == header_size(data)
    return read_header(data)


RIGHT = {
    "v1 IPv4": (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n", "203.0.113.7:51234", "192.0.2.1:443"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1", "[2001:db8::2]:65535"),
    "v1 longest": (
        b"PROXY TCP6 " + b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff " * 2 + b"65535 65535\r\n",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "None", "None"),
    "v1 unknown and more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "None", "None"),
    "v2 IPv4": (v2(rest=FOUR), "203.0.113.7:51234", "192.0.2.1:443"),
    "v2 IPv6": (v2(family=0x21, rest=SIX), "[::1]:1", "[::2]:65535"),
    "v2 of a datagram": (v2(family=0x12, rest=FOUR), "203.0.113.7:51234", "192.0.2.1:443"),
    "v2 Unix": (v2(family=0x31, rest=b"/run/a".ljust(108, b"\0") + bytes(108)), "unix:/run/a", "unix"),
    "v2 abstract": (v2(family=0x31, rest=b"\0a".ljust(108, b"\0") + bytes(108)), "unix:@a", "unix"),
    "v2 unspecified": (v2(family=0, rest=b""), "None", "None"),
    "v2 local": (v2(0, 0), "None", "None"),
    "v2 local with what is to be passed over": (v2(0, 0x11, FOUR + b"\1\xff\xff"), "None", "None"),
    "v2 with padding": (v2(rest=FOUR + tlv(NOOP, bytes(40))), "203.0.113.7:51234", "192.0.2.1:443"),
}
WRONG = {
    "v1 no family": (b"PROXY \r\n", "none of TCP4"),
    "v1 UDP": (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "none of TCP4"),
    "v1 lower case": (b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "none of TCP4"),
    "v1 two spaces": (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "none of TCP4"),
    "v1 one port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "none of TCP4"),
    "v1 a leading zero": (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "none of TCP4"),
    "v1 a sign": (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "none of TCP4"),
    "v1 a port beyond": (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "65536 is no port"),
    "v1 three numbers": (b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "'1.2.3' is no address of TCP4"),
    "v1 octal": (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "'1.2.3.04' is no address of TCP4"),
    "v1 the other family": (b"PROXY TCP4 ::1 1.2.3.4 1 2\r\n", "'::1' is no address of TCP4"),
    "v1 a zone": (b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "'fe80::1%lo' is no address of TCP6"),
    "v1 NUL": (b"PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", "is no address of TCP4"),
    "v1 LF alone": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "a bare LF"),
    "v1 LF within": (b"PROXY UNKNOWN\nhello\r\n", "a bare LF"),
    "v1 CR within": (b"PROXY UNKNOWN \rhello\r\n", "none of TCP4"),
    "v1 no end": (b"PROXY UNKNOWN " + b"a" * 94, "no CRLF within 107 bytes"),
    "v2 of version 1": (v2(version=1, rest=FOUR), "version 1 is not known"),
    "v2 of version 3": (v2(version=3, rest=FOUR), "version 3 is not known"),
    "v2 another command": (v2(2, rest=FOUR), "command 2 is not known"),
    "v2 another family": (v2(family=0x41, rest=FOUR), "family 4 with transport 1"),
    "v2 another transport": (v2(family=0x13, rest=FOUR), "family 1 with transport 3"),
    "v2 too short for its family": (v2(rest=FOUR[:-1]), "11 bytes are no two addresses of family 1"),
    "v2 too long": (v2(size=16385), "announces 16385 bytes, more than 16384"),
    "v2 a value that ends beyond": (v2(rest=FOUR + b"\1\0\2x"), "a value of type 0x01 ends beyond"),
    "v2 a value without a length": (v2(rest=FOUR + b"\1\0"), "a value of type 0x01 ends beyond"),
    "v2 a wrong checksum": (v2(rest=FOUR + tlv(CRC32C, b"abcd")), "checksum (CRC32c) is wrong"),
    "v2 a short checksum": (v2(rest=FOUR + tlv(CRC32C, b"abc")), "checksum is not one of four bytes"),
    "v2 two checksums": (v2(rest=FOUR + tlv(CRC32C, b"abcd") * 2), "checksum is not one of four bytes"),
}
MISSING = {
    "text": (b"hello\n", "something else"),
    "HTTP": (b"GET / HTTP/1.1\r\n", "HTTP"),
    "HTTP that begins alike": (b"PUT / HTTP/1.1\r\n", "HTTP"),
    "TLS": (b"\x16\x03\x01\x00\x05\x01", "TLS"),
    "a header without its space": (b"PROXYTCP4 1.2.3.4", "something else"),
    "a signature but for its end": (SIGNATURE[:-1] + b"\r", "something else"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_a_header_says(name):
    """Every family of both versions; what names nobody is told apart from what is wrong."""
    data, source, destination = RIGHT[name]
    header = read(data)

    assert (source, destination) == (str(header.source), str(header.destination))
    assert header.is_local == name.startswith("v2 local")


@pytest.mark.parametrize("name", RIGHT)
def test_how_a_header_comes_changes_nothing(name):
    """At every size short of all it is not there yet, and what follows it is none of it."""
    data = RIGHT[name][0]

    assert [None] * (len(data) - 1) == [header_size(data[:size]) for size in range(1, len(data))]
    assert len(data) == header_size(data + data)  # a second one is the stream's own


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    """Never guessed at: each of these is another mistake, and has its sentence."""
    data, words = WRONG[name]
    with pytest.raises(ProxyError) as caught:
        read(data)

    assert "proxy_bad" == caught.value.reason
    assert words in str(caught.value)


@pytest.mark.parametrize("name", MISSING)
def test_what_is_no_header_is_known_by_its_first_other_byte(name):
    """What is spoken in its place is told, as far as it is known."""
    data, what = MISSING[name]
    with pytest.raises(ProxyError) as caught:
        header_size(data)

    assert ("proxy_missing", f"a PROXY header is required, and there is {what} in its place") == (
        caught.value.reason,
        str(caught.value),
    )


@given(data=st.binary(min_size=1, max_size=300), begins=st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE]))
def test_whatever_comes_is_a_header_or_a_proxy_error(data, begins):
    """No other error, and never more bytes than there are."""
    stream = begins + data
    size = None
    with contextlib.suppress(ProxyError):
        size = header_size(stream)
    if size is not None:
        with contextlib.suppress(ProxyError):
            info_of(read_header(stream[:size]), HERE)

    assert size is None or 0 < size <= len(stream)


@given(st.data())
def test_a_header_with_one_byte_changed_is_refused_by_its_checksum(data):
    """CRC32c finds every error of one byte, wherever it is; a change of the beginning is none of its matters."""
    header = bytearray(write_header(ProxyHeader(2, False, THERE, HERE, ((UNIQUE_ID, b"one"),)), checksum=True))
    at = data.draw(st.integers(16, 27) | st.integers(31, 33))  # addresses, ports, the identifier
    header[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProxyError, match="checksum"):
        read(bytes(header))


def test_the_checksum_is_that_of_the_standard():
    """RFC 9260 appendix A, by the check value of its polynomial, and 32 zeroes of RFC 3720 appendix B.4."""
    assert (0xE3069283, 0x8A9136AA) == (crc32c(b"123456789"), crc32c(bytes(32)))


ends = st.one_of(
    st.tuples(st.just(socket.AF_INET), st.ip_addresses(v=4), st.integers(0, 65535)),
    st.tuples(st.just(socket.AF_INET6), st.ip_addresses(v=6), st.integers(0, 65535)),
)


def peer_of(end):
    family, host, port = end
    text = socket.inet_ntop(family, host.packed)
    return Peer((text, port) if family == socket.AF_INET else (text, port, 0, 0), family)


@given(
    st.sampled_from([1, 2]), ends, ends, st.lists(st.tuples(st.integers(5, 255), st.binary(max_size=50)), max_size=4)
)
def test_what_is_written_is_read(version, source, destination, tlvs):
    """An IPv4 end beside one of IPv6 is written as mapped, and is the same host."""
    header = ProxyHeader(version, False, peer_of(source), peer_of(destination), tuple(tlvs) if version == 2 else ())
    found = read(write_header(header))
    ends_found = [(end.host, end.port) for end in (found.source, found.destination)]

    assert [(end.host, end.port) for end in (header.source, header.destination)] == [
        (host.removeprefix("::ffff:") if "." in host else host, port) for host, port in ends_found
    ]
    assert header.tlvs == found.tlvs


def test_what_else_a_proxy_says():
    """Protocol, name, identifier, and the TLS that it ended."""
    said = b"\x07" + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"alice") + tlv(0x23, b"AES") + tlv(0x99, b"?")
    tlvs = ((ALPN, b"h2"), (AUTHORITY, b"example.org"), (UNIQUE_ID, b"\x00\x01"), (TLS, said), (0xEA, b"vpce"))
    info = info_of(read(write_header(ProxyHeader(2, False, THERE, HERE, tlvs))), HERE)

    assert (2, HERE, "h2", "example.org", b"\x00\x01", tlvs) == (
        info.version,
        info.proxy,
        info.alpn,
        info.authority,
        info.unique_id,
        info.tlvs,
    )
    assert ProxyTls(True, "TLSv1.3", "AES", "alice") == info.tls


@pytest.mark.parametrize(
    ("flags", "verify", "verified"), [(7, 0, True), (5, 0, True), (7, 1, False), (1, 0, False), (1, 1, False)]
)
def test_a_certificate_counts_if_it_was_shown_and_verified(flags, verify, verified):
    """``verify`` is 0 too where no certificate was shown: the text, section 2.2.6."""
    info = info_of(ProxyHeader(2, tlvs=((TLS, struct.pack("!BI", flags, verify)),)), HERE)

    assert verified == (info.tls and info.tls.verified)


@pytest.mark.parametrize(
    "tlvs", [((TLS, b"\x01"),), ((TLS, bytes(5) + b"\x21\x00\x05a"),), ((UNIQUE_ID, bytes(129)),)], ids=str
)
def test_what_else_a_proxy_says_may_be_wrong_too(tlvs):
    """Values within values, and one that is longer than it may be."""
    with pytest.raises(ProxyError) as caught:
        info_of(ProxyHeader(2, tlvs=tlvs), HERE)

    assert "proxy_bad" == caught.value.reason


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (ProxyHeader(1, True), "version 1"),
        (ProxyHeader(1, tlvs=((5, b""),)), "version 1"),
        (ProxyHeader(2, source=HERE), "both ends"),
        (ProxyHeader(2, False, HERE, Peer("/run/x", socket.AF_UNIX)), "two families"),
    ],
)
def test_what_cannot_be_said_is_not_written(header, words):
    """A caller's mistake."""
    with pytest.raises(ValueError, match=words):
        write_header(header)
