"""Listeners, and peers of sockets that they accepted."""

import os
import socket
import sys

import pytest

from penstock.address import Address, Kind, Scheme
from penstock.engines.listener import Listener, peer_of


def test_a_listener_is_what_its_bound_address_says():
    """The address asked for may be a descriptor, of which nothing is known."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        listener = Listener(sock, Address(Scheme.FD, fd=3), Address(Scheme.UDP, "127.0.0.1", 9))

    assert Kind.DATAGRAM is listener.kind
    assert listener.is_datagram


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED with struct ucred is Linux's")
def test_a_unix_peer_is_who_connected():
    """The kernel says which process and which user, whatever the peer says itself."""
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        peer = peer_of(here, here.getpeername())

        assert (os.getpid(), os.getuid(), os.getgid()) == (peer.pid, peer.uid, peer.gid)
        assert f"unix:pid={os.getpid()},uid={os.getuid()}" == str(peer)


def test_a_network_peer_is_its_address():
    """Nothing is asked of the kernel: accept(2) said it."""
    with socket.socket() as sock:
        peer = peer_of(sock, ("192.0.2.1", 5))

    assert "192.0.2.1:5" == str(peer)
    assert peer.pid is None
