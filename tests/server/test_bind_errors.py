"""What is said of an address that the system does not give: why, and what to do about it."""

import errno
import os
import socket
import sys

import pytest

from penstock.errors import ExitStatus
from penstock.server.sockets import close_listeners

pytestmark = pytest.mark.usefixtures("no_descriptor_leaks")

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="a fact of Linux")


@needs_linux
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_a_port_in_use_is_refused_at_once_with_its_holder(listen, scheme, refusal):
    """Address, holder, what to do; exit status 4. UDP is never shared."""
    (listener,) = listen(f"{scheme}://127.0.0.1:0")
    error = refusal(str(listener.address))

    assert (
        f"cannot listen on {listener.address}: port {listener.address.port} is in use by this process itself; "
        "stop that, or use another port"
    ) == str(error)
    assert (ExitStatus.BIND, errno.EADDRINUSE) == (error.exit_status, error.errno)


def in_time_wait(port):
    """Whether a connection of this port is in TIME_WAIT: state 06 of /proc/net/tcp, see proc(5)."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "06" for row in rows)


@needs_linux
def test_a_port_in_time_wait_can_be_had_with_reuse_address_only(listen, refusal, reserve):
    """The server closed first, so its port is held for a minute."""
    (listener,) = listen(f"tcp://127.0.0.1:{reserve()}")
    address = str(listener.address)
    with socket.create_connection(listener.sock.getsockname()) as client:
        listener.sock.accept()[0].close()
        client.recv(1)
    close_listeners([listener])
    if not in_time_wait(listener.address.port):
        pytest.skip("the system keeps no more connections in TIME_WAIT: net.ipv4.tcp_max_tw_buckets is reached")
    error = refusal(address, reuse_address=False)

    assert "is held by ended connections (TIME_WAIT) for up to a minute" in error.problem
    assert address == str(listen(address, reuse_address=True)[0].address)


@needs_linux
def test_a_port_that_a_client_of_here_had_is_free_a_minute_after_its_end(listen, refusal):
    """The system had chosen it for a connection that began here: nothing is there to be stopped."""
    (listener,) = listen("tcp://127.0.0.1:0")
    with socket.socket() as client:
        client.bind(("127.0.0.1", 0))
        port = client.getsockname()[1]
        client.connect(listener.sock.getsockname())
        accepted = listener.sock.accept()[0]
    with accepted:
        accepted.recv(1)
    if not in_time_wait(port):
        pytest.skip("the system keeps no more connections in TIME_WAIT: net.ipv4.tcp_max_tw_buckets is reached")
    error = refusal(f"tcp://127.0.0.1:{port}", reuse_address=True)

    assert (
        f"port {port} is held by ended connections (TIME_WAIT) for up to a minute; wait, or use another port"
    ) == error.problem


@needs_linux
def test_a_privileged_port_without_the_right_names_the_right(as_nobody, refusal):
    """And the two ways around it; exit status 4."""
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        start = int(file.read())
    if start <= 1:
        pytest.skip("net.ipv4.ip_unprivileged_port_start lets everyone have port 1")
    error = refusal("tcp://127.0.0.1:1")

    assert (
        f"cannot listen on tcp://127.0.0.1:1: ports below {start} need the right CAP_NET_BIND_SERVICE; give it to the "
        f"process, let systemd open the socket (LISTEN_FDS, fd://3), or use a port from {start}"
    ) == str(error)
    assert ExitStatus.BIND == error.exit_status


def test_a_raw_socket_without_the_right_names_the_right(as_nobody, refusal):
    """CAP_NET_RAW."""

    assert "CAP_NET_RAW" in refusal("raw+icmp://127.0.0.1").problem


@needs_linux
def test_an_address_of_another_machine_is_refused_with_ours(refusal):
    """203.0.113.0/24 is documentation's: nobody has it."""
    error = refusal("tcp://203.0.113.7:0")

    assert "203.0.113.7 is not an address of this machine, which has " in error.problem
    assert "127.0.0.1" in error.problem
    assert ExitStatus.BIND == error.exit_status


def test_too_many_open_files_is_said_in_plain_words(monkeypatch, refusal):
    """What has no words of ours has the system's."""

    class Full(socket.socket):
        def __init__(self, *args, **kwargs):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", Full)

    assert "cannot listen on tcp://127.0.0.1:0: too many open files" == str(refusal("tcp://127.0.0.1:0"))
    assert "cannot listen on unix:x: too many open files" == str(refusal("unix:x"))
