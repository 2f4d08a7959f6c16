"""What /proc tells about addresses: who holds them, which are ours, where the kernel's limits are."""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from penstock.server import diagnosis

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these files")

HOLD = """
import socket, sys
family, type_, host = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
sock = socket.socket(family, type_)
sock.bind((host, 0) if family != socket.AF_UNIX else host)
if type_ != socket.SOCK_DGRAM:
    sock.listen()
print(sock.getsockname()[1] if family != socket.AF_UNIX else 0, flush=True)
sys.stdin.read()
"""


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@contextmanager
def another_process(family, type_, host):
    """Let another process hold an address; give the port and how it is to be called."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(int(family)), str(int(type_)), host],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        port = int(process.stdout.readline())
        with open(f"/proc/{process.pid}/comm") as comm:
            yield port, f"pid {process.pid} ({comm.read().strip()})"
        process.stdin.close()


@pytest.mark.parametrize(
    ("family", "type_", "host", "asked"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", "0.0.0.0"),
        (socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", "127.0.0.1"),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::1", "::1", marks=needs_ipv6),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::", "127.0.0.1", marks=needs_ipv6),
        pytest.param(socket.AF_INET6, socket.SOCK_STREAM, "::ffff:127.0.0.1", "127.0.0.1", marks=needs_ipv6),
        pytest.param(socket.AF_INET6, socket.SOCK_DGRAM, "::1", "::", marks=needs_ipv6),
    ],
)
def test_the_holder_of_a_port_is_named(family, type_, host, asked):
    """By process and program, also when a wildcard is in the way of an address."""
    with another_process(family, type_, host) as (port, name):
        holder = diagnosis.port_holder("tcp" if type_ == socket.SOCK_STREAM else "udp", asked, port)

    assert name == holder


def test_the_holder_of_another_address_is_not_accused():
    """The same port at 127.0.0.2 is somebody else's business.

    Not asked of 127.0.0.1, where another test's connections may have ended at that port a moment ago.
    """
    with another_process(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.2") as (port, _):
        assert diagnosis.port_holder("tcp", "127.0.0.3", port) is None


def test_the_holder_of_another_protocol_is_not_accused():
    """TCP and UDP have their own ports."""
    with another_process(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1") as (port, _):
        assert diagnosis.port_holder("udp", "127.0.0.1", port) is None


@pytest.mark.parametrize("type_", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
@pytest.mark.parametrize("name", ["{}/x", "@{}/x"])
def test_the_holder_of_a_unix_socket_is_named(tmp_path, type_, name):
    """By path, and by abstract name, also with spaces."""
    path = name.format(f"{tmp_path}/a  b")
    os.mkdir(f"{tmp_path}/a  b")
    sockname = f"\0{path[1:]}" if path.startswith("@") else path
    # An argument has no NUL in it; this process can be a holder too.
    with socket.socket(socket.AF_UNIX, type_) as sock:
        sock.bind(sockname)
        if type_ != socket.SOCK_DGRAM:
            sock.listen()

        assert "this process itself" == diagnosis.unix_holder(path)
    assert diagnosis.unix_holder(path) is None


def test_another_process_that_holds_a_unix_socket_is_named(tmp_path):
    """As for a port."""
    with another_process(socket.AF_UNIX, socket.SOCK_STREAM, f"{tmp_path}/x") as (_, name):
        assert name == diagnosis.unix_holder(f"{tmp_path}/x")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_of_a_process_that_may_not_be_looked_at_the_user_is_named():
    """The table of ports shows users to everyone."""
    with another_process(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1") as (port, _):
        os.seteuid(65534)
        try:
            holder = diagnosis.port_holder("tcp", "127.0.0.1", port)
        finally:
            os.seteuid(0)

    assert "a process of user root" == holder


def test_the_search_is_bounded(monkeypatch):
    """With more descriptors than it looks at, the user is all that is known."""
    monkeypatch.setattr(diagnosis, "MAX_DESCRIPTORS", 0)
    with another_process(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1") as (port, _):
        assert diagnosis.port_holder("tcp", "127.0.0.1", port).startswith("a process of user ")
        monkeypatch.setattr(diagnosis, "MAX_TABLE_LINES", 1)
        assert diagnosis.port_holder("tcp", "127.0.0.1", port) is None


def test_a_user_without_a_name_is_a_number():
    """In a container the owner may be nobody that is known here."""

    assert "3999999999" == diagnosis._user(3_999_999_999)


def test_the_addresses_of_this_machine_are_known():
    """Loopback at least, and every one of them can be bound."""
    addresses = diagnosis.local_addresses()

    assert "127.0.0.1" in addresses
    for address in addresses:
        host, _, zone = address.partition("%")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            sock.bind((host, 0, 0, socket.if_nametoindex(zone) if zone else 0) if ":" in host else (host, 0))


def test_long_lists_are_cut():
    """A machine may have a thousand addresses; the error stays one line."""

    assert "a, b" == diagnosis.listed(["a", "b"])
    assert ", 15 and 84 more" in diagnosis.listed([str(number) for number in range(100)])


def test_what_is_missing_is_not_known(monkeypatch):
    """Where /proc is hidden there are no words, and no error either."""
    monkeypatch.setattr(diagnosis, "_lines", lambda path: iter(()))

    assert diagnosis.port_holder("tcp", "127.0.0.1", 1) is None
    assert diagnosis.unix_holder("/x") is None
    assert [] == diagnosis.local_addresses()
    assert diagnosis.max_backlog() is None
    assert 1024 == diagnosis.first_unprivileged_port()


def test_odd_lines_are_passed_over(monkeypatch):
    """A kernel may write what nobody has seen yet."""
    odd = ["", "x", "a b:c d e f g h i j", "0: 0100007F:ZZZZ 0 0A 0 0 0 0 0 0"]
    monkeypatch.setattr(diagnosis, "_lines", lambda path: iter(odd))

    assert diagnosis.port_holder("tcp", "127.0.0.1", 1) is None
    assert diagnosis.unix_holder("/x") is None
    assert [] == diagnosis.local_addresses()
    assert diagnosis.max_backlog() is None


def test_the_limits_are_those_of_the_kernel():
    """Read, not remembered: both can be changed while the machine runs."""
    with (
        open("/proc/sys/net/core/somaxconn") as somaxconn,
        open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as start,
    ):
        expected = int(somaxconn.read()), int(start.read())

    assert expected == (diagnosis.max_backlog(), diagnosis.first_unprivileged_port())
