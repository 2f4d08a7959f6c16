"""What a handler is asked when its peer is silent, and told when the peer or the server comes to an end."""

import asyncio
import socket
import time

import pytest

import penstock
from penstock.config import Timeouts
from penstock.errors import ConnectionEndedError
from penstock.testing.clock import ManualClock
from penstock.testing.engines import LOOPS
from penstock.testing.peers import read_to_end

NONE = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
CALLBACKS = pytest.mark.forms(lambda form: "callbacks" in form.label)


def made(form, calls, **callbacks):
    """A Handler class that notes what it is called with, and answers what the test says."""

    def method(name, answer):
        def call(_self, conn, *args):
            calls.append((name, *args))
            return answer(conn, *args)

        async def call_async(self, conn, *args):
            await asyncio.sleep(0)
            return call(self, conn, *args)

        return call_async if form.label == "async-callbacks" else call

    callbacks.setdefault("on_message", lambda conn, message: message)
    callbacks.setdefault("on_close", lambda conn, reason: None)
    methods = {name: method(name, answer) for name, answer in callbacks.items()}
    return penstock.as_service(type("Made", (penstock.Handler,), methods))


def told(calls):
    return [call for call in calls if call[0] != "on_message"]


@CALLBACKS
def test_a_handler_is_told_of_the_peers_eof(serve, form):
    """After its messages, once; what is posted then arrives before our EOF."""
    calls = []
    service = made(form, calls, on_eof=lambda conn: conn.post(b"bye"), on_drain=lambda conn: None)
    with serve(service, model=form.model) as server:
        with server.dial() as peer:
            peer.sendall(b"one\ntwo\nthree\n")
            peer.shutdown(socket.SHUT_WR)

            assert b"one\ntwo\nthree\nbye\n" == read_to_end(peer)
        assert ["peer_closed"] == server.reasons(1)

    assert [("on_eof",), ("on_close", "peer_closed")] == told(calls)


@CALLBACKS
def test_a_handler_is_told_of_the_drain(serve, form):
    """Once; what is posted then arrives before EOF."""
    calls = []
    service = made(form, calls, on_eof=lambda conn: None, on_drain=lambda conn: conn.post(b"going down"))
    with serve(service, model=form.model) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            assert b"one\n" == peer.recv(100)
            server.call(server.server.begin_drain)

            assert b"going down\n" == read_to_end(peer)
        assert ["drained"] == server.reasons(1)

    assert [("on_drain",), ("on_close", "drained")] == told(calls)


@pytest.mark.engines(*LOOPS)
def test_a_conversation_may_wait_for_the_drain(serve, engine):
    """While it waits for something else than its peer; one whose peer is gone meets that."""
    seen = []

    @penstock.on_connection
    async def tell(conn):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(conn.wait_draining(), 0)
        try:
            await conn.wait_draining()
        except ConnectionEndedError as error:
            seen.append(str(error))
            return
        await conn.wait_draining()  # again: at once
        await conn.send(b"going down")

    with serve(tell) as server:
        with server.dial() as gone:
            server.wait_connections(1)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.wait_closed(1)
        with server.dial() as peer:
            server.wait_connections(1)
            server.call(server.server.begin_drain)

            assert b"going down\n" == read_to_end(peer)
        assert ["reset", "drained"] == server.reasons(2)

    assert ["the connection is gone: reset"] == seen


def waits(server):
    """Have the server's handlers back where they wait for their peers: no event tells of that."""

    def all_wait():
        conns = server.server.connections
        return server.server._clock.pending and all(getattr(conn, "_receiving", True) for conn in conns)

    until = time.monotonic() + 10
    while not server.call(all_wait):
        assert time.monotonic() < until
    for _ in range(20):
        server.call(lambda: None)


@CALLBACKS
def test_a_handler_may_keep_an_idle_connection(serve, form):
    """It is asked each time the idle timeout is over, and `on_timeout` is called once it says no."""
    calls, answers = [], [True, True, False]
    clock = ManualClock()

    def on_idle(conn):
        conn.post(b"still there?")
        return answers.pop(0)

    service = made(form, calls, on_idle=on_idle, on_timeout=lambda conn, which: conn.post(b"bye"))
    with serve(service, model=form.model, clock=clock, timeouts=NONE.merged(idle_s=8.0)) as server:
        with server.dial() as peer, peer.makefile("rb") as lines:
            peer.sendall(b"ping\n")
            assert b"ping\n" == lines.readline()
            for _ in range(3):
                waits(server)
                server.call(lambda: clock.advance(8.0))
                assert b"still there?\n" == lines.readline()
            assert b"bye\n" == lines.read()
        assert ["idle_timeout"] == server.reasons(1)

    names = [name for name, *_ in told(calls)]

    assert ["on_idle"] * 3 + ["on_timeout", "on_close"] == names


@CALLBACKS
def test_one_that_closes_an_idle_connection_is_taken_at_its_word(serve, form):
    """Its close is the reason, and no timeout is told of after it."""
    calls = []
    clock = ManualClock()
    service = made(form, calls, on_idle=lambda conn: conn.close(), on_timeout=lambda conn, which: None)
    with serve(service, model=form.model, clock=clock, timeouts=NONE.merged(idle_s=8.0)) as server:
        with server.dial() as peer:
            peer.sendall(b"ping\n")
            assert b"ping\n" == peer.recv(100)
            waits(server)
            server.call(lambda: clock.advance(8.0))
            assert b"" == read_to_end(peer)
        assert ["done"] == server.reasons(1)

    assert [("on_idle",), ("on_close", "done")] == told(calls)


@pytest.mark.forms(lambda form: form.has_conn)
@pytest.mark.parametrize("received_only", [True, False])
def test_what_is_sent_to_a_peer_keeps_it_or_does_not(serve, form, received_only):
    """``timeouts.idle_s`` counts both directions, ``receive_idle_s`` only what the peer sends."""
    clock = ManualClock()
    kept = []

    def react(conn, message):
        kept.append(conn)
        return message

    timeouts = NONE.merged(receive_idle_s=8.0) if received_only else NONE.merged(idle_s=8.0)
    with serve(react, clock=clock, timeouts=timeouts) as server:
        with server.dial() as peer, peer.makefile("rb") as lines:
            peer.sendall(b"one\n")
            assert b"one\n" == lines.readline()
            waits(server)
            server.call(lambda: clock.advance(4.0))
            server.call(lambda: kept[0].post(b"news"))
            assert b"news\n" == lines.readline()
            waits(server)
            server.call(lambda: clock.advance(4.0))
            if not received_only:
                waits(server)
                assert server.call(lambda: kept[0].close_reason) is None
                server.call(lambda: clock.advance(4.0))
            assert b"" == lines.read()
        assert ["idle_timeout"] == server.reasons(1)
