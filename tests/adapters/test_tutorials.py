"""The servers of the tutorials, written anew in their shape and served as they are."""

import asyncio
import socketserver
import threading
import time

import pytest

from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_exactly, read_to_end

on_loops = pytest.mark.engines(*LOOPS)
on_threads = pytest.mark.engines("blocking")


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes, until nothing comes any more."""

    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(b"Echo=>" + data)


class ThreadingServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@on_threads
def test_an_echo_server_in_threads(serve, engine):
    """The server's object as its ``main`` makes it; two clients are served at once."""
    made = ThreadingServer(("127.0.0.1", 0), Echo, bind_and_activate=False)
    with serve(made) as server, server.dial() as peer, server.dial() as other:
        for each in (peer, other, peer):
            each.sendall(b"hello")
            assert b"Echo=>hello" == read_exactly(each, 11)


@on_threads
def test_ten_worker_threads_serve_eleven_clients_in_turn(serve, engine):
    """As a pool of ten that accept: the eleventh waits until a thread is free, and nobody is refused."""
    leave = threading.Event()

    class Worker(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"%s\n" % self.rfile.readline().strip().upper())
            leave.wait(20)

    limits = {"threads": 10, "max_connections": 10, "max_per_peer": None, "on_refusal": ["wait"]}
    with serve(Worker, **limits) as server:
        peers = [server.dial() for _ in range(11)]
        for peer in peers:
            peer.sendall(b"hello\n")
        served = [read_exactly(peer, 6) for peer in peers[:10]]
        leave.set()
        eleventh = read_exactly(peers[10], 6)
        for peer in peers:
            peer.close()
        server.wait_closed(11)

        assert [b"HELLO\n"] * 10 == served
        assert b"HELLO\n" == eleventh


class Time(asyncio.Protocol):
    """Says what time it is, as RFC 868's human sister does."""

    def connection_made(self, transport):
        transport.write(time.ctime(0).encode() + b"\r\n")
        transport.close()


@on_loops
def test_a_time_server_as_a_protocol(serve, engine):
    """It speaks first, and closes."""
    with serve(Time) as server, server.dial() as peer:
        assert time.ctime(0).encode() + b"\r\n" == read_to_end(peer)


@on_loops
def test_twisteds_time_server(serve, engine):
    """The same in Twisted's words."""
    protocol = pytest.importorskip("twisted.internet.protocol")

    class TwistedTime(protocol.Protocol):
        def connectionMade(self):
            self.transport.write(time.ctime(0).encode() + b"\r\n")
            self.transport.loseConnection()

    factory = protocol.Factory()
    factory.protocol = TwistedTime
    with serve(factory) as server, server.dial() as peer:
        assert time.ctime(0).encode() + b"\r\n" == read_to_end(peer)
