"""The first message has its time only while the handler waits for one, and a service may say that silence is no fault.

Who the peer is changes nothing: behind a balancer on the same machine every peer is of this machine.
"""

import asyncio
import socket
import threading
import time

import pytest

import penstock
from penstock.address import parse_address
from penstock.config import Timeouts
from penstock.core.service import callbacks
from penstock.testing.clock import ManualClock
from penstock.testing.peers import PATIENCE_S, read_to_end

NEVER = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
TICK = 0.25
FIRST = NEVER.merged(first_message_s=8.0)


@pytest.fixture
def clock():
    return ManualClock()


def advance(server, clock, seconds):
    """Move the server's clock, and let the server see what came of it."""
    server.call(lambda: clock.advance(seconds))
    for _ in range(20):
        server.call(lambda: None)


def is_open(server):
    return server.call(lambda: [conn.close_reason for conn in server.server.connections]) == [None]


def spin(server, fact):
    """Let the server's loop turn until a fact is true that no event tells of."""
    until = time.monotonic() + PATIENCE_S
    while not server.call(fact):
        assert time.monotonic() < until


def waits(server):
    """The one connection's handler waits for its peer."""
    server.wait_connections(1)
    spin(server, lambda: all(getattr(conn, "_receiving", True) for conn in server.server.connections))
    for _ in range(20):
        server.call(lambda: None)


def expect_close(server, peer, reason):
    assert b"" == read_to_end(peer)
    peer.close()
    assert [reason] == server.reasons(1)


@pytest.fixture
def conversation(engine):
    """A conversation that gives up waiting after four seconds, works at something else, and waits again."""
    gave_up, over = threading.Event(), threading.Event() if engine.name == "blocking" else asyncio.Event()

    async def converse_async(conn):
        with pytest.raises(TimeoutError):
            await conn.receive(timeout_s=4.0)
        gave_up.set()
        await over.wait()
        await conn.receive()

    def converse_def(conn):
        with pytest.raises(TimeoutError):
            conn.receive(timeout_s=4.0)
        gave_up.set()
        assert over.wait(20)
        conn.receive()

    converse = converse_def if engine.name == "blocking" else converse_async
    return penstock.on_connection(converse), gave_up, over


@pytest.mark.parametrize("part", [b"", b"half a mess"], ids=["first message", "message at hand"])
def test_a_peer_is_not_late_while_the_handler_does_something_else(serve, clock, conversation, part):
    """The clock stands still meanwhile, and goes on from where it stood."""
    service, gave_up, over = conversation
    timeouts = NEVER.merged(message_s=8.0) if part else FIRST
    with serve(service, clock=clock, timeouts=timeouts, fails=None) as server, server.dial() as peer:
        waits(server)
        if part:
            peer.sendall(part)
            spin(server, lambda: [conn.bytes_in for conn in server.server.connections] == [len(part)])
            waits(server)
        advance(server, clock, 4.0)
        assert gave_up.wait(20)
        advance(server, clock, 100.0)
        assert is_open(server)
        server.call(over.set)
        waits(server)
        advance(server, clock, 4.0 - TICK)
        assert is_open(server)
        advance(server, clock, TICK)

        expect_close(server, peer, "message_timeout" if part else "first_message_timeout")


def test_a_conversation_that_never_listens_holds_no_silence_against_its_peer(serve, engine, clock):
    """A feed: it sends, and waits for other things than its peer."""
    over = threading.Event() if engine.name == "blocking" else asyncio.Event()

    async def feed_async(conn):
        await over.wait()
        await conn.send(b"news")

    def feed_def(conn):
        assert over.wait(20)
        conn.send(b"news")

    feed = penstock.on_connection(feed_def if engine.name == "blocking" else feed_async)
    with serve(feed, clock=clock, timeouts=FIRST) as server, server.dial() as peer:
        server.wait_connections(1)
        advance(server, clock, 1000.0)
        assert is_open(server)
        server.call(over.set)

        assert b"news\n" == read_to_end(peer)


@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
def test_a_handler_without_on_message_waits_for_none(serve, engine, clock, model, is_async):
    """Its peer is there to listen; idle it may be, late it is not."""
    if is_async and (model == "threads" or engine.name == "blocking"):
        pytest.skip("coroutines have no threads")
    connected = threading.Event()

    class Listener(penstock.Handler):
        def on_connect(self, conn):
            connected.set()

    class AsyncListener(penstock.Handler):
        async def on_connect(self, conn):
            connected.set()

    service = callbacks(AsyncListener if is_async else Listener, name="listener")
    with serve(service, clock=clock, model=model, timeouts=FIRST) as server, server.dial() as peer:
        assert connected.wait(20)
        waits(server)
        advance(server, clock, 1000.0)
        assert is_open(server)
        peer.sendall(b"ignored\n")
        spin(server, lambda: [conn.bytes_in for conn in server.server.connections] == [8])

        assert is_open(server)


def test_a_slow_on_connect_is_not_the_peers_silence(serve, engine, clock):
    """A handler that looks something up first does not use up its peer's time."""
    if engine.name == "blocking":
        pytest.skip("coroutines have no threads")
    over = asyncio.Event()

    class Slow(penstock.Handler):
        async def on_connect(self, conn):
            await over.wait()

        async def on_message(self, conn, message):
            return message

    with serve(callbacks(Slow, name="slow"), clock=clock, timeouts=FIRST) as server, server.dial() as peer:
        server.wait_connections(1)
        advance(server, clock, 100.0)
        server.call(over.set)
        waits(server)
        advance(server, clock, 8.0 - TICK)
        assert is_open(server)
        advance(server, clock, TICK)

        expect_close(server, peer, "first_message_timeout")


@pytest.mark.parametrize("kind", ["this machine", "another of its addresses", "Unix"])
def test_it_is_the_same_for_every_peer(serve, engine, clock, tmp_path, kind):
    """Late is late, wherever a peer comes from."""
    service = penstock.on_message(lambda message: message)
    bind = f"unix:{tmp_path}/s" if kind == "Unix" else "tcp://127.0.0.1:0"
    with serve(service, clock=clock, timeouts=FIRST, bind=bind) as server:
        if kind == "another of its addresses":
            where = parse_address(server.addresses[0])
            peer = server.speaking(socket.create_connection((where.host, where.port), 20, ("127.0.0.9", 0)))
        else:
            peer = server.dial()
        with peer:
            waits(server)
            advance(server, clock, 8.0 - TICK)
            assert is_open(server)
            advance(server, clock, TICK)

            expect_close(server, peer, "first_message_timeout")


class TestOfItsOwn:
    """A service declares the timeouts that suit it; what is configured wins over them, and they over the defaults."""

    def test_a_service_may_declare_how_long_its_peers_may_be_silent(self, serve, engine, clock):
        patient = penstock.on_message(timeouts={"first_message": "100s"})(lambda message: message)
        timeouts = Timeouts(drain_s=10.0, linger_s=None)
        with serve(patient, clock=clock, timeouts=timeouts) as server, server.dial() as peer:
            waits(server)
            advance(server, clock, 100.0 - TICK)
            assert is_open(server)
            advance(server, clock, TICK)

            expect_close(server, peer, "first_message_timeout")

    def test_what_is_configured_wins_though_it_is_the_default_s_value(self):
        """What was chosen is told from what was not, not by its value."""
        patient = penstock.on_message(timeouts={"idle": "1h", "first_message": None})(lambda message: message)

        assert 3600.0 == penstock.serve(patient).config.timeouts.idle_s
        assert 300.0 == penstock.serve(patient, timeout_idle="5m").config.timeouts.idle_s
        assert 10.0 == penstock.serve(patient, timeouts={"first_message": 10.0}).config.timeouts.first_message_s

    def test_a_timeout_that_does_not_exist_is_refused_at_once(self):
        """The nearest one is suggested."""
        with pytest.raises(penstock.ConfigurationError, match="did you mean first_message"):
            penstock.on_message(timeouts={"frist_message": None})(lambda message: message)

    def test_what_is_configured_wins(self, serve, engine, clock):
        patient = penstock.on_message(timeouts={"first_message": None})(lambda message: message)
        with serve(patient, clock=clock, timeouts=FIRST) as server, server.dial() as peer:
            waits(server)
            advance(server, clock, 8.0)

            expect_close(server, peer, "first_message_timeout")
