"""What a datagram's answer is sent with, by what the kernel said of the datagram."""

import socket
import struct
import sys

import pytest

from penstock.engines.destination import IP_PKTINFO, IPV6_PKTINFO, source_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as Linux says it")


def ipv4(local, sent_to, interface=2):
    packed = struct.pack("=i4s4s", interface, socket.inet_aton(local), socket.inet_aton(sent_to))
    return socket.IPPROTO_IP, IP_PKTINFO, packed


def ipv6(address, interface=2):
    return (
        socket.IPPROTO_IPV6,
        IPV6_PKTINFO,
        struct.pack("=16sI", socket.inet_pton(socket.AF_INET6, address), interface),
    )


@pytest.mark.parametrize(
    ("said", "source"),
    [
        ([], None),
        ([ipv4("192.0.2.1", "192.0.2.1")], ipv4("192.0.2.1", "0.0.0.0", 0)),
        ([ipv4("192.0.2.1", "192.0.2.255")], ipv4("192.0.2.1", "0.0.0.0", 0)),  # a broadcast
        ([ipv4("192.0.2.1", "224.0.0.251")], ipv4("192.0.2.1", "0.0.0.0", 0)),
        ([ipv4("0.0.0.0", "192.0.2.1")], ipv4("192.0.2.1", "0.0.0.0", 0)),  # it lay there before it was asked for
        ([ipv4("0.0.0.0", "224.0.0.251")], None),
        ([ipv4("0.0.0.0", "255.255.255.255")], None),
        ([ipv6("2001:db8::1")], ipv6("2001:db8::1", 0)),
        ([ipv6("fe80::1", 3)], ipv6("fe80::1", 3)),  # means nothing without its interface
        ([ipv6("ff02::1")], None),
        ([ipv6("::ffff:192.0.2.1")], None),
        ([ipv6("::ffff:192.0.2.255"), ipv4("192.0.2.1", "192.0.2.255")], ipv4("192.0.2.1", "0.0.0.0", 0)),
        ([(socket.IPPROTO_IP, IP_PKTINFO, b"short"), (socket.SOL_SOCKET, 1, b"other")], None),
    ],
)
def test_the_answer_is_from_an_address_of_the_machines_that_was_asked(said, source):
    """Never from a group's or a broadcast's; by which interface is the routes' to say."""
    assert (source and source[2]) == source_of(said)
