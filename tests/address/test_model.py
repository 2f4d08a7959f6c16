"""Addresses as values: what one can be asked."""

import pytest

from penstock.address import Kind, parse_address


@pytest.mark.parametrize(
    ("text", "kind", "is_datagram"),
    [
        ("tcp://a:1", Kind.STREAM, False),
        ("tls://a:1", Kind.STREAM, False),
        ("udp://a:1", Kind.DATAGRAM, True),
        ("unix:x", Kind.STREAM, False),
        ("unix+dgram:x", Kind.DATAGRAM, True),
        ("unix+seqpacket:x", Kind.SEQPACKET, False),
        ("raw+icmp://a", Kind.RAW, True),
        ("fd://3", None, False),
    ],
)
def test_the_scheme_says_what_the_socket_carries(text, kind, is_datagram):
    """Except for a descriptor, which has to be looked at."""
    address = parse_address(text)

    assert kind == address.kind
    assert is_datagram is address.is_datagram


@pytest.mark.parametrize(
    ("text", "is_public"),
    [
        ("tcp://127.0.0.1:1", False),
        ("tcp://127.9.9.9:1", False),
        ("tcp://[::1]:1", False),
        ("tcp://[::ffff:127.0.0.1]:1", False),
        ("tcp://localhost:1", False),
        ("tcp://LOCALHOST.:1", False),
        ("tcp://a.localhost:1", False),
        ("tcp://[::1%lo]:1", False),
        ("tcp://[::1%251]:1", False),
        ("unix:x", False),
        ("unix:@x", False),
        ("fd://3", False),
        ("tcp://0.0.0.0:1", True),
        ("tcp://[::]:1", True),
        (":1", True),
        ("tcp://192.0.2.1:1", True),
        ("tcp://[fe80::1%eth0]:1", True),
        ("tcp://127.example.org:1", True),
        ("tcp://notlocalhost:1", True),
        ("raw+icmp://0.0.0.0", True),
    ],
)
def test_what_other_machines_may_reach_is_public(text, is_public):
    """Every host but loopback; a name that is not localhost may be anything."""

    assert is_public is parse_address(text).is_public


def test_a_unix_socket_is_named_in_bytes():
    """The kernel takes an encoded path, or a NUL and an abstract name."""

    assert b"/run/\xc3\xa9" == parse_address("unix:///run/é").unix_name
    assert b"\0name\xff" == parse_address("unix:@name%FF").unix_name


def test_addresses_are_values():
    """Hashable, and equal when they mean the same."""

    assert 1 == len({parse_address("127.0.0.1:1"), parse_address("tcp://127.0.0.1:1")})
