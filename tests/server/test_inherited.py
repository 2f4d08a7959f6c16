"""Descriptors that somebody else opened: taken over when they are listeners, described when they are not."""

import errno
import os
import socket
import sys

import pytest

from penstock import serve
from penstock.address import parse_address
from penstock.errors import BindError, ConfigurationError, ExitStatus
from penstock.server.inherited import InheritedSocket, inherited_listeners
from penstock.server.sockets import close_listeners, open_listeners

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="a fact of Linux")
pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")


@pytest.fixture
def make(no_descriptor_leaks):
    """Make descriptors as a parent would hand them down; close those that nobody else closed."""
    kept = []

    def keep(fd):
        status = os.fstat(fd)
        kept.append((fd, status.st_dev, status.st_ino))
        return fd

    yield keep
    for fd, *identity in kept:
        try:
            status = os.fstat(fd)
        except OSError:
            continue
        if identity == [status.st_dev, status.st_ino]:
            os.close(fd)


def listening(family=socket.AF_INET, sockaddr=("127.0.0.1", 0), backlog=5):
    sock = socket.socket(family)
    sock.bind(sockaddr)
    sock.listen(backlog)
    return sock.detach()


def open_fd(fd, **options):
    (listener,) = open_listeners([parse_address(f"fd://{fd}")], **options)
    return listener


def refused(fd):
    with pytest.raises(BindError) as caught:
        close_listeners([open_fd(fd)])
    return caught.value


# -- descriptors ------------------------------------------------------------------------------------------------------


def test_a_listening_socket_is_taken_over(make):
    """It is the same descriptor, its address is read from it, and it is neither blocking nor inheritable any more."""
    fd = make(listening())
    os.set_inheritable(fd, True)
    listener = open_fd(fd)
    try:
        assert fd == listener.sock.fileno()
        assert f"tcp://127.0.0.1:{listener.sock.getsockname()[1]}" == str(listener.address)
        assert f"fd://{fd}" == str(listener.requested)
        assert listener.sock.getblocking() is False
        assert listener.sock.get_inheritable() is False
        socket.create_connection(listener.sock.getsockname()).close()
    finally:
        close_listeners([listener])


@pytest.mark.parametrize(
    ("type_", "scheme"),
    [(socket.SOCK_STREAM, "unix"), (socket.SOCK_DGRAM, "unix+dgram"), (socket.SOCK_SEQPACKET, "unix+seqpacket")],
)
@pytest.mark.parametrize("name", ["{}/x", pytest.param("\0{}/x", marks=needs_linux)])
def test_a_unix_socket_is_taken_over(make, tmp_path, type_, scheme, name):
    """Kind and name are read from it."""
    sock = socket.socket(socket.AF_UNIX, type_)
    sock.bind(name.format(tmp_path))
    listener = open_fd(make(sock.detach()))
    try:
        assert f"{scheme}://{name.format(tmp_path).replace(chr(0), '@')}" == str(listener.address)
        assert listener.file is None
    finally:
        close_listeners([listener])


def test_a_datagram_socket_is_taken_over(make):
    """UDP has nothing to listen with, and is ready when it is bound."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    listener = open_fd(make(sock.detach()))
    try:
        assert listener.is_datagram
        assert f"udp://127.0.0.1:{listener.sock.getsockname()[1]}" == str(listener.address)
    finally:
        close_listeners([listener])


def test_a_bound_socket_is_made_to_listen(make):
    """Some parents bind, and leave listen(2) to the child."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    listener = open_fd(make(sock.detach()))
    try:
        socket.create_connection(listener.sock.getsockname()).close()
    finally:
        close_listeners([listener])


def test_a_descriptor_that_is_not_open_is_refused():
    """Row 27; exit status 4."""
    error = refused(999_999_999)

    assert (
        "cannot listen on fd://999999999: it is not open; the parent process has to open it and hand it down"
    ) == str(error)
    assert (ExitStatus.BIND, errno.EBADF) == (error.exit_status, error.errno)


def test_what_is_no_socket_is_refused_by_what_it_is(make, tmp_path):
    """Row 28."""
    (tmp_path / "file").touch()
    reading, writing = os.pipe()
    make(writing)

    assert "it is a regular file, not a socket" == refused(make(os.open(tmp_path / "file", os.O_RDONLY))).problem
    assert "it is a directory, not a socket" == refused(make(os.open(tmp_path, os.O_RDONLY))).problem
    assert "it is a character device, not a socket" == refused(make(os.open(os.devnull, os.O_RDONLY))).problem
    assert "it is a pipe, not a socket" == refused(make(reading)).problem


@pytest.mark.parametrize(("type_", "kind"), [(socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "datagram")])
def test_a_connected_socket_is_refused(make, type_, kind):
    """It has a peer already."""
    one, two = socket.socketpair(socket.AF_UNIX, type_)
    with two:
        assert f"it is a connected {kind} socket; pass a listening one" == refused(make(one.detach())).problem


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
@pytest.mark.parametrize(("type_", "kind"), [(socket.SOCK_STREAM, "stream"), (socket.SOCK_DGRAM, "datagram")])
def test_an_unbound_socket_is_refused(make, family, type_, kind):
    """Nobody could know where it is."""
    fd = make(socket.socket(family, type_).detach())

    assert f"it is a {kind} socket that is bound to no address" == refused(fd).problem


@needs_linux
def test_a_socket_of_another_family_is_refused(make):
    """Netlink, say."""
    fd = make(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach())

    assert "it is a socket of another family (16), not IPv4, IPv6 or Unix" == refused(fd).problem


def test_a_refused_descriptor_stays_as_it_was(make):
    """It is the parent's: open, and as inheritable and blocking as before."""
    fd = make(socket.socket().detach())
    os.set_inheritable(fd, True)
    refused(fd)

    assert os.get_inheritable(fd)
    assert os.get_blocking(fd)


def test_after_another_failure_a_descriptor_stays_open(make, tmp_path):
    """All or none: but what was not opened here is not closed here."""
    fd = make(listening())
    (tmp_path / "file").touch()
    with pytest.raises(BindError):
        open_listeners([parse_address(f"fd://{fd}"), parse_address(f"unix:{tmp_path}/file")])

    os.fstat(fd)  # or OSError


# -- the service manager ----------------------------------------------------------------------------------------------


def environment(**variables):
    return {"PATH": "/bin", **variables}


@pytest.mark.parametrize(
    ("variables", "inherited"),
    [
        ({}, []),
        ({"LISTEN_PID": "42"}, []),
        ({"LISTEN_FDS": "1"}, []),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "0"}, []),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}, []),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "2"}, [(3, "unknown"), (4, "unknown")]),
        ({"LISTEN_PID": "42", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}, [(3, "web"), (4, "admin")]),
        ({"LISTEN_PID": "43", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}, []),
        ({"LISTEN_PID": "43", "LISTEN_FDS": "nonsense"}, []),
        ({"LISTEN_PID": "", "LISTEN_FDS": "1", "LISTEN_PIDFDID": "7"}, []),
    ],
)
def test_the_sockets_of_this_process_are_found_and_those_of_others_ignored(variables, inherited):
    """sd_listen_fds(3): from descriptor 3 on. The variables are gone afterwards, so that no child believes them."""
    environ = environment(**variables)

    assert inherited == inherited_listeners(environ, 42)
    assert environment() == environ


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"LISTEN_FDS": "two"}, "LISTEN_FDS: 'two' is not a number of descriptors"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS: '-1' is not a number of descriptors"),
        ({"LISTEN_FDS": "9" * 20}, "is not a number of descriptors"),
        ({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "web"}, "LISTEN_FDNAMES: it has 1 names and LISTEN_FDS=2"),
    ],
)
def test_variables_that_make_no_sense_are_named(variables, words):
    """Exit status 2; and they are gone all the same."""
    environ = environment(LISTEN_PID="42", **variables)
    with pytest.raises(ConfigurationError) as caught:
        inherited_listeners(environ, 42)

    assert words in str(caught.value)
    assert environment() == environ


def test_an_inherited_socket_is_found_by_its_name(make):
    """``fd://NAME`` is all sockets of that name; the listener carries it."""
    inherited = [InheritedSocket(make(listening()), name) for name in ("web", "web", "admin")]
    listeners = open_listeners([parse_address("fd://web"), parse_address("fd://admin")], inherited=inherited)
    close_listeners(listeners)

    assert ["web", "web", "admin"] == [listener.name for listener in listeners]


def test_an_inherited_socket_is_found_by_its_number(make):
    """And it still has its name."""
    inherited = [InheritedSocket(make(listening()), "web")]
    listeners = open_listeners([each.address for each in inherited], inherited=inherited)
    close_listeners(listeners)

    assert ["web"] == [listener.name for listener in listeners]


@pytest.mark.parametrize(
    ("inherited", "words"),
    [
        ([], "fd://web: no inherited socket (LISTEN_FDS) has that name; none was inherited"),
        ([(3, "www"), (4, "www")], "fd://web: no inherited socket (LISTEN_FDS) has that name; their names are www"),
    ],
)
def test_a_name_that_was_not_inherited_is_refused_with_those_that_were(inherited, words):
    """Exit status 2."""
    with pytest.raises(ConfigurationError) as caught:
        open_listeners([parse_address("fd://web")], inherited=[InheritedSocket(*each) for each in inherited])

    assert words == caught.value.problem


@pytest.fixture
def inherit(make, monkeypatch):
    """Have the server meet one listening socket that was handed down; return its port."""
    fd = make(listening())
    monkeypatch.setattr("penstock.server.setup.inherited_listeners", lambda *_: [InheritedSocket(fd, "web")])
    with socket.socket(fileno=os.dup(fd)) as sock:
        return sock.getsockname()[1]


async def test_inherited_sockets_take_the_place_of_the_default_address(inherit):
    """Row 50: what the service manager opened is what was meant, where nobody said anything else."""
    async with serve(lambda message: message) as server:
        assert [f"tcp://127.0.0.1:{inherit}"] == server.addresses


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:9000", ["tcp://127.0.0.1:9000"]])
@pytest.mark.usefixtures("inherit")
async def test_inherited_sockets_do_not_take_the_place_of_an_address_that_was_asked_for(bind):
    """Not even of the one that is the default: the sockets would be left to nobody, which is refused."""
    with pytest.raises(ConfigurationError, match=r"1 sockets were inherited .* would not be served"):
        await serve(lambda message: message, bind=bind).start()


def test_an_inherited_socket_that_nobody_serves_is_refused(make):
    """Row 50: its clients would connect, and wait for ever. Exit status 2."""
    inherited = [InheritedSocket(make(listening()), name) for name in ("web", "admin", "metrics")]
    with pytest.raises(ConfigurationError) as caught:
        open_listeners([parse_address("fd://web"), parse_address("fd://admin")], inherited=inherited)

    assert (
        f"3 sockets were inherited (LISTEN_FDS), and fd://{inherited[2].fd} (metrics) would not be served; "
        "listen there too, or take it out of the socket unit"
    ) == caught.value.problem
