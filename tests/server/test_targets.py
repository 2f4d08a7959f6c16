"""What an address stands for on this machine, and which addresses are in each other's way."""

import errno
import os
import socket
import sys

import pytest

from penstock.address import Family
from penstock.errors import ExitStatus

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="a fact of Linux")


@needs_ipv6
def test_the_ipv6_wildcard_takes_ipv4_too(listen):
    """Dual-stack, whatever net.ipv6.bindv6only says; with family=ipv6 it is IPv6 alone."""
    (dual,) = listen("tcp://[::]:0")
    (alone,) = listen("tcp://[::]:0?family=ipv6")

    assert (Family.DUAL, Family.IPV6) == (dual.address.family, alone.address.family)
    socket.create_connection(("127.0.0.1", dual.address.port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", alone.address.port))
    assert f"tcp://[::]:{alone.address.port}?family=ipv6" == str(alone.address)


@needs_ipv6
def test_an_ipv4_datagram_reaches_the_dual_stack_socket(listen):
    """UDP is dual-stack as TCP is."""
    (listener,) = listen("udp://*:0")
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", listener.address.port))
        listener.sock.settimeout(20)
        data, sender = listener.sock.recvfrom(10)

    assert (b"x", "::ffff:127.0.0.1") == (data, sender[0])


@needs_ipv6
def test_every_address_is_one_dual_stack_socket(listen):
    """``*`` asks for both families."""
    (listener,) = listen("tcp://*:0")

    assert ("::", Family.DUAL) == (listener.address.host, listener.address.family)
    assert listener.address.is_public


def test_every_address_is_ipv4_where_there_is_no_ipv6(listen, monkeypatch, refusal):
    """A kernel without IPv6 refuses to make the socket; ``*`` still serves."""

    class SocketWithoutIPv6(socket.socket):
        def __init__(self, family=-1, *args, **kwargs):
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", SocketWithoutIPv6)
    (listener,) = listen("tcp://*:0")

    assert "0.0.0.0" == listener.address.host
    assert "this machine has no IPv6" in refusal("tcp://[::]:0").problem


@needs_ipv6
@needs_linux
def test_a_link_local_address_keeps_its_zone(listen, refusal):
    """The bound address can be given back to a client of this machine."""
    with open("/proc/net/if_inet6") as file:
        found = [line.split() for line in file]
    link_local = [(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])), row[5]) for row in found if row[3] == "20"]
    if not link_local:
        pytest.skip("no interface has a link-local address")
    host, interface = link_local[0]
    (listener,) = listen(f"tcp://[{host}%{interface}]:0")

    assert f"{host}%{interface}" == listener.address.host
    assert f"write [{host}%eth0]" in refusal(f"tcp://[{host}]:0").problem


@needs_ipv6
def test_a_family_chooses_among_the_addresses_of_a_name(listen, resolve_to):
    """``?family=ipv6``: only those."""
    resolve_to("127.0.0.1", "::1")

    assert ["::1"] == [listener.address.host for listener in listen("tcp://two.example:0?family=ipv6")]


def test_a_name_that_does_not_resolve_is_refused_in_one_line(monkeypatch, refusal):
    """With what the resolver says; exit status 4."""

    def getaddrinfo(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    error = refusal("tcp://nosuch.example:9000")

    assert (
        "cannot listen on tcp://nosuch.example:9000: "
        "the host nosuch.example cannot be resolved: Name or service not known"
    ) == str(error)
    assert ExitStatus.BIND == error.exit_status


@pytest.mark.parametrize("zone", ["nosuch0", "999999", "9" * 15])
def test_an_interface_that_is_not_there_is_refused_with_those_that_are(zone, refusal):
    """By name and by number."""
    error = refusal(f"tcp://[fe80::1%{zone}]:0")

    assert f"unknown interface {zone}; this machine has " in error.problem
    assert "lo" in error.problem


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", "tcp://127.0.0.1:9 is given twice"),
        ("udp://127.0.0.1:9", "udp://127.0.0.1:9", "is given twice"),
        ("tcp://0.0.0.0:9", "tcp://127.0.0.1:9", "tcp://0.0.0.0:9 and tcp://127.0.0.1:9 are the same, or one"),
        ("tcp://two.example:9", "tcp://127.0.0.1:9", "tcp://two.example:9 and tcp://127.0.0.1:9 are the same"),
        pytest.param("tcp://[::]:9", "tcp://[::1]:9", "are the same, or one is part", marks=needs_ipv6),
        pytest.param(
            "tcp://127.0.0.1:9", "tcp://*:9", "leave that out, or write tcp://[::]:9?family", marks=needs_ipv6
        ),
        pytest.param(
            "tcp://[::]:9",
            "tcp://0.0.0.0:9",
            "tcp://[::]:9 takes IPv4 too, and so tcp://0.0.0.0:9; leave that out, or write tcp://[::]:9?family=ipv6",
            marks=needs_ipv6,
        ),
        ("unix:/tmp/x", "unix:/tmp/../tmp/x", "are the same"),
        ("unix:/tmp/x", "unix+dgram:/tmp/x", "are the same"),
        ("unix:@x", "unix:@x", "unix://@x is given twice"),
        ("fd://3", "fd://3", "fd://3 is given twice"),
        ("raw+icmp://127.0.0.1", "raw+icmp://0.0.0.0", "are the same, or one is part"),
    ],
)
def test_an_address_that_is_ours_twice_is_our_own_mistake(one, other, words, refusal, resolve_to):
    """Named as such before anything is opened, not as a port that somebody has; exit status 2."""
    resolve_to("127.0.0.1")
    error = refusal(one, other)

    assert words in error.problem
    assert ExitStatus.USAGE == error.exit_status


@pytest.mark.parametrize(
    "texts",
    [
        ["tcp://127.0.0.1:{port}", "udp://127.0.0.1:{port}"],
        ["tcp://127.0.0.1:{port}", "tcp://127.0.0.2:{port}"],
        ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0"],
        pytest.param(["tcp://0.0.0.0:{port}", "tcp://[::]:{port}?family=ipv6"], marks=needs_ipv6),
        pytest.param(["unix:@{port}", "unix+dgram:@{port}"], marks=needs_linux),
    ],
)
def test_what_only_looks_like_a_duplicate_is_served(listen, reserve, texts):
    """TCP and UDP of one port, two addresses of one port, two ports that the system chooses, IPv4 beside IPv6."""
    port = reserve()

    assert 2 == len(listen(*[text.format(port=port) for text in texts]))
