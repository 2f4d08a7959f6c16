"""Handlers of `socketserver` are served unchanged: those of its documentation, of `http.server`, of `xmlrpc.server`."""

import errno
import functools
import http.client
import http.server
import socket
import socketserver
import threading
import time
import xmlrpc.client
import xmlrpc.server

import pytest

from penstock.adapters import service_of
from penstock.errors import ApplicationError, ConfigurationError
from penstock.testing.peers import read_exactly, read_to_end, reset

pytestmark = pytest.mark.engines("blocking")  # as of every handler with a thread of its own


class UpperCase(socketserver.BaseRequestHandler):
    """As in the documentation: one read, one answer."""

    def handle(self):
        self.data = self.request.recv(1024).strip()
        self.request.sendall(self.data.upper())


class UpperCaseLine(socketserver.StreamRequestHandler):
    """As in the documentation: files over the connection."""

    def handle(self):
        self.data = self.rfile.readline(10000).rstrip()
        self.wfile.write(self.data.upper())


class UpperCaseDatagram(socketserver.BaseRequestHandler):
    """As in the documentation: a datagram and the socket that answers."""

    def handle(self):
        data = self.request[0].strip()
        sock = self.request[1]
        sock.sendto(data.upper(), self.client_address)


class WhichThread(socketserver.BaseRequestHandler):
    """As in the documentation of asynchronous mixins: which thread serves."""

    def handle(self):
        data = str(self.request.recv(1024), "ascii")
        self.request.sendall(bytes(f"{threading.current_thread().ident}: {data}", "ascii"))


class Clock(socketserver.StreamRequestHandler):
    """The time server of the tutorials."""

    def handle(self):
        self.wfile.write(time.strftime("%Y", time.gmtime(0)).encode() + b"\n")


class EchoDatagram(socketserver.DatagramRequestHandler):
    """What is written to ``wfile`` is the answer."""

    def handle(self):
        self.wfile.write(self.rfile.read() + b"!")


def asked(server, request):
    with server.dial() as peer:
        peer.sendall(request)
        return read_to_end(peer)


@pytest.mark.parametrize("handler", [UpperCase, UpperCaseLine])
def test_the_handlers_of_the_documentation_answer(serve, engine, handler):
    """Each connection ends when its handler returns, and what it sent arrives."""
    with serve(handler) as server:
        assert b"HELLO WORLD" == asked(server, b"hello world\n")
        assert b"PYTHON IS NICE" == asked(server, b"python is nice\n")


def test_each_connection_has_a_thread_of_its_own(serve, engine):
    """As under ThreadingTCPServer: one that waits holds nobody up."""
    with serve(WhichThread) as server, server.dial() as waiting:
        ident, _, data = asked(server, b"Hello World 1").partition(b": ")
        assert b"Hello World 1" == data
        assert int(ident) != threading.get_ident()
        waiting.sendall(b"x")
        assert read_to_end(waiting).endswith(b": x")


def test_the_tutorials_time_server_needs_no_request(serve, engine):
    """It writes, and the connection ends."""
    with serve(Clock) as server, server.dial() as peer:
        assert b"1970\n" == read_to_end(peer)


@pytest.mark.parametrize(
    ("handler", "answer"), [(UpperCaseDatagram, b"HELLO"), (EchoDatagram, b"hello!")], ids=["base", "files"]
)
def test_a_handler_of_datagrams_answers_their_sender(serve, engine, handler, answer):
    """Its request is the datagram and a socket; or two files."""
    with serve(handler, bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(b"hello")

        assert answer == peer.recv(100)


def test_the_socket_of_a_datagram_answers_its_sender_alone(serve, engine):
    """By `sendto` with flags and without, and in pieces; in which form the address is given does not matter."""
    found = []

    class Answers(socketserver.BaseRequestHandler):
        def handle(self):
            data, sock = self.request
            host, port = self.client_address
            found.append((sock.family, sock.type, sock.getsockname()[1] == server.port))
            found.append(sock.sendto(data, (host, port)))
            found.append(sock.sendto(b"flags", 0, [host, port]))
            found.append(sock.sendmsg([b"pie", b"ces"], [], 0, (host, port)))
            for numbers, data, *address in (
                (errno.EDESTADDRREQ, b"x", (host, port + 1)),
                (errno.EMSGSIZE, bytes(70_000), (host, port)),
            ):
                with pytest.raises(OSError) as caught:
                    sock.sendto(data, *address)
                assert numbers == caught.value.errno
            with pytest.raises(TypeError):
                sock.sendto(b"x")
            found.append("all")

    with serve(Answers, bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(b"hello")
        assert [b"hello", b"flags", b"pieces"] == [peer.recv(100) for _ in range(3)]
        server.wait_until(lambda _: found[-1] == "all")

    assert [(socket.AF_INET, socket.SOCK_DGRAM, True), 5, 5, 6, "all"] == found


def test_what_is_there_when_a_timeout_passes_is_returned(serve, engine):
    """MSG_WAITALL gives fewer bytes then, as of the kernel's sockets: none of them is lost."""
    seen = []

    class Reads(socketserver.BaseRequestHandler):
        def handle(self):
            sock = self.request
            sock.recv(1, socket.MSG_PEEK)
            sock.settimeout(0.01)
            seen.append(sock.recv(8, socket.MSG_WAITALL))
            sock.settimeout(20)
            sock.sendall(b"go")
            seen.append(sock.recv(8, socket.MSG_WAITALL))

    with serve(Reads) as server, server.dial() as peer:
        peer.sendall(b"ABCD")
        assert b"go" == read_exactly(peer, 2)
        peer.sendall(b"EFGH")
        peer.shutdown(socket.SHUT_WR)
        assert b"" == read_to_end(peer)

    assert [b"ABCD", b"EFGH"] == seen


def test_a_socket_reads_and_writes_as_sockets_do(serve, engine):
    """Peeked bytes stay, MSG_WAITALL waits for all, a timeout leaves the rest, EOF is empty, and ends nothing."""
    seen = []

    class Reads(socketserver.BaseRequestHandler):
        def handle(self):
            sock = self.request
            seen.append(sock.recv(2, socket.MSG_PEEK))
            seen.append(sock.recv(2))
            buffer = bytearray(3)
            seen.append((sock.recv_into(buffer), bytes(buffer)))
            seen.append(sock.recv(6, socket.MSG_WAITALL))
            sock.settimeout(0.01)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
            sock.settimeout(None)
            sock.sendall(b"go")
            seen.append(sock.recv(10))
            seen.append(sock.recv(10))
            seen.append((sock.getpeername() == self.client_address, sock.getsockname()[1] == server.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
            sock.sendall(b"end")
            sock.shutdown(socket.SHUT_WR)
            with pytest.raises(BrokenPipeError):
                sock.sendall(b"more")

    with serve(Reads) as server, server.dial() as peer:
        peer.sendall(b"abcdefgh")
        peer.sendall(b"ijk")
        assert b"go" == read_exactly(peer, 2)
        peer.sendall(b"z")
        peer.shutdown(socket.SHUT_WR)
        assert b"end" == read_to_end(peer)

    assert [b"ab", b"ab", (3, b"cde"), b"fghijk", b"z", b"", (True, True), True] == seen


def test_a_peer_that_resets_is_a_connection_error(serve, engine):
    """A handler written for sockets catches what sockets raise; one that does not ends with the peer's reason."""
    caught, reading = [], threading.Event()

    class Reads(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                self.request.recv(1)
                reading.set()
                self.request.recv(1)
            except ConnectionResetError as error:
                caught.append(error.errno)
                raise

    with serve(Reads) as server:
        peer = server.dial()
        peer.sendall(b"x")
        assert reading.wait(20)
        reset(peer)
        assert ["reset"] == list(server.reasons(1))

    assert [104] == caught


def test_a_handler_finds_its_server(serve, engine):
    """Handlers keep state there, ask for its address, and may shut it down."""

    class Counts(socketserver.StreamRequestHandler):
        def handle(self):
            self.server.count = getattr(self.server, "count", 0) + 1
            self.wfile.write(b"%d %d\n" % (self.server.count, self.server.server_address[1]))
            if self.server.count == 2:
                self.server.shutdown()

    with serve(Counts) as server:
        port = server.port
        assert b"1 %d\n" % port == asked(server, b"")
        assert b"2 %d\n" % port == asked(server, b"")
        server.wait(server.server.wait_stopped())


def test_a_handler_of_http_server_serves_files(serve, engine, tmp_path):
    """With keep-alive, and given its directory by a partial."""
    (tmp_path / "hello.txt").write_bytes(b"hello\n" * 1000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            """Say nothing."""

    with serve(functools.partial(Quiet, directory=str(tmp_path))) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        for path, status in [("/hello.txt", 200), ("/none", 404), ("/hello.txt", 200)]:
            client.request("GET", path)
            reply = client.getresponse()
            body = reply.read()
            assert (status, status == 200) == (reply.status, body == b"hello\n" * 1000)
        client.close()


def test_a_server_of_xmlrpc_is_served_with_its_functions(serve, engine):
    """Its handlers find the functions at the server that was made; its own socket is closed."""
    made = xmlrpc.server.SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
    made.register_function(pow)

    with serve(made) as server, xmlrpc.client.ServerProxy(f"http://127.0.0.1:{server.port}") as proxy:
        assert 8 == proxy.pow(2, 3)
        with pytest.raises(xmlrpc.client.Fault, match="nothing"):
            proxy.nothing()


def test_what_fails_in_a_handler_ends_its_connection_alone(serve, engine):
    """Law 6."""

    class Fails(socketserver.StreamRequestHandler):
        def handle(self):
            if self.rfile.readline() == b"bad\n":
                raise ValueError("bad")
            self.wfile.write(b"good\n")

    with serve(Fails, fails=1) as server:
        assert b"" == asked(server, b"bad\n")
        assert b"good\n" == asked(server, b"fine\n")
        assert ["done", "handler_error"] == sorted(server.reasons(2))  # of two threads, either may be told of first


def test_a_handler_of_datagrams_on_a_stream_is_refused(serve, engine):
    """It would never find its datagram."""
    with (
        pytest.raises(ConfigurationError, match=r"EchoDatagram handles datagrams, and tcp:.* has connections"),
        serve(EchoDatagram),
    ):
        pass


def test_a_codec_for_a_foreign_handler_is_refused():
    """It cuts the bytes itself."""
    with pytest.raises(ConfigurationError, match="UpperCase was written for socketserver"):
        service_of(UpperCase, codec="lines")


def test_a_server_that_forks_is_refused():
    """The error says how each connection has a process."""
    forking = type("Forking", (socketserver.ForkingMixIn, socketserver.TCPServer), {})(
        ("127.0.0.1", 0), UpperCase, bind_and_activate=False
    )
    with pytest.raises(
        ApplicationError, match=r"Forking forks for each connection.* UpperCase, and say --model process"
    ):
        service_of(forking)
    forking.server_close()
