"""The format of what is handed over: read by older and newer code, or refused."""

import socket
import uuid

import pytest
from msgspec.msgpack import Decoder

from penstock.address import Peer
from penstock.core.handover import CannotMoveError
from penstock.core.handover.snapshot import (
    FORMAT,
    check_places,
    decoded,
    names_as_told,
    packed,
    peer_as_told,
    peer_of,
    proxied,
    proxy_as_told,
    unpacked,
)
from penstock.core.proxy import ALPN, AUTHORITY, UNIQUE_ID, ProxiedPeer, ProxyHeader, info_of


def test_the_format_is_one_that_older_and_newer_readers_read():
    """Fields that are not known are passed over, and those that are missing have their defaults."""
    assert 1 == FORMAT
    written = packed(
        {
            "id": 7,
            "service": "echo",
            "local": "tcp://127.0.0.1:9000",
            "peer": ["127.0.0.1", 2, b""],
            "codec": "lines",
            "state": b"\xc0",
            "ages": {"opened": 1.5},
            "newer": True,
        }
    )

    assert 7 == decoded(written).id
    assert b"" == decoded(written).pending
    with pytest.raises(CannotMoveError):
        decoded(b"\xc1")
    with pytest.raises(CannotMoveError):
        decoded(packed({"id": 7}))


def test_state_is_plain_data_and_comes_back_as_what_is_asked_for():
    """Else the connection stays where it is."""
    assert {"a": [1, b"2", None]} == unpacked(packed({"a": (1, b"2", None)}), Decoder(dict))
    with pytest.raises(CannotMoveError):
        packed(object())
    with pytest.raises(CannotMoveError):
        unpacked(packed([1]), Decoder(dict))


@pytest.mark.parametrize(
    "peer",
    [
        Peer(("192.0.2.1", 51234), socket.AF_INET),
        Peer(("2001:db8::1", 51234, 0, 0), socket.AF_INET6),
        Peer("/run/client.sock", socket.AF_UNIX, b"\1\0\0\0\2\0\0\0\3\0\0\0"),
        Peer(b"\0name", socket.AF_UNIX),
    ],
    ids=str,
)
def test_a_peer_is_the_same_at_the_other_end(peer):
    """By address, and by what the system has said of it."""
    told = unpacked(packed(peer_as_told(peer)), Decoder(tuple[object, int, bytes]))

    assert peer == peer_of(told)


def test_what_a_proxy_has_said_is_the_same_at_the_other_end():
    """Whom it speaks for, where that connected to, and what follows the addresses; what is worked out of it, too."""
    proxy, client, at = (Peer((f"192.0.2.{host}", 1000 + host), socket.AF_INET) for host in (1, 2, 3))
    header = ProxyHeader(
        2, False, client, at, ((ALPN, b"h2"), (AUTHORITY, b"example"), (UNIQUE_ID, b"\0\xff"), (0xE0, b"x"))
    )
    peer = ProxiedPeer(client, info_of(header, proxy))
    for told in (peer, ProxiedPeer(proxy, info_of(ProxyHeader(1, True), proxy))):
        snapshot = unpacked(packed(proxy_as_told(told.proxy)), Decoder(list))
        assert told.proxy == proxied(Peer(told.sockname, told.family), snapshot).proxy
    assert "h2" == peer.proxy.alpn
    assert client is proxied(client, proxy_as_told(None))
    with pytest.raises(CannotMoveError):
        proxied(client, [3])


def test_keys_are_told_that_are_the_same_at_the_other_end():
    """The others have none: what waits under them is sent, whatever comes later."""
    keys = {0: "price", 1: ("EUR", 7), 2: None, 3: frozenset((1,)), 4: object()}

    assert [(0, "price"), (1, ("EUR", 7)), (2, None)] == names_as_told(keys)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (uuid.UUID(int=1), "its key in devices is a UUID, which is no plain data"),
        (("a", frozenset([1])), "its key in devices is a tuple, which is no plain data"),
        (object(), "what was to be handed over is no plain data"),
    ],
)
def test_a_key_that_would_be_another_one_in_the_next_process_keeps_its_connection(key, why):
    """It would be found there by the text of its key, and by its key no more."""
    place = "key", "devices", key, False, 0, "process"
    with pytest.raises(CannotMoveError, match=why):
        check_places([("group", "room"), place])
    check_places([("group", "room", [(1, 2)]), (*place[:2], ("a", 1, None, b"b"), *place[3:])])
