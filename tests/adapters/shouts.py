"""One small service in every kind that is served as it is: each line is answered in capitals, with the peer's host.

`app` is all of them at once, for servers that are processes of their own.
"""

import asyncio
import socketserver

import penstock
from penstock.adapters import service_of

try:
    from twisted.protocols.basic import LineReceiver
except ImportError:
    LineReceiver = object


def answer(line, address):
    return line.strip().upper() + b" " + address[0].encode() + b"\n"


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(answer(line, self.client_address))


class Protocol(asyncio.Protocol):
    rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(answer(line, self.transport.get_extra_info("peername")))


class Buffered(asyncio.BufferedProtocol):
    def __init__(self):
        self.protocol = Protocol()
        self.buffer = bytearray(16)
        self.connection_made = self.protocol.connection_made

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.protocol.data_received(bytes(self.buffer[:nbytes]))

    def eof_received(self):
        pass


async def streams(reader, writer):
    while line := await reader.readline():
        writer.write(answer(line, writer.get_extra_info("peername")))
        await writer.drain()
    writer.close()


async def stream(stream):
    rest, address = b"", stream._raw_socket.getpeername()
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            await stream.send(answer(line, address))


def blocking(socket, address):
    for line in socket.makefile("rb"):
        socket.sendall(answer(line, address))


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(answer(data, addr), addr)


class DatagramHandler(socketserver.DatagramRequestHandler):
    def handle(self):
        self.wfile.write(answer(self.rfile.read(), self.client_address))


class Lines(LineReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        self.transport.write(answer(line, (self.transport.getPeer().host,)))


PROGRAM = """sh -c 'while read -r line; do echo "$line $TCPREMOTEIP" | tr a-z A-Z; done'"""
FILTER = """sh -c 'while read -r line; do echo "$line" | tr a-z A-Z; done'"""

# Of connections, by a name: what is served, what `--as` would call it, and whether it has a thread of its own.
STREAMS = {
    "socketserver": (Handler, "socketserver", True),
    "server": (socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, False), "server", True),
    "socket": (blocking, "socket", True),
    "protocol": (Protocol, "protocol", False),
    "buffered": (Buffered, "protocol", False),
    "streams": (streams, "streams", False),
    "stream": (stream, "stream", False),
    "exec": (PROGRAM, "exec", False),
    "filter": (FILTER, "filter", False),
}
if LineReceiver is not object:
    STREAMS["twisted"] = (Lines, "twisted", False)
# Of datagrams.
DATAGRAMS = {
    "datagram-protocol": (Datagrams, "protocol", False),
    "datagram-handler": (DatagramHandler, "socketserver", True),
    "filter": (FILTER, "filter", False),
}


def service(kinds, name):
    """Make the service of that name."""
    target, kind, _ = kinds[name]
    return service_of(target, kind=kind, name=name)


def says(name, line, host):
    """Return what the service of that name answers to a line: a filter knows nothing of its peer."""
    return line.upper() + ("" if name == "filter" else f" {host}")


app = penstock.App()
for name in STREAMS:
    app.add(service(STREAMS, name), bind="tcp://127.0.0.1:0")
for name in DATAGRAMS:
    app.add(service(DATAGRAMS, name), name=f"{name}-udp", bind="udp://127.0.0.1:0")
