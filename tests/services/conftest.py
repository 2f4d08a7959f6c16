"""Each classic service over each transport and under each model, with plain sockets as its peers."""

import contextlib
import importlib
import socket

import pytest

from penstock import services
from penstock.config import Timeouts
from penstock.testing.peers import dial, read_to_end
from penstock.testing.thread import ServerThread

STREAMS = ("tcp4", "tcp6", "dual4", "dual6", "unix")
CONNECTIONS = (*STREAMS, "seqpacket")
DATAGRAMS = ("udp4", "udp6", "dual-udp4", "unix-dgram")
MODELS = ("loop", "threads", "one-at-a-time")

_BINDS = {
    "tcp4": "tcp://127.0.0.1:0",
    "tcp6": "tcp://[::1]:0",
    "dual4": "tcp://[::]:0",
    "dual6": "tcp://[::]:0",
    "udp4": "udp://127.0.0.1:0",
    "udp6": "udp://[::1]:0",
    "dual-udp4": "udp://[::]:0",
}


def pytest_generate_tests(metafunc):
    for name, values in (
        ("stream", STREAMS),
        ("connection", CONNECTIONS),
        ("datagram", DATAGRAMS),
        ("model", MODELS),
    ):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)


class Peer:
    """One client: a socket, and what it hears."""

    def __init__(self, sock):
        self.sock = sock
        self.is_record = sock.type != socket.SOCK_STREAM

    def say(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def hear(self):
        """One datagram or record; of a stream, what is there."""
        return self.sock.recv(65536)

    def finish(self):
        """End our side; return all that was still to be heard."""
        self.sock.shutdown(socket.SHUT_WR)
        return self.hear_to_end()

    def hear_to_end(self):
        return read_to_end(self.sock)


class Running(ServerThread):
    """A classic service at work."""

    transport = ""

    @contextlib.contextmanager
    def peer(self):
        address = self.address
        if self.transport.startswith("dual"):  # the wildcard, by the loopback address of one family
            host = "127.0.0.1" if self.transport.endswith("4") else "[::1]"
            address = f"{address.partition('://')[0]}://{host}:{self.port}"
        with dial(address) as sock:
            yield Peer(sock)

    def once(self, sent):
        """What one client hears that says this, ends its side and listens."""
        with self.peer() as peer:
            peer.say(sent)
            return peer.finish()


@pytest.fixture
def run(tmp_path, request):
    """Serve a classic service: ``with run("echo", transport, prefix="…") as server``."""

    def start(name, transport, *, model="loop", server_options=None, **options):
        definition = services.find(name)
        bind = (
            _BINDS.get(transport)
            or {
                "unix": f"unix://{tmp_path}/s",
                "seqpacket": f"unix+seqpacket://{tmp_path}/s",
                "unix-dgram": f"unix+dgram://{tmp_path}/s",
            }[transport]
        )
        if name == "chargen" and model == "threads":
            try:
                importlib.import_module("penstock.engines.blocking.engine")
            except ImportError:
                pytest.skip("the blocking engine is not there")
        server = Running(
            definition.make(**options),
            bind=bind,
            model=model,
            **{"timeouts": Timeouts(drain_s=5.0), "warn_public": False, **(server_options or {})},
        )
        server.transport = transport
        return server

    return start
