"""Multicast groups as addresses of a server: joined on an interface, shared with other processes, heard there alone."""

import socket

import pytest

from penstock.address import parse_address
from penstock.address.multicast import send_groups_through
from penstock.errors import BindError, ConfigurationError
from penstock.server.sockets import open_listeners

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")

GROUP = "239.255.77.2"


def routed_interface(group):
    """An interface that the system sends IPv6 multicast through: the loopback often has no route for it."""
    for index, name in socket.if_nameindex():
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((group, 9, 0, index))
            except OSError:
                continue
            return name
    pytest.skip("no interface has a route for IPv6 multicast")


@pytest.fixture
def say():
    """A socket that sends to groups through an interface."""
    opened = []

    def make(family, interface):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        opened.append(sock)
        sock.settimeout(10)
        send_groups_through(sock, interface)
        return sock

    yield make
    for sock in opened:
        sock.close()


@pytest.mark.parametrize("interface", ["lo", "1", "127.0.0.1"])
def test_a_group_is_joined_on_the_interface_that_its_address_names(listen, say, interface):
    """By its name, its number, or for IPv4 its address; the listener says the port that the system chose."""
    (listener,) = listen(f"udp://{GROUP}:0?interface={interface}")
    say(socket.AF_INET, "lo").sendto(b"heard", (GROUP, listener.address.port))

    listener.sock.settimeout(10)
    assert b"heard" == listener.sock.recv(100)
    assert str(listener.address) == f"udp://{GROUP}:{listener.address.port}?interface={interface}"


def test_a_group_of_ipv6_has_its_interface_as_the_zone(listen, say):
    """``?interface=`` is another way to write it."""
    name = routed_interface("ff12::77:2")
    (listener,) = listen(f"udp://[ff12::77:2]:0?interface={name}")
    index = socket.if_nametoindex(name)
    say(socket.AF_INET6, name).sendto(b"heard", ("ff12::77:2", listener.address.port, 0, index))

    listener.sock.settimeout(10)
    assert b"heard" == listener.sock.recv(100)
    assert str(listener.address) == f"udp://[ff12::77:2%{name}]:{listener.address.port}"


def test_each_of_two_processes_hears_every_datagram(listen, say):
    """A port of a group is shared: none takes another's datagrams."""
    (one,) = listen(f"udp://{GROUP}:0?interface=lo")
    (other,) = listen(str(one.address))
    say(socket.AF_INET, "lo").sendto(b"both", (GROUP, one.address.port))
    for listener in (one, other):
        listener.sock.settimeout(10)

    assert [b"both", b"both"] == [one.sock.recv(100), other.sock.recv(100)]


def test_what_is_sent_to_another_group_is_not_heard(listen, say):
    """Nor what is sent to the machine itself at that port: the socket is bound to its group."""
    (listener,) = listen(f"udp://{GROUP}:0?interface=lo")
    (second,) = listen(f"udp://239.255.77.3:{listener.address.port}?interface=lo")
    sender = say(socket.AF_INET, "lo")
    for host in ("239.255.77.3", "127.0.0.1", GROUP):
        sender.sendto(host.encode(), (host, listener.address.port))
    for each in (listener, second):
        each.sock.settimeout(10)

    assert [GROUP.encode(), b"239.255.77.3"] == [listener.sock.recv(100), second.sock.recv(100)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"udp://{GROUP}:0?interface=none0", "unknown interface none0; this machine has "),
        (f"udp://{GROUP}:0?interface=4000000", "unknown interface 4000000; this machine has "),
        ("udp://[ff12::1]:0?interface=none0", "unknown interface none0; this machine has "),
    ],
)
def test_an_interface_that_is_not_there_is_refused(text, problem):
    """With those that are."""
    with pytest.raises(BindError) as caught:
        open_listeners([parse_address(text)])

    assert caught.value.problem.startswith(problem)
    assert "lo" in caught.value.problem


def test_one_group_on_two_interfaces_is_two(listen):
    """But not twice on one, nor on one of all."""
    (first,) = listen(f"udp://{GROUP}:0?interface=lo")
    port = first.address.port
    listen(f"udp://{GROUP}:{port}?interface=127.0.0.1", f"udp://{GROUP}:{port}?interface=lo")
    with pytest.raises(ConfigurationError, match="is part of the other"):
        listen(f"udp://{GROUP}:{port}", f"udp://{GROUP}:{port}?interface=lo")


def test_a_group_without_a_route_says_what_to_write(monkeypatch):
    """ENODEV means that nothing says where the group is."""

    def refuse(*_arguments):
        raise OSError(19, "No such device")

    monkeypatch.setattr("penstock.server.multicast.join_group", refuse)
    with pytest.raises(BindError) as caught:
        open_listeners([parse_address(f"udp://{GROUP}:0")])

    assert f"no route leads to the group {GROUP}; say on which interface it is joined" in caught.value.problem
