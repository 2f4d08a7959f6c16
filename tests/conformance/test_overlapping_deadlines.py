"""Deadlines that pass while others count: the one that has been told of hides no other."""

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.testing.clock import ManualClock

NONE = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
PIECE = b"x" * 60_000


@pytest.fixture
def clock():
    return ManualClock()


def endless(engine):
    """A message handler that sends until its peer is gone."""
    if engine.name == "blocking":

        @penstock.on_message(codec="lines")
        def answer(conn, _message):
            while True:
                conn.send(PIECE)
    else:

        @penstock.on_message(codec="lines")
        async def answer(conn, _message):
            while True:
                await conn.send(PIECE)

    return answer


def endless_on_timeout(engine):
    """Callbacks whose last word has no end."""

    class Blocking(penstock.Handler):
        def on_timeout(self, conn, which):
            while True:
                conn.send(PIECE)

    class Awaiting(penstock.Handler):
        async def on_timeout(self, conn, which):
            while True:
                await conn.send(PIECE)

    made = Blocking if engine.name == "blocking" else Awaiting
    return penstock.core.service.callbacks(made, name="last-word", codec="lines")


def waiting(server):
    """Whether the handler of each connection waits for a message: then it is told of a deadline at once."""
    return all(getattr(conn, "_receiving", True) for conn in server.server.connections)


def full(server):
    """Output is over its high watermark, and nobody is on the way to anywhere."""
    server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
    for _ in range(20):
        server.call(lambda: None)


def test_a_peer_that_does_not_read_is_cut_though_its_connection_is_too_old(serve, engine, clock, tmp_path):
    """At the end of its life a connection waits for its handler, and no longer than ``write_s`` for its peer."""
    timeouts = NONE.merged(write_s=8.0, lifetime_s=4.0)
    with serve(endless(engine), clock=clock, timeouts=timeouts, bind=f"unix://{tmp_path}/s") as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            full(server)
            server.call(lambda: clock.advance(4.0))
            assert ["lifetime"] == server.call(lambda: [conn.close_reason for conn in server.server.connections])
            server.call(lambda: clock.advance(4.0))

            assert ["lifetime"] == server.reasons(1)


def test_a_last_word_that_is_not_read_ends_at_write_s(serve, engine, clock, tmp_path):
    """Nor does the deadline that a handler is at work on hide it."""
    timeouts = NONE.merged(write_s=8.0, lifetime_s=4.0)
    options = {"clock": clock, "timeouts": timeouts, "bind": f"unix://{tmp_path}/s"}
    with serve(endless_on_timeout(engine), **options) as server, server.dial():
        server.wait_connections(1)
        while not server.call(lambda: clock.pending and waiting(server)):  # no event tells of either
            pass
        server.call(lambda: clock.advance(4.0))
        full(server)
        server.call(lambda: clock.advance(8.0))

        assert ["lifetime"] == server.reasons(1)


@pytest.mark.parametrize("deadline", ["idle_s", "lifetime_s"])
def test_a_last_word_to_a_peer_that_had_stopped_reading_ends_at_write_s(serve, engine, clock, tmp_path, deadline):
    """Output stalled before the deadline that the handler is told of: what it sends then waits no longer."""
    word = PIECE * 20

    class Blocking(penstock.Handler):
        def on_message(self, conn, message):
            conn.post(word)

        def on_timeout(self, conn, which):
            conn.send(PIECE)

    class Awaiting(Blocking):
        async def on_message(self, conn, message):
            conn.post(word)

        async def on_timeout(self, conn, which):
            await conn.send(PIECE)

    made = Blocking if engine.name == "blocking" else Awaiting
    service = penstock.core.service.callbacks(made, name="last-word", codec="lines:max=4MiB")
    timeouts = NONE.merged(**{"write_s": 16.0, deadline: 4.0})
    with serve(service, clock=clock, timeouts=timeouts, bind=f"unix://{tmp_path}/s", fails=None) as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            full(server)
            server.call(lambda: clock.advance(4.0))
            for _ in range(20):
                server.call(lambda: None)
            server.call(lambda: clock.advance(16.0))

            # A thread waits for room before it waits for a message: its peer is not idle.
            idle = "write_timeout" if engine.name == "blocking" else "idle_timeout"
            assert [{"idle_s": idle, "lifetime_s": "lifetime"}[deadline]] == server.reasons(1)


def test_a_peer_that_reads_on_does_not_hide_that_its_connection_is_too_old(serve, engine, clock, tmp_path):
    """Its time to read begins anew; the other deadlines count on."""
    word = PIECE * 20

    @penstock.on_message(codec="lines:max=4MiB")
    def answer(conn, _message):
        conn.post(word)

    timeouts = NONE.merged(write_s=4.0, lifetime_s=6.0)
    with serve(answer, clock=clock, timeouts=timeouts, bind=f"unix://{tmp_path}/s") as server:
        with server.dial() as peer:
            peer.sendall(b"go\n")
            full(server)
            left = 400_000
            while left:
                left -= len(peer.recv(left))
            for _ in range(20):
                server.call(lambda: None)
            server.call(lambda: clock.advance(4.0))
            for _ in range(20):
                server.call(lambda: None)
            server.call(lambda: clock.advance(2.0))

            assert ["lifetime"] == server.call(lambda: [conn.close_reason for conn in server.server.connections])
