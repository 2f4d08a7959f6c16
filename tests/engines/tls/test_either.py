"""Plain text and TLS on one port, on every engine."""

import socket

import pytest

import penstock
from penstock.core.events import EventName
from penstock.errors import ConfigurationError
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)


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
def test_the_first_byte_decides(serve_both):
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
