"""What happens while TLS that began on an open connection shakes hands, on every engine and model."""

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import penstock
from penstock.core.events import EventName
from penstock.errors import BrokenError, LocalProtocolError
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
engines = pytest.mark.parametrize("engine", ALL_ENGINES, ids=lambda engine: engine.label)
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


# -- requests ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def asking(engine, server):
    """Have a function that asks a connection's peer from outside its handler, and returns the future of the reply."""
    run = asyncio.run if engine.name == "blocking" else server.wait
    with ThreadPoolExecutor() as pool:
        yield lambda conn, message: pool.submit(run, conn.request(message, 20))


@engines
def test_replies_that_are_owed_come_before_tls_begins(serve_clear, engine):
    """A reply in clear would be taken for TLS. Nothing has changed where that is refused; later ones are ciphered."""
    with serve_clear(push) as server, asking(engine, server) as ask:
        raw = dial(server.address)
        raw.sendall(b"one\n")
        assert b"ONE\n" == read_exactly(raw, 4)
        conn = connection(server)
        reply = ask(conn, b"who?")
        assert b"who?\n" == read_exactly(raw, 5)
        with pytest.raises(LocalProtocolError) as caught:
            server.call(conn.start_tls)
        raw.sendall(b"me\n")
        first = reply.result(20)
        server.call(conn.start_tls)
        reply = ask(conn, b"and now?")
        with CipheredSocket(raw) as peer:
            assert b"and now?\n" == read_exactly(peer, 9)
            peer.sendall(b"still me\n")
            second = reply.result(20)
        server.reasons(1)

    assert "1 requests have no reply yet, which would come in clear: wait for it" == str(caught.value)
    assert (b"me", b"still me") == (first, second)


@penstock.on_message(codec="lines")
async def asks_too_early(conn, message):
    conn.start_tls()
    try:
        await conn.request(b"who?", 20)
    except LocalProtocolError as error:
        return str(error).encode()


@penstock.on_message(codec="lines")
def asks_too_early_in_a_thread(conn, message):
    conn.start_tls()
    try:
        asyncio.run(conn.request(b"who?", 20))
    except LocalProtocolError as error:
        return str(error).encode()


@engines
def test_nothing_is_asked_in_clear_once_tls_is_to_begin(serve_clear, engine):
    """Its reply could only come in clear, behind the last message in clear."""
    target = asks_too_early_in_a_thread if engine.name == "blocking" else asks_too_early
    with serve_clear(target) as server:
        raw = dial(server.address)
        raw.sendall(b"one\n")
        with raw.makefile("rb") as file:
            answered = file.readline()
        with CipheredSocket(raw):
            pass
        server.reasons(1)

    assert b"TLS begins once this handler has returned: a request before that would be in clear\n" == answered


@engines
def test_a_reply_in_clear_is_none_once_a_client_has_begun(engine):
    """Another task has asked, and TLS has begun since: what comes in clear is nobody's word, and its request fails."""
    if engine.missing:
        pytest.skip(engine.missing)
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        sent = threading.Event()
        asked = pool.submit(ask_and_begin, engine, address, sent)
        far, _ = listening.accept()
        with far:
            assert b"who?\n" == read_exactly(far, 5)
            sent.set()
            assert b"\x16\x03" == read_exactly(far, 2)  # the client's part of the handshake
            far.sendall(b"me\n")
            with pytest.raises(BrokenError) as caught:
                asked.result(20)

    assert "not_tls" == caught.value.reason


def ask_and_begin(engine, address, sent):
    """Ask, and begin TLS once that was sent; return the reply."""
    if engine.name == "blocking":
        with ThreadPoolExecutor() as pool, penstock.connect_sync(address, codec="lines") as conn:
            reply = pool.submit(conn.request, b"who?", 20)
            assert sent.wait(20)
            conn.start_tls()
            return reply.result(20)

    async def main():
        async with asyncio.timeout(20), await penstock.connect(address, codec="lines") as conn:
            reply = asyncio.ensure_future(conn.request(b"who?"))
            assert await asyncio.to_thread(sent.wait, 20)
            conn.start_tls()
            return await reply

    with asyncio.Runner(loop_factory=engine.loop_factory) as runner:
        return runner.run(main())
