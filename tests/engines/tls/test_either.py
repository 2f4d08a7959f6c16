"""Plain text and TLS on one port, on every engine."""

import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock.core.events import EventName
from penstock.engines.tls.either import EitherLayer
from penstock.errors import ConfigurationError
from penstock.testing.certificates import authority, server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import TLS_ENGINES
from penstock.testing.peers import dial, read_exactly
from penstock.testing.served import served

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", TLS_ENGINES, ids=lambda engine: engine.label)


@penstock.on_message(codec="lines")
def tell(conn, message):
    return message + (b" clear" if conn.tls is None else b" " + conn.tls.version.encode())


@pytest.fixture
def serve_both(engine):
    """Serve both on one port."""
    if engine.missing:
        pytest.skip(engine.missing)

    def start(**options):
        options.setdefault("tls_cert", server_certificate())
        options.setdefault("loop_factory", engine.loop_factory)
        return served(tell, engine=engine.name, bind="tcp+tls://127.0.0.1:0", **options)

    return start


@engines
def test_the_first_bytes_decide(serve_both):
    """Each is served as it speaks, with its own end; one that says nothing and leaves is no failure."""
    with serve_both() as server:
        with dial(server.address) as peer:
            peer.sendall(b"one\ntwo\n")
            peer.shutdown(socket.SHUT_WR)
            plain = peer.makefile("rb").read()
        with CipheredSocket(dial(server.address)) as peer:
            peer.sendall(b"one\n")
            peer.shutdown(socket.SHUT_WR)
            ciphered = b"".join(iter(lambda: peer.recv(100), b""))
        with dial(server.address) as peer:
            peer.shutdown(socket.SHUT_WR)
            nothing = peer.recv(100)
        reasons = list(server.reasons(3))

    assert (b"one clear\ntwo clear\n", b"one TLSv1.3\n", b"") == (plain, ciphered, nothing)
    assert ["peer_closed"] * 3 == reasons


@engines
def test_a_first_byte_of_tls_decides_nothing_alone(serve_both):
    """A binary protocol may begin with it: the second one is waited for, and none of them is lost."""
    with serve_both() as server:
        with dial(server.address) as peer:
            peer.sendall(b"\x16")
            for _ in range(20):
                server.call(lambda: None)
            peer.sendall(b"A\n")
            plain = read_exactly(peer, 9)
        with dial(server.address) as raw:
            context, incoming, outgoing = authority().client(), ssl.MemoryBIO(), ssl.MemoryBIO()
            session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                session.do_handshake()
            hello = outgoing.read()
            raw.sendall(hello[:1])
            for _ in range(20):
                server.call(lambda: None)
            raw.sendall(hello[1:])
            incoming.write(raw.recv(1 << 16))
            ciphered = incoming.pending > 0
        server.reasons(2)

    assert (b"\x16A clear\n", True) == (plain, ciphered)


class Beneath:
    """A link that does nothing, under a layer; or the user of one, which notes what it is told."""

    queued_bytes = heard_bytes = 0

    def __init__(self, kind=None, told=None):
        self.kind = kind
        self.told = told

    def take_turns(self, *, wanted):
        pass

    def resume_reading(self):
        pass

    def layer_begins(self, link):
        pass

    def layer_begun(self):
        self.told.append("begun")

    def connection_made(self, link):
        self.told.append(self.kind)

    def data_received(self, data):
        self.told.append(data)

    def eof_received(self):
        self.told.append("eof")


def told_by(parts):
    """Return what is told of a stream that comes in such parts and ends: in clear or not, its bytes, its end."""
    told = []
    layer = EitherLayer(Beneath("clear", told), lambda user: Beneath("tls", told))
    layer.connection_made(Beneath())
    for part in parts:
        layer.data_received(part)
    layer.eof_received()
    kinds = [each for each in told if isinstance(each, str)]
    return kinds, b"".join(each for each in told if isinstance(each, bytes))


@given(
    data=st.one_of(st.binary(max_size=5), st.sampled_from([b"\x16\x03\x01", b"\x15\x03", b"\x16A", b"\x15"])),
    data_cuts=st.data(),
)
def test_every_cut_of_the_first_bytes_has_the_same_result(data, data_cuts):
    """What the network makes of them says nothing about what the peer speaks; nor is one lost, or told twice."""
    at = data_cuts.draw(st.integers(0, len(data)))
    cut = [part for part in (data[:at], data[at:]) if part]
    bytewise = [data[index : index + 1] for index in range(len(data))]

    whole = told_by([data] if data else [])
    assert (whole, whole) == (told_by(cut), told_by(bytewise))
    assert data == whole[1]


@engines
def test_silence_has_the_time_of_a_handshake(serve_both):
    """Nobody knows what it would be."""
    with serve_both(timeout_handshake=0.2) as server:
        with dial(server.address) as peer, pytest.raises(ConnectionResetError):
            peer.recv(1)
        reasons = list(server.reasons(1))

    assert ["handshake_timeout"] == reasons


@engines
def test_a_proxy_may_stand_before_both(serve_both):
    """Its header comes first."""
    header = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n"
    with serve_both(proxy_from="127.0.0.1") as server:
        with dial(server.address) as peer:
            peer.sendall(header + b"one\n")
            plain = peer.recv(100)
        raw = dial(server.address)
        raw.sendall(header)
        with CipheredSocket(raw) as peer:
            peer.sendall(b"one\n")
            ciphered = peer.recv(100)
        server.reasons(2)
        hosts = {event.connection.peer.host for event in server.record.of(EventName.CLOSED)}

    assert (b"one clear\n", b"one TLSv1.3\n") == (plain, ciphered)
    assert {"203.0.113.7"} == hosts


def test_a_client_says_which():
    """It would have to guess."""
    with pytest.raises(ConfigurationError, match="tcp:// or tls://"):
        penstock.connect_sync("tcp+tls://127.0.0.1:9000")
