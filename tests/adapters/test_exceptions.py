"""Law 6 for handlers written for something else: whatever leaves one ends its connection, and no other."""

import asyncio
import socketserver

import pytest

from penstock.adapters import install_reactor, service_of
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end


class Own(BaseException):
    """No `Exception`."""


def throw(kind):
    raise kind


RAISING = {
    "SystemExit": lambda: throw(SystemExit(3)),
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "CancelledError": lambda: throw(asyncio.CancelledError("own")),
    "StopIteration": lambda: next(iter(())),
    "Own": lambda: throw(Own()),
    "MemoryError": lambda: throw(MemoryError()),
}


def act(data):
    word = data.decode().strip()
    if word in RAISING:
        RAISING[word]()
    return data


async def streams(reader, writer):
    writer.write(act(await reader.readline()))


async def stream(stream):
    await stream.send(act(await stream.receive()))


class OfData(asyncio.Protocol):
    """Fails as it is given data."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(act(data))
        self.transport.close()


class OfEof(OfData):
    """Fails as its peer ends."""

    data = b""

    def data_received(self, data):
        self.data = data

    def eof_received(self):
        self.transport.write(act(self.data))


class OfLoss(OfData):
    """Fails when all is over."""

    data = b""

    def data_received(self, data):
        self.data = data
        self.transport.write(b"" if data.decode().strip() in RAISING else data)
        self.transport.close()

    def connection_lost(self, exc):
        act(self.data)


class OfSockets(socketserver.StreamRequestHandler):
    """Fails in its thread."""

    def handle(self):
        self.wfile.write(act(self.rfile.readline()))


def of_socket(sock, address):
    sock.sendall(act(sock.recv(100)))


def of_twisted():
    """Make two protocols of Twisted's: one fails as it is given data, one as its producer is asked for more."""
    pytest.importorskip("twisted")
    install_reactor()
    from twisted.internet.protocol import Protocol

    class OfTwistedsData(Protocol):
        def dataReceived(self, data):
            self.transport.write(act(data))
            self.transport.loseConnection()

    class OfProducer(Protocol):
        def dataReceived(self, data):
            self.data, self.asked = data, 0
            self.transport.registerProducer(self, False)

        def resumeProducing(self):
            self.asked += 1
            if self.asked == 2:  # the first time it is asked within dataReceived
                self.transport.write(act(self.data))
                self.transport.unregisterProducer()
                self.transport.loseConnection()

        def stopProducing(self):
            """Its connection has gone."""

    return {"dataReceived": OfTwistedsData, "resumeProducing": OfProducer}


KINDS = {
    "streams": (streams, "streams"),
    "stream": (stream, "stream"),
    "data_received": (OfData, "protocol"),
    "eof_received": (OfEof, "protocol"),
    "connection_lost": (OfLoss, "protocol"),
    "socketserver": (OfSockets, "socketserver"),
    "socket": (of_socket, "socket"),
    "dataReceived": (None, "twisted"),
    "resumeProducing": (None, "twisted"),
}


@pytest.mark.parametrize("name", KINDS)
def test_whatever_is_raised_ends_its_connection_alone(serve, engine, name):
    """The next peer is served; the log has each failure once, and the server stops."""
    if name == "stream":
        pytest.importorskip("anyio")
    in_threads = name in ("socketserver", "socket")
    if (engine.name == "blocking") != in_threads:
        pytest.skip("it is served by others")
    if not in_threads and engine.label not in LOOPS:
        pytest.skip("it is served by others")
    target, kind = KINDS[name]
    target = target or of_twisted()[name]
    with serve(service_of(target, kind=kind), fails=len(RAISING)) as server:
        for word in RAISING:
            for said in (word.encode(), b"hello"):
                with server.dial() as peer:
                    peer.sendall(said + b"\n")
                    if name == "eof_received":
                        peer.shutdown(1)
                    answer = read_to_end(peer)

                assert (b"" if said == word.encode() else b"hello\n") == answer
        server.wait_until(lambda server: server.stats.handler_errors == len(RAISING))
