"""What happens while TLS that began on an open connection shakes hands, on every engine and model."""

import socket

import pytest

import penstock
from penstock.core.events import EventName
from penstock.testing.certificates import server_certificate
from penstock.testing.ciphered import CipheredSocket
from penstock.testing.clock import ManualClock
from penstock.testing.engines import ALL_ENGINES
from penstock.testing.peers import dial, read_exactly, read_to_end
from penstock.testing.served import served

pytest.importorskip("trustme")


def answer(message):
    return message.upper()


@penstock.on_message(codec="lines")
def push(conn, message):
    if message == b"login":
        conn.end_handshake()
    if message == b"STARTTLS":
        conn.start_tls()
    return answer(message)


@penstock.on_connection(codec="lines")
async def conversation(conn):
    async for message in conn:
        if message == b"login":
            conn.end_handshake()
        if message == b"STARTTLS":
            conn.start_tls(reply=answer(message))
            await conn.wait_tls()
        else:
            await conn.send(answer(message))


@penstock.on_connection(codec="lines")
def blocking(conn):
    for message in conn:
        if message == b"login":
            conn.end_handshake()
        if message == b"STARTTLS":
            conn.start_tls(reply=answer(message))
            conn.wait_tls(20)
        else:
            conn.send(answer(message))


FORMS = {"push": (push, "loop"), "threads": (push, "threads"), "conversation": (conversation, "loop")}
CASES = [
    pytest.param(engine, *(FORMS | {"conversation": (blocking, "loop")} if engine.name == "blocking" else FORMS)[form],
                 id=f"{engine.label}-{form}")
    for engine in ALL_ENGINES
    for form in FORMS
]  # fmt: skip
forms = pytest.mark.parametrize(("engine", "service", "model"), CASES)


@pytest.fixture
def serve_clear(engine):
    """Serve in clear, with a certificate for later."""
    if engine.missing:
        pytest.skip(engine.missing)

    def start(target, **options):
        options.setdefault("bind", "tcp://127.0.0.1:0?tls=start")
        return served(
            target, engine=engine.name, loop_factory=engine.loop_factory, tls_cert=server_certificate(), **options
        )

    return start


def connection(server):
    """Return the one connection."""
    (conn,) = server.server.connections
    return conn


def command(server, *, before=None):
    """Connect, and have TLS begin: the peer's part of the handshake has yet to come."""
    raw = dial(server.address)
    raw.sendall(b"one\n")
    assert b"ONE\n" == read_exactly(raw, 4)
    if before is not None:
        server.call(lambda: before(connection(server)))
    raw.sendall(b"STARTTLS\n")
    assert b"STARTTLS\n" == read_exactly(raw, 9)
    server.wait_until(lambda running: running.gate.handshakes == 1)
    return raw


def settle(server):
    for _ in range(20):
        server.call(lambda: None)


# -- two handshakes ----------------------------------------------------------------------------------------------------


@forms
def test_a_handshake_of_the_handlers_own_goes_on(serve_clear, service, model):
    """TLS says nothing about who logs in: the place is held until the handler says so."""
    with serve_clear(service, model=model) as server:
        raw = command(server, before=lambda conn: conn.begin_handshake())
        with CipheredSocket(raw) as peer:
            peer.sendall(b"two\n")
            assert b"TWO\n" == read_exactly(peer, 4)
            held = server.server.gate.handshakes
            peer.sendall(b"login\n")
            assert b"LOGIN\n" == read_exactly(peer, 6)
            server.wait_until(lambda running: running.gate.handshakes == 0)

    assert 1 == held


@forms
def test_a_handshake_of_the_handlers_own_keeps_its_deadline(serve_clear, service, model):
    """It is counted from where that one began, and no handshake under it moves it."""
    clock = ManualClock()
    timeouts = penstock.Timeouts(handshake_s=8.0, idle_s=None, first_message_s=None, drain_s=10.0)
    with serve_clear(service, model=model, clock=clock, timeouts=timeouts) as server:
        raw = command(server, before=lambda conn: conn.begin_handshake())
        server.call(lambda: clock.advance(4.0))
        with CipheredSocket(raw) as peer:
            peer.sendall(b"two\n")
            assert b"TWO\n" == read_exactly(peer, 4)
            server.call(lambda: clock.advance(3.75))
            peer.sendall(b"two\n")
            assert b"TWO\n" == read_exactly(peer, 4)
            server.call(lambda: clock.advance(0.25))
            reasons = list(server.reasons(1))

    assert ["handshake_timeout"] == reasons


@forms
def test_a_handler_cannot_end_the_handshake_of_tls(serve_clear, service, model):
    """It ends what it has begun, and that is none of it."""
    with serve_clear(service, model=model, timeout_handshake=0.5) as server:
        with command(server) as raw:
            server.call(lambda: connection(server).end_handshake())
            held = server.server.gate.handshakes
            with pytest.raises(ConnectionResetError):
                read_to_end(raw)
        reasons = list(server.reasons(1))

    assert (1, ["handshake_timeout"]) == (held, reasons)


# -- what has connections read no further ------------------------------------------------------------------------------


@forms
def test_a_drain_lets_the_handshake_come_to_its_end(serve_clear, service, model):
    """The peer is told of the end as TLS has it, and is no failure."""
    with serve_clear(service, model=model) as server:
        raw = command(server)
        server.call(server.server.begin_drain)
        with CipheredSocket(raw) as peer:
            received = read_to_end(peer)
        reasons = list(server.reasons(1))
        failed = server.record.of(EventName.HANDSHAKE_FAILED)

    assert (b"", ["drained"], []) == (received, reasons, failed)


@forms
def test_a_shortage_of_memory_lets_the_handshake_come_to_its_end(serve_clear, service, model):
    """Nothing that it reads is kept; what the peer says afterwards waits until memory is there again."""
    with serve_clear(service, model=model) as server:
        raw = command(server)
        server.call(lambda: connection(server).suspend_reading())
        with CipheredSocket(raw) as peer:
            server.wait_until(lambda running: running.gate.handshakes == 0)
            peer.sendall(b"two\n")
            settle(server)
            before = server.call(lambda: connection(server).messages_in)
            server.call(lambda: connection(server).unsuspend_reading())
            assert b"TWO\n" == read_exactly(peer, 4)
            peer.shutdown(socket.SHUT_WR)
            assert b"" == read_to_end(peer)
        server.reasons(1)

    assert 2 == before


@forms
def test_what_waits_for_the_handshake_does_not_hold_it_up(serve_clear, service, model):
    """More than the high watermark: reading stops for a peer that does not read, and this one does."""
    limits = penstock.Limits(write_high_bytes=1000, write_low_bytes=100)
    with serve_clear(service, model=model, limits=limits) as server:
        raw = command(server)
        lines = [b"%03d" % number + b"x" * 96 for number in range(100)]
        for line in lines:
            server.call(lambda line=line: connection(server).post(line))
        with CipheredSocket(raw) as peer:
            received = read_exactly(peer, 100 * 100)
            peer.sendall(b"two\n")
            assert b"TWO\n" == read_exactly(peer, 4)
        server.reasons(1)

    assert b"".join(line + b"\n" for line in lines) == received
