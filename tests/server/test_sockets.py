"""Opening listeners: on every kind of address, all or none; and closing them."""

import logging
import os
import socket
import stat
import sys

import pytest

from penstock.address import Address, Family, Kind, Scheme, parse_address
from penstock.errors import BindError
from penstock.server import sockets
from penstock.server.sockets import close_listeners, open_listeners

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="a fact of Linux")


@pytest.mark.parametrize(
    ("text", "family", "type_"),
    [
        ("tcp://127.0.0.1:0", socket.AF_INET, socket.SOCK_STREAM),
        ("udp://127.0.0.1:0", socket.AF_INET, socket.SOCK_DGRAM),
        pytest.param("tcp://[::1]:0", socket.AF_INET6, socket.SOCK_STREAM, marks=needs_ipv6),
        pytest.param("udp://[::1]:0", socket.AF_INET6, socket.SOCK_DGRAM, marks=needs_ipv6),
    ],
)
def test_a_network_address_becomes_a_bound_socket(listen, text, family, type_):
    """The listener says the port that the system chose; the socket neither blocks nor is inherited."""
    (listener,) = listen(text)

    assert (family, type_) == (listener.sock.family, listener.sock.type)
    assert parse_address(text) == listener.requested
    assert listener.address == parse_address(str(listener.address))
    assert listener.sock.getsockname()[:2] == (listener.address.host, listener.address.port)
    assert listener.address.port != 0
    assert listener.sock.getblocking() is False
    assert listener.sock.get_inheritable() is False
    assert (type_ == socket.SOCK_DGRAM) is listener.is_datagram


@pytest.mark.parametrize("scheme", ["unix", "unix+dgram", "unix+seqpacket"])
@pytest.mark.parametrize("where", ["{}/x.sock", "@{}/abstract"])
def test_a_unix_address_becomes_a_bound_socket(listen, tmp_path, scheme, where):
    """With a path or with an abstract name, of each kind."""
    if where.startswith("@") and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    (listener,) = listen(f"{scheme}:{where.format(tmp_path)}")

    with socket.socket(socket.AF_UNIX, listener.sock.type) as client:
        client.connect(listener.address.unix_name)
    assert listener.requested == listener.address
    assert (scheme == "unix+dgram") is listener.is_datagram
    assert listener.sock.getblocking() is False
    assert listener.sock.get_inheritable() is False


def test_listeners_come_in_the_order_of_their_addresses(listen, tmp_path):
    """Several kinds at once."""
    listeners = listen("udp://127.0.0.1:0", f"unix:{tmp_path}/x", "tcp://127.0.0.1:0", f"unix+dgram:{tmp_path}/y")

    assert [Kind.DATAGRAM, Kind.STREAM, Kind.STREAM, Kind.DATAGRAM] == [listener.kind for listener in listeners]


def test_no_address_is_no_listener():
    """Nothing asked, nothing opened."""

    assert [] == open_listeners([])


@needs_linux
def test_accepted_connections_have_nodelay(listen):
    """Inherited from the listener: a reply is not held back for the last one's acknowledgement."""
    (listener,) = listen("tcp://127.0.0.1:0")
    with socket.create_connection(listener.sock.getsockname()), listener.sock.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@needs_root
def test_a_raw_socket_hears_icmp(listen):
    """It has no port."""
    (listener,) = listen("raw+icmp://127.0.0.1")

    assert (socket.SOCK_RAW, socket.IPPROTO_ICMP) == (listener.sock.type, listener.sock.proto)
    assert "raw+icmp://127.0.0.1" == str(listener.address)


@needs_root
@needs_ipv6
def test_a_raw_ipv6_socket_hears_icmpv6(listen):
    """Another protocol than IPv4's."""
    (listener,) = listen("raw+icmp://[::]")

    assert (socket.SOCK_RAW, socket.IPPROTO_ICMPV6) == (listener.sock.type, listener.sock.proto)
    assert "raw+icmp://[::]" == str(listener.address)


@needs_ipv6
def test_a_name_is_bound_at_all_its_addresses_with_one_port(listen, resolve_to):
    """Also if the system chooses the port."""
    resolve_to("127.0.0.1", "::1", "127.0.0.1")
    listeners = listen("tcp://two.example:0")

    assert ["127.0.0.1", "::1"] == [listener.address.host for listener in listeners]
    assert listeners[0].address.port == listeners[1].address.port
    assert ["tcp://two.example:0"] * 2 == [str(listener.requested) for listener in listeners]


def test_a_port_taken_at_the_second_address_is_chosen_anew(listen, monkeypatch, resolve_to):
    """The first choice of the system is free at the first address alone."""
    resolve_to("127.0.0.1", "127.0.0.2")
    taken = []
    plain = socket.socket

    class Socket(plain):
        def bind(self, sockaddr):
            if sockaddr[0] == "127.0.0.2" and not taken:
                taken.append(plain())
                taken[0].bind(sockaddr)
                taken[0].listen()
            super().bind(sockaddr)

    monkeypatch.setattr(socket, "socket", Socket)
    listeners = listen("tcp://two.example:0")
    with taken[0]:
        assert listeners[0].address.port == listeners[1].address.port
        assert taken[0].getsockname()[1] != listeners[0].address.port


def test_a_name_is_served_without_an_address_that_is_not_here(listen, caplog, resolve_to):
    """localhost is ::1 too, on machines whose loopback has no IPv6: a warning, and the rest is served."""
    resolve_to("203.0.113.7", "127.0.0.1")
    (listener,) = listen("tcp://two.example:0")

    assert "127.0.0.1" == listener.address.host
    assert ["tcp://two.example:0: 203.0.113.7 is not an address of this machine"] == [
        record.getMessage().partition(", ")[0] for record in caplog.records
    ]


def test_a_name_without_any_address_here_is_refused(refusal, resolve_to):
    """All of them are skipped, so nothing would be served."""
    resolve_to("203.0.113.7", "203.0.113.8")
    error = refusal("tcp://two.example:0")

    assert isinstance(error, BindError)
    assert "203.0.113.7 is not an address of this machine" in error.problem


def test_after_a_failure_nothing_is_left_open(tmp_path, refusal):
    """All or none: the socket before the one that fails is closed, its file removed, and the same port can be had."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = refusal(f"unix:{tmp_path}/x", f"unix+dgram:{tmp_path}/y", f"tcp://127.0.0.1:{taken.getsockname()[1]}")

    assert isinstance(error, BindError)
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("backlog", [-1, 0, 2**31])
def test_a_backlog_is_a_positive_number(backlog, refusal):
    """listen(2) would take all of them, and mean something else."""

    assert (
        f"backlog {backlog} is not a number from 1 to 2147483647"
        in refusal("tcp://127.0.0.1:0", backlog=backlog).problem
    )


@pytest.mark.parametrize(
    ("text", "backlog", "warnings"),
    [("tcp://127.0.0.1:0", 129, 1), ("tcp://127.0.0.1:0", 128, 0), ("udp://127.0.0.1:0", 129, 0)],
)
def test_a_backlog_that_the_kernel_cuts_is_said_with_both_numbers(listen, monkeypatch, caplog, text, backlog, warnings):
    """A warning, once, and only where something listens."""
    monkeypatch.setattr(sockets, "max_backlog", lambda: 128)
    listen(text, backlog=backlog)

    expected = "backlog 129 is limited to 128 by net.core.somaxconn; raise it with sysctl or lower --backlog"
    assert [("penstock", logging.WARNING, expected)] * warnings == caplog.record_tuples


def test_a_listener_knows_its_backlog(listen):
    """For engines that call listen(2) again; datagrams have none."""
    stream, datagram = listen("tcp://127.0.0.1:0", "udp://127.0.0.1:0", backlog=77)

    assert (77, 0) == (stream.backlog, datagram.backlog)


def test_closing_may_be_repeated(tmp_path):
    """The second time there is nothing to do."""
    listeners = open_listeners([parse_address(f"unix:{tmp_path}/x"), parse_address("tcp://127.0.0.1:0")])
    close_listeners(listeners)
    close_listeners(listeners)

    assert [] == os.listdir(tmp_path)
    assert [-1, -1] == [listener.sock.fileno() for listener in listeners]


def test_a_file_that_another_server_made_meanwhile_is_left(tmp_path):
    """Only what is still ours is removed: by device and inode."""
    (listener,) = open_listeners([parse_address(f"unix:{tmp_path}/x")])
    os.unlink(tmp_path / "x")
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(os.fspath(tmp_path / "x"))
        close_listeners([listener])

    assert stat.S_ISSOCK(os.lstat(tmp_path / "x").st_mode)


def test_a_relative_path_is_removed_from_where_it_was_made(tmp_path, monkeypatch):
    """A chdir in between does not matter."""
    monkeypatch.chdir(tmp_path)
    listeners = open_listeners([parse_address("unix:x")])
    assert ["x"] == os.listdir(tmp_path)
    monkeypatch.chdir("/")
    close_listeners(listeners)

    assert [] == os.listdir(tmp_path)


def test_an_inherited_address_has_no_file_of_ours(listen, tmp_path):
    """Whoever made the file removes it."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(tmp_path / "x"))
    fd = sock.detach()
    (listener,) = listen(f"fd://{fd}")
    close_listeners([listener])

    assert Address(Scheme.UNIX, path=f"{tmp_path}/x", family=Family.UNIX) == listener.address
    assert ["x"] == os.listdir(tmp_path)
