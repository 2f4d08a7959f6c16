"""Where TLS is to be spoken and its layer cannot be made, nothing is served: on every engine not a byte is in clear."""

import contextlib

import pytest

import penstock
from penstock.errors import ConnectionEndedError, TlsMaterialError
from penstock.testing.certificates import server_certificate
from penstock.testing.engines import TLS_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served
from penstock.testing.thread import ServerThread

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", TLS_ENGINES, ids=lambda engine: engine.label)

HELLO = b"\x16\x03\x01\x00\x05\x01"  # what a ClientHello begins with
BEGINNINGS = {
    "tls://127.0.0.1:0": b"one\n",
    "tcp+tls://127.0.0.1:0": HELLO,
    "tcp://127.0.0.1:0?tls=start": b"STARTTLS\n",
}


@penstock.on_message(codec="lines")
def push(conn, message):
    if message == b"STARTTLS":
        conn.start_tls()
        return None
    return b"in clear"


@penstock.on_connection(codec="lines")
async def conversation(conn):
    """It goes on, whatever has become of TLS."""
    async for message in conn:
        if message == b"STARTTLS":
            with contextlib.suppress(MemoryError):
                conn.start_tls()
        with contextlib.suppress(ConnectionEndedError):
            await conn.send(b"in clear")


@penstock.on_connection(codec="lines")
def blocking(conn):
    """As that one, in a thread."""
    for message in conn:
        if message == b"STARTTLS":
            with contextlib.suppress(MemoryError):
                conn.start_tls()
        with contextlib.suppress(ConnectionEndedError):
            conn.send(b"in clear")


def no_layer(*_args, **_options):
    raise MemoryError("no layer")


@pytest.fixture(autouse=True)
def is_there(engine):
    if engine.missing:
        pytest.skip(engine.missing)


@engines
@pytest.mark.parametrize("bind", BEGINNINGS)
@pytest.mark.parametrize("form", ["messages", "conversation"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_connection_whose_layer_cannot_be_made_is_ended(engine, bind, form, monkeypatch):
    """What it sends then reaches no handler, and what a handler sends then does not leave."""
    service = push if form == "messages" else blocking if engine.name == "blocking" else conversation
    options = {"tls_cert": server_certificate(), "loop_factory": engine.loop_factory}
    monkeypatch.setattr("penstock.server.tls.TlsLayer", no_layer)
    seen = b""
    with served(service, engine=engine.name, bind=bind, fails=None, **options) as server:
        for _ in range(2):  # and the next one, too
            with dial(server.address) as peer, contextlib.suppress(OSError):
                peer.sendall(BEGINNINGS[bind])
                seen += peer.recv(100)
                peer.sendall(b"two\n")
                seen += peer.recv(100)

    assert b"" == seen


@engines
@pytest.mark.parametrize("bind", ["tls://127.0.0.1:0", "tcp+tls://127.0.0.1:0"])
def test_an_engine_refuses_a_listener_of_tls_that_has_no_layer(engine, bind, monkeypatch):
    """Whoever has forgotten it."""
    monkeypatch.setattr("penstock.server.setup.layered", lambda listener, _: listener)

    with pytest.raises(TlsMaterialError, match="nothing was made that speaks TLS"):
        ServerThread(
            push,
            engine=engine.name,
            bind=bind,
            tls_cert=server_certificate(),
            loop_factory=engine.loop_factory,
        ).__enter__()
