"""A record that cannot be sent: its message never comes to the peer later, and no later reply is taken for its own."""

import inspect
import ssl

import pytest

import penstock
from penstock.engines.tls.session import MemorySession
from penstock.errors import BrokenError, ClosedError, RequestLostError
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.engines import TLS_ENGINES
from penstock.testing.peers import dial
from penstock.testing.served import served

pytest.importorskip("trustme")
engines = pytest.mark.parametrize("engine", TLS_ENGINES, ids=lambda engine: engine.label)


@pytest.fixture
def refused(monkeypatch):
    """Have every session be one of `ssl` alone, and the records that are made while this holds something stay there."""
    due = []
    take = MemorySession.take

    def failing(session):
        if due and session.has_output:
            raise due.pop()
        return take(session)

    monkeypatch.setattr(MemorySession, "take", failing)
    monkeypatch.setattr("penstock.engines.native.openssl.loaded.why_not", lambda: "a test says so")
    return due


def asking(engine, refused, outcomes):
    """Return a conversation that is refused the sending of its first message, and then sends another one."""

    def note(error):
        outcomes.append(isinstance(error, ClosedError | BrokenError | RequestLostError))

    def use(conn, how):
        refused.append(MemoryError())
        return getattr(conn, how.decode())(b"one")

    def tell(conn):
        how = conn.receive()
        for step in (lambda: use(conn, how), lambda: conn.send(b"two")):
            try:
                outcomes.append(step())
            except Exception as error:
                note(error)

    async def ask(conn):
        how = await conn.receive()
        for step in (lambda: use(conn, how), lambda: conn.request(b"two")):
            try:
                value = step()
                outcomes.append(await value if inspect.isawaitable(value) else value)
            except Exception as error:
                note(error)

    return penstock.on_connection(tell if engine.name == "blocking" else ask, codec="lines")


@engines
@pytest.mark.parametrize("how", ["request", "send", "post"])
def test_a_message_that_was_refused_is_never_sent(engine, refused, how):
    """Its connection ends: without the record that is missing the peer could decipher nothing that follows."""
    if engine.missing:
        pytest.skip(engine.missing)
    if (engine.name, how) == ("blocking", "request"):
        pytest.skip("a handler that is a function makes no requests")
    outcomes, lines = [], []
    service = asking(engine, refused, outcomes)
    tls = {"bind": "tls://127.0.0.1:0", "tls_cert": server_certificate()}
    with served(service, engine=engine.name, loop_factory=engine.loop_factory, **tls) as server:
        peer = CipheredSocket(dial(server.address))
        try:
            peer.sendall(how.encode() + b"\n")
            with peer.makefile() as received:
                for line in received:
                    lines.append(line)
                    peer.sendall(b"answer to " + line)
        except (OSError, ssl.SSLError):
            pass  # it was cut
        finally:
            peer.raw.close()
        reasons = list(server.reasons(1))

    assert ([], [], ["tls_error"], True) == (refused, lines, reasons, outcomes[-1])
