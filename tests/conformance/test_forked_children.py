"""A child that was forked has a copy of every descriptor: what ends here ends for the peer all the same."""

import contextlib
import errno
import glob
import os
import socket
import subprocess
import sys

import pytest

import penstock
from penstock.engines.forked import end
from penstock.testing.peers import PATIENCE_S, read_to_end

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

BINDS = ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix://{}/s", "unix+seqpacket://{}/s"]


@pytest.fixture(params=BINDS, ids=["tcp4", "tcp6", "unix", "seqpacket"])
def bind(request, tmp_path):
    return request.param.format(tmp_path)


@contextlib.contextmanager
def child():
    """A child of this process that does nothing and lets nothing go, as long as the block runs."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)  # until the other end is closed
        os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(pid, 0)


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "threads-message-conn", "async-connection"))
@pytest.mark.parametrize("ending", ["close", "peer leaves first", "stop"])
def test_a_connections_end_reaches_its_peer(serve, engine, form, bind, ending):
    """Whoever ends it, while a child has a copy of its descriptor."""

    def react(conn, message):
        if message == b"close":
            conn.close()
        return message

    if engine.ciphered and ending == "stop":
        pytest.skip("close_notify is an end, and an abort sends none")
    with serve(react, bind=bind) as server:
        peer = server.dial()
        peer.settimeout(PATIENCE_S)
        end_of_line = b"" if "seqpacket" in bind else b"\n"
        peer.sendall(b"hello" + end_of_line)
        assert b"hello" + end_of_line == peer.recv(100)
        with child(), peer:
            if ending == "close":
                peer.sendall(b"close" + end_of_line)  # a conversation that closes says no more
            elif ending == "peer leaves first":
                peer.shutdown(socket.SHUT_WR)
            else:
                server.call(server.server.begin_stop)
            try:
                seen = read_to_end(peer)
            except ConnectionResetError:
                seen = "reset"

    if ending == "close":
        assert seen in (b"", b"close" + end_of_line)
    else:
        assert ("reset" if ending == "stop" and bind.startswith("tcp") else b"") == seen


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-connection"))
def test_what_is_refused_is_ended_too(serve, form):
    """By the reset that its peer is to see."""
    with serve(lambda _conn, message: message, gate=penstock.GateConfig(max_connections=1)) as server:
        with server.dial(), child():
            server.wait_connections(1)
            with pytest.raises(ConnectionResetError), server.dial() as peer:
                peer.settimeout(PATIENCE_S)
                peer.recv(100)


@pytest.mark.forms(lambda form: form.label in ("def-message-conn", "async-connection"))
def test_nothing_is_inherited_by_a_program_that_is_started(serve, form, bind):
    """Listeners and connections alike, also where whoever starts it leaves descriptors open."""
    program = "import glob, os; print(*map(os.path.realpath, glob.glob('/proc/self/fd/*')))"
    before = {os.path.basename(os.path.realpath(path)) for path in glob.glob("/proc/self/fd/*")}
    with serve(lambda _conn, message: message, bind=bind) as server, server.dial() as peer:
        peer.set_inheritable(False)
        server.wait_connections(1)
        shown = subprocess.run(
            [sys.executable, "-c", program], close_fds=False, stdin=subprocess.DEVNULL, capture_output=True, check=True
        )

    inherited = {os.path.basename(path) for path in shown.stdout.decode().split()} - before
    assert [] == [name for name in inherited if name.startswith("socket:")]


@pytest.mark.forms(lambda form: form.label == "def-message-conn")
def test_a_child_does_not_take_the_socket_file_away(serve, form, tmp_path):
    """It may end in any way, by running the server's own end: the file is its parent's."""
    with serve(lambda _conn, message: message, bind=f"unix://{tmp_path}/s") as server:
        pid = os.fork()
        if pid == 0:
            from penstock.server.unix_file import remove_files

            remove_files()
            os._exit(0)
        os.waitpid(pid, 0)

        assert (tmp_path / "s").exists()
        with server.dial() as peer:
            peer.sendall(b"hello\n")
            assert b"hello\n" == peer.recv(100)


def test_what_is_closed_already_is_ended_already():
    """No error, and nobody else's descriptor is touched."""
    with child():
        end(-1)
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(10_000)
        end(10_000)
