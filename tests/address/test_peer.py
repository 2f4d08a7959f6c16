"""Peers: who is at the other end, in text and in fields."""

import pickle
import socket
import struct

import pytest

from penstock.address import Peer

LOOPBACK = next((index for index, name in socket.if_nameindex() if name == "lo"), 0)


@pytest.mark.parametrize(
    ("family", "sockname", "text", "host", "port"),
    [
        (socket.AF_INET, ("192.0.2.1", 51234), "192.0.2.1:51234", "192.0.2.1", 51234),
        (socket.AF_INET6, ("2001:db8::1", 5, 0, 0), "[2001:db8::1]:5", "2001:db8::1", 5),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1:5", "192.0.2.1", 5),
        (socket.AF_INET6, ("fe80::1", 5, 0, 999999), "[fe80::1%999999]:5", "fe80::1%999999", 5),
        (socket.AF_INET6, ("fe80::1", 5, 0, 251), "[fe80::1%25251]:5", "fe80::1%251", 5),
        (socket.AF_UNIX, "", "unix", "", None),
        (socket.AF_UNIX, None, "unix", "", None),
        (socket.AF_UNIX, "/run/client.sock", "unix:/run/client.sock", "", None),
        (socket.AF_UNIX, "/run/a b\n", "unix:/run/a%20b%0A", "", None),
        (socket.AF_UNIX, b"\0name", "unix:@name", "", None),
        (socket.AF_UNIX, "@file", "unix:./@file", "", None),
    ],
)
def test_a_peer_has_one_text_and_a_host_to_be_counted_by(family, sockname, text, host, port):
    """An IPv4 peer of a dual-stack socket is an IPv4 peer; a Unix peer has neither host nor port."""
    peer = Peer(sockname, family)

    assert (text, host, port) == (str(peer), peer.host, peer.port)
    assert f"<Peer {text}>" == repr(peer)
    assert sockname == peer.sockname


@pytest.mark.skipif(not LOOPBACK, reason="this machine's loopback interface is not called lo")
def test_a_zone_is_shown_by_its_interface():
    """A link-local address means nothing without it."""

    assert "[fe80::1%lo]:5" == str(Peer(("fe80::1", 5, 0, LOOPBACK), socket.AF_INET6))


def test_an_unnamed_unix_peer_is_known_by_its_credentials():
    """What SO_PEERCRED gives: process, user, group. A user number has all of its 32 bits."""
    peer = Peer("", socket.AF_UNIX, struct.pack("=iII", 123, 2**32 - 2, 1000))

    assert "unix:pid=123,uid=4294967294" == str(peer)
    assert (123, 2**32 - 2, 1000) == (peer.pid, peer.uid, peer.gid)


def test_without_credentials_nothing_is_claimed():
    """None, not zero: zero would be root."""
    peer = Peer("", socket.AF_UNIX)

    assert (None, None, None) == (peer.pid, peer.uid, peer.gid)


def test_peers_are_values():
    """Equal and hashable by what the system said; datagrams of one sender have one peer."""
    one, same = Peer(("192.0.2.1", 5), socket.AF_INET), Peer(("192.0.2.1", 5), socket.AF_INET)

    assert one == same
    assert 1 == len({one, same})
    assert one != Peer(("192.0.2.1", 6), socket.AF_INET)
    assert one != Peer(("192.0.2.1", 5), socket.AF_INET6)
    assert one != "192.0.2.1:5"
    assert one == pickle.loads(pickle.dumps(one))
