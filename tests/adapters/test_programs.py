"""A program on standard input and output has a process for each connection."""

import shlex
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.adapters import service_of
from penstock.adapters.programs import environment
from penstock.address import Peer, parse_address
from penstock.errors import ApplicationError, ConfigurationError
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_exactly, read_to_end, reset

pytestmark = pytest.mark.engines(*LOOPS)


def python(code):
    """The command line of a program."""
    return service_of(shlex.join([sys.executable, "-c", code]), kind="exec")


def line_of(peer):
    """Read one line."""
    read = bytearray()
    while not read.endswith(b"\n"):
        read += read_exactly(peer, 1)
    return bytes(read)


def is_gone(pid):
    """Whether there is no such process, or a dead one that its parent has yet to wait for."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.ciphered
def test_what_a_peer_sends_is_the_programs_input(serve, engine):
    """Its output goes to the peer; the connection closes when it has ended."""
    with serve(service_of("sort -r", kind="exec")) as server, server.dial() as peer:
        peer.sendall(b"a\nc\n")
        peer.sendall(b"b\n")
        peer.shutdown(socket.SHUT_WR)

        assert b"c\nb\na\n" == read_to_end(peer)


def test_a_program_is_told_of_its_connection(serve, engine):
    """By the variables of ucspi-tcp and inetd; nothing of the peer's is an argument."""
    code = "import os, sys; print(*[os.environ[n] for n in sys.argv[1].split(',')], len(sys.argv))"
    names = "PROTO,TCPREMOTEIP,TCPREMOTEPORT,TCPLOCALIP,TCPLOCALPORT,REMOTE_ADDR,REMOTE_PORT"
    service = service_of([sys.executable, "-c", code, names], kind="exec")
    with serve(service) as server, server.dial() as peer:
        port = peer.getsockname()[1]

        assert f"TCP 127.0.0.1 {port} 127.0.0.1 {server.port} 127.0.0.1 {port} 2\n".encode() == read_to_end(peer)


def test_no_shell_reads_the_command(serve, engine):
    """What a shell would expand stays as it is."""
    with serve(service_of("echo '$HOME' ; *", kind="exec")) as server, server.dial() as peer:
        assert b"$HOME ; *\n" == read_to_end(peer)


def test_a_program_dies_with_its_connection(serve, engine):
    """With its children, whatever they do with signals."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child:\n    print(os.getpid(), child, flush=True)\n"
        "while True:\n    time.sleep(60)\n"
    )
    with serve(python(code)) as server:
        peer = server.dial()
        pids = [int(number) for number in line_of(peer).split()]
        reset(peer)
        assert ["reset"] == list(server.reasons(1))
        server.wait_until(lambda _: is_gone(pids[0]))
        server.wait_until(lambda _: is_gone(pids[1]))


def test_no_more_processes_run_than_may(serve, engine):
    """Other connections wait until one has ended."""
    with (
        serve(service_of("cat", kind="exec"), max_processes=1) as server,
        server.dial() as first,
        server.dial() as second,
    ):
        first.sendall(b"one\n")
        assert b"one\n" == line_of(first)
        server.wait_connections(2)
        second.sendall(b"two\n")
        first.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(first)
        assert b"two\n" == line_of(second)
        second.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(second)


def test_a_draining_server_ends_a_programs_input(serve, engine):
    """What it still writes arrives."""
    with serve(python("import sys; print('up', flush=True); print(len(sys.stdin.read()))")) as server:
        with server.dial() as peer:
            assert b"up\n" == line_of(peer)
            server.wait(_begin_drain(server.server))
            assert b"0\n" == read_to_end(peer)


async def _begin_drain(server):
    server.begin_drain()


def test_a_program_that_is_not_there_is_refused():
    """At the start, not with the first connection."""
    with pytest.raises(ApplicationError, match="there is no program 'no-such-program'"):
        service_of("no-such-program -x", kind="exec")


def test_a_command_that_cannot_be_split_is_refused():
    """It says why."""
    with pytest.raises(ApplicationError, match="No closing quotation"):
        service_of("echo 'x", kind="exec")
    with pytest.raises(ApplicationError, match="--as filter wants the command line of a program"):
        service_of("", kind="filter")


def test_a_codec_for_a_program_is_refused():
    """It reads bytes."""
    with pytest.raises(ConfigurationError, match="cat was written for standard input and output"):
        service_of("cat", kind="exec", codec="lines")


@pytest.mark.parametrize(
    ("peer", "local", "expected"),
    [
        (Peer("/run/x", socket.AF_UNIX), "tcp://192.0.2.1:9", {"PROTO": "UNIX"}),
        (Peer(b"\0name", socket.AF_UNIX), "tcp://192.0.2.1:9", {"PROTO": "UNIX"}),
        (Peer("", socket.AF_UNIX), "unix:/run/y", {"PROTO": "UNIX", "UNIXLOCALPATH": "/run/y"}),
        (
            Peer(("192.0.2.7", 5), socket.AF_INET),
            "unix:/run/y",
            {
                "PROTO": "TCP",
                "TCPREMOTEIP": "192.0.2.7",
                "TCPREMOTEPORT": "5",
                "REMOTE_ADDR": "192.0.2.7",
                "REMOTE_PORT": "5",
            },
        ),
    ],
)
def test_behind_a_proxy_the_client_decides_which_variables_there_are(peer, local, expected):
    """Whatever the address is on which the proxy connects."""
    assert expected == environment(SimpleNamespace(peer=peer, local=parse_address(local)))
