"""Clients that are not ours, each a process of its own: ncat, socat, telnet, and Python's socket module."""

import os
import pty
import shutil
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.outside
PATIENCE_S = 20

PYTHON_CLIENT = """
import socket, sys
family, kind, target, data = sys.argv[1:]
sock = socket.socket(getattr(socket, family), getattr(socket, kind))
sock.settimeout(20)
sock.connect(target if family == "AF_UNIX" else (target.rpartition(":")[0], int(target.rpartition(":")[2])))
sock.sendall(data.encode())
if kind == "SOCK_STREAM":
    sock.shutdown(socket.SHUT_WR)
    while data := sock.recv(1024):
        sys.stdout.buffer.write(data)
else:
    sys.stdout.buffer.write(sock.recv(65536))
"""


def program(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def talk(*command, data=b""):
    """Run a client with this on its standard input; return what it printed."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def ncat(server, *options):
    path = server.address.partition("://")[2]
    return [program("ncat"), *options, *(["127.0.0.1", str(server.port)] if server.transport[-1] == "4" else [path])]


class TestNcat:
    def test_tcp(self, run):
        """A line typed is a line answered."""
        with run("time", "tcp4", clock=lambda: 0.0) as server:
            answer = talk(*ncat(server), data=b"hello\n")

        assert b"[%s] hello\n" % time.ctime(0).encode() == answer

    def test_tcp_without_a_lines_end(self, run):
        """``printf 1 | ncat``: the end of the stream ends the line."""
        with run("greeter", "tcp4") as server:
            assert b"welcome to server!\n" == talk(*ncat(server), data=b"1")

    def test_tcp_ipv6(self, run):
        """The same over IPv6."""
        with run("echo", "tcp6") as server:
            assert b"hello" == talk(program("ncat"), "::1", str(server.port), data=b"hello")

    def test_unix(self, run):
        """The same over a Unix socket."""
        with run("echo", "unix") as server:
            assert b"hello\n" == talk(*ncat(server, "-U"), data=b"hello\n")

    def test_udp(self, run):
        """A datagram is answered by one."""
        with (
            run("echo", "udp4", prefix="Echo=>") as server,
            subprocess.Popen(ncat(server, "-u"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as peer,
        ):
            peer.stdin.write(b"hello")
            peer.stdin.flush()

            assert b"Echo=>hello" == peer.stdout.read(11)

            peer.kill()  # datagrams have no end that would end it

    def test_a_client_that_only_listens(self, run):
        """The server speaks and closes; ncat ends."""
        with run("qotd", "tcp4", clock=lambda: 0.0) as server:
            assert talk(*ncat(server, "--recv-only")).endswith(b"Oscar Wilde\r\n")

    def test_two_at_once(self, run):
        """One that stays connected, and one that comes and goes."""
        with run("chat", "tcp4") as server:
            listener = subprocess.Popen(ncat(server), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            try:
                server.wait_connections(1)
                server.call(lambda: None)
                assert b"" == talk(*ncat(server), data=b"hello there\n")
                assert b"hello there\n" == listener.stdout.readline()
            finally:
                listener.stdin.close()
                listener.wait(PATIENCE_S)
                listener.stdout.close()


class TestSocat:
    def test_tcp(self, run):
        """A megabyte through the pipe and back."""
        data = bytes(range(256)) * 4096
        with run("echo", "tcp4") as server:
            assert data == talk(program("socat"), "-t", "20", "-", f"TCP:127.0.0.1:{server.port}", data=data)

    def test_unix(self, run):
        """A Unix stream."""
        with run("echo", "unix") as server:
            path = server.address.removeprefix("unix://")
            assert b"hello" == talk(program("socat"), "-t", "20", "-", f"UNIX-CONNECT:{path}", data=b"hello")

    def test_seqpacket(self, run):
        """A Unix seqpacket connection."""
        with run("echo", "seqpacket") as server:
            path = server.address.removeprefix("unix+seqpacket://")
            target = f"UNIX-CONNECT:{path},type=5"
            assert b"hello" == talk(program("socat"), "-t", "20", "-", target, data=b"hello")

    @pytest.mark.parametrize("transport", ["udp4", "udp6"])
    def test_udp(self, run, transport):
        """A datagram and its answer."""
        host = "127.0.0.1" if transport == "udp4" else "[::1]"
        kind = "UDP4" if transport == "udp4" else "UDP6"
        with run("echo", transport, prefix="Echo=>") as server:
            assert b"Echo=>hello" == talk(
                program("socat"), "-t", "1", "-", f"{kind}:{host}:{server.port}", data=b"hello"
            )

    def test_unix_datagram(self, run, tmp_path):
        """A Unix datagram from a socket with a name, and its answer."""
        with run("echo", "unix-dgram") as server:
            path = server.address.removeprefix("unix+dgram://")
            target = f"UNIX-SENDTO:{path},bind={tmp_path}/client"
            assert b"hello" == talk(program("socat"), "-t", "1", "-", target, data=b"hello")


class TestTelnet:
    def test_a_line_typed_at_a_terminal(self, run):
        """Telnet ends lines in CR LF; the answer is shown; the server closes, and telnet says so."""
        program("telnet")
        with run("greeter", "tcp4") as server:
            terminal, its_end = pty.openpty()
            client = subprocess.Popen(
                ["telnet", "127.0.0.1", str(server.port)], stdin=its_end, stdout=its_end, stderr=its_end
            )
            os.close(its_end)
            shown = b""
            try:
                while b"Escape character" not in shown:
                    shown += os.read(terminal, 1024)
                os.write(terminal, b"1\n")
                while b"Connection closed by foreign host" not in shown:
                    shown += os.read(terminal, 1024)
            finally:
                client.wait(PATIENCE_S)
                os.close(terminal)

        assert b"welcome to server!" in shown


class TestPython:
    @pytest.mark.parametrize(
        ("transport", "family", "kind"),
        [
            ("tcp4", "AF_INET", "SOCK_STREAM"),
            ("tcp6", "AF_INET6", "SOCK_STREAM"),
            ("udp4", "AF_INET", "SOCK_DGRAM"),
            ("udp6", "AF_INET6", "SOCK_DGRAM"),
            ("unix", "AF_UNIX", "SOCK_STREAM"),
            ("seqpacket", "AF_UNIX", "SOCK_SEQPACKET"),
        ],
    )
    def test_every_transport(self, run, transport, family, kind):
        """The socket module, in a process of its own."""
        with run("echo", transport) as server:
            target = server.address.partition("://")[2].replace("[", "").replace("]", "")
            answer = talk(sys.executable, "-c", PYTHON_CLIENT, family, kind, target, "zażółć 🦆")

        assert "zażółć 🦆".encode() == answer
