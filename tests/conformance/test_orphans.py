"""A handler that waits elsewhere holds no place of its peer: what outlives a connection is counted, told and bounded.

It waits for an event here, as others do for a queue, a lock or a thread.
"""

import asyncio
import socket
import threading

import pytest

import penstock
from penstock.config import Timeouts
from penstock.core.events import EventName
from penstock.testing.clock import ManualClock
from penstock.testing.engines import LOOPS
from penstock.testing.peers import PATIENCE_S, read_to_end, reset

NEVER = Timeouts(
    first_message_s=None,
    idle_s=None,
    message_s=None,
    write_s=None,
    lifetime_s=None,
    drain_s=8.0,
    linger_s=1.0,
    after_close_s=None,
)


@pytest.fixture
def clock():
    return ManualClock()


class Elsewhere:
    """What handlers wait for; `heard` are the messages that they have received before."""

    def __init__(self):
        self.heard = []
        self.done = []
        self.released = threading.Event()
        self._waiting = []

    async def wait(self):
        event = asyncio.Event()
        self._waiting.append(event)
        await event.wait()

    def release(self, server):
        """Let all go on."""
        self.released.set()
        server.call(lambda: [event.set() for event in self._waiting])

    def service(self, engine, *, messages=0, **options):
        """Return a conversation that receives so many messages, then waits elsewhere, then is done."""
        if engine.name == "blocking":

            @penstock.on_connection(codec="lines")
            def converse(conn):
                for _ in range(messages):
                    self.heard.append(conn.receive())
                assert self.released.wait(PATIENCE_S)
                self.done.append(conn.id)

            return converse

        @penstock.on_connection(codec="lines", **options)
        async def converse(conn):
            for _ in range(messages):
                self.heard.append(await conn.receive())
            await self.wait()
            self.done.append(conn.id)

        return converse

    def handler_of(self, engine, kind):
        """Return a service that answers each message once it is let go on."""
        if kind == "threads" or engine.name == "blocking":

            @penstock.on_message(codec="lines", blocking=True)
            def handle(message):
                self.heard.append(message)
                assert self.released.wait(PATIENCE_S)
                self.done.append(message)
                return message

            return handle

        @penstock.on_message(codec="lines")
        async def handle(message):
            self.heard.append(message)
            await self.wait()
            self.done.append(message)
            return message

        return handle


@pytest.fixture
def elsewhere():
    return Elsewhere()


def counts(server):
    """How many connections have a place, and how many handlers outlive theirs."""
    return server.call(lambda: (server.server.gate.open, server.server.gate.counts.orphans))


def spin(server, fact):
    """Let the server's loop turn until a fact is true that no event tells of."""
    for _ in range(100_000):
        if server.call(fact):
            return
    raise AssertionError("it never came true")


def begun(server, elsewhere, count):
    spin(server, lambda: len(elsewhere.heard) == count)


def has_come(server, size):
    """So many bytes came on one connection."""
    spin(server, lambda: any(conn.bytes_in == size for conn in server.server.connections))


def orphans(server, count):
    server.wait_until(lambda one: one.stats.orphaned == count)


def gone(server):
    """No connection has a place."""
    spin(server, lambda: server.server.gate.open == 0)


@pytest.fixture
def at_once(monkeypatch):
    """On threads, what outlives its connection is told of at once."""
    monkeypatch.setattr("penstock.engines.blocking.server.JOIN_AFTER_S", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_place_is_free_at_once_and_the_address_counts_until_the_handler_has_ended(serve, engine, elsewhere):
    """Of the peer that was reset; then of the handler, which is never cancelled for that."""
    with serve(elsewhere.service(engine, messages=1), max_connections=1, max_per_peer=2, max_orphans=8) as server:
        first = server.dial()
        first.sendall(b"one\n")
        begun(server, elsewhere, 1)
        reset(first)
        gone(server)
        orphans(server, 1)
        second = server.dial()  # there is room for it
        second.sendall(b"two\n")
        begun(server, elsewhere, 2)
        reset(second)
        gone(server)
        orphans(server, 2)

        with pytest.raises(ConnectionResetError), server.dial() as third:  # its address has two handlers at work
            third.recv(1)
        server.wait_until(lambda one: {"per_peer": 1} == dict(one.stats.refused))
        assert (0, 2) == counts(server)
        elsewhere.release(server)
        assert ["reset", "reset"] == list(server.reasons(2))
        assert (0, 0) == counts(server)
        assert 2 == len(elsewhere.done)
        with server.dial() as fourth:
            fourth.sendall(b"three\n")
            begun(server, elsewhere, 3)
            elsewhere.release(server)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("kind", ["coroutine", "threads"])
def test_work_on_a_message_that_was_received_whole_is_not_lost(serve, engine, elsewhere, kind):
    """Its sender resets; the handler comes to its end, also where there are as many of them as may be."""
    with serve(elsewhere.handler_of(engine, kind), max_orphans=1) as server:
        peers = [server.dial() for _ in range(2)]
        for number, peer in enumerate(peers):
            peer.sendall(b"%d\n" % number)
            begun(server, elsewhere, number + 1)
        for number, peer in enumerate(peers):
            reset(peer)
            orphans(server, number + 1)
        elsewhere.release(server)
        server.reasons(2)

        assert {b"0", b"1"} == set(elsewhere.done)
        assert 0 == server.call(lambda: server.server.stats.orphans_cancelled)


@pytest.mark.usefixtures("at_once")
def test_newcomers_are_refused_where_each_handler_that_is_left_has_a_message(serve, engine, elsewhere):
    """With ``overload``, and until one of them has ended."""
    with serve(elsewhere.service(engine, messages=1), max_orphans=1) as server:
        peer = server.dial()
        peer.sendall(b"one\n")
        begun(server, elsewhere, 1)
        reset(peer)
        orphans(server, 1)

        with pytest.raises(ConnectionResetError), server.dial() as refused:
            refused.recv(1)
        server.wait_until(lambda one: {"overload": 1} == dict(one.stats.refused))
        elsewhere.release(server)
        server.reasons(1)
        with server.dial() as welcome:
            welcome.sendall(b"two\n")
            begun(server, elsewhere, 2)
            elsewhere.release(server)


@pytest.mark.engines(*LOOPS)
def test_the_one_that_has_waited_longest_without_a_message_gives_way(serve, engine, elsewhere):
    """In the order of their ends; each is told, and none is a failure of its handler."""
    with serve(elsewhere.service(engine), max_orphans=2) as server:
        ids = []
        for number in range(4):
            peer = server.dial()
            server.wait_connections(min(number, 2) + 1)
            ids.append(max(server.call(lambda: [conn.id for conn in server.server.connections])))
            reset(peer)
            orphans(server, number + 1)
            server.wait_closed(max(0, number - 1))

        cancelled = server.record.of(EventName.ORPHAN_CANCELLED)
        assert ids[:2] == [event.connection.id for event in cancelled]
        assert all("test_orphans.py" in event.place for event in cancelled)
        assert (0, 2) == counts(server)
        listed = server.call(lambda: [(conn.id, "test_orphans.py" in place) for conn, place in server.server.orphans])
        assert [(ids[2], True), (ids[3], True)] == listed
        elsewhere.release(server)


@pytest.mark.engines(*LOOPS)
def test_a_whole_message_that_nobody_has_received_yet_is_unfinished(serve, engine, elsewhere):
    """Half of one is not: else one byte would be enough to hold a handler for ever."""
    with serve(elsewhere.service(engine), max_orphans=8) as server:
        for sent in (b"whole\n", b"half"):
            peer = server.dial()
            peer.sendall(sent)
            has_come(server, len(sent))
            reset(peer)
        orphans(server, 2)

        unfinished = {conn.bytes_in: conn.has_unfinished for conn, _ in server.call(lambda: server.server.orphans)}
        assert {6: True, 4: False} == unfinished
        elsewhere.release(server)


@pytest.mark.usefixtures("at_once")
def test_a_handler_that_stays_is_told_of_and_only_that(serve, engine, elsewhere, clock):
    """``timeout_after_close`` after its connection, with the place where it waits."""
    timeouts = NEVER.merged(after_close_s=4.0)
    with serve(elsewhere.service(engine, messages=1), clock=clock, timeouts=timeouts) as server:
        peer = server.dial()
        peer.sendall(b"one\n")
        begun(server, elsewhere, 1)
        reset(peer)
        gone(server)
        server.call(lambda: clock.advance(0.0))
        orphans(server, 1)
        server.call(lambda: clock.advance(3.75))
        assert [] == server.record.of(EventName.ORPHAN_OVERDUE)
        server.call(lambda: clock.advance(0.25))
        server.wait_until(lambda one: one.stats.orphans_overdue == 1)

        event = server.record.of(EventName.ORPHAN_OVERDUE)[0]
        assert 4.0 == event.waited_s
        assert "test_orphans.py" in event.place
        assert [] == elsewhere.done
        elsewhere.release(server)
        server.reasons(1)
        assert 1 == len(elsewhere.done)


@pytest.mark.engines(*LOOPS)
def test_a_handler_that_stays_is_cancelled_where_that_is_asked_for(serve, engine, elsewhere, clock):
    """Measured anew from each message that it begins: while it works on what came, it has its time."""
    received = []

    @penstock.on_connection(codec="lines")
    async def converse(conn):
        await elsewhere.wait()
        while True:
            received.append(await conn.receive())
            await elsewhere.wait()

    timeouts = NEVER.merged(after_close_s=4.0)
    with serve(converse, clock=clock, timeouts=timeouts, on_after_close="cancel") as server:
        peer = server.dial()
        peer.sendall(b"one\n")
        has_come(server, 4)
        reset(peer)
        orphans(server, 1)
        server.call(lambda: clock.advance(3.0))
        elsewhere.release(server)
        spin(server, lambda: received == [b"one"])
        server.call(lambda: clock.advance(1.0))
        for _ in range(20):
            server.call(lambda: None)
        assert [] == server.record.of(EventName.ORPHAN_CANCELLED)
        server.call(lambda: clock.advance(4.0))

        assert ["reset"] == list(server.reasons(1))
        assert 1 == len(server.record.of(EventName.ORPHAN_CANCELLED))


@pytest.mark.parametrize("which", ["idle", "lifetime"])
def test_idle_and_lifetime_hold_while_the_handler_waits_elsewhere(serve, engine, elsewhere, clock, which):
    """The connection ends; the handler does not, and the place is another's."""
    timeouts = NEVER.merged(**{f"{which}_s": 8.0})
    with serve(elsewhere.service(engine), clock=clock, timeouts=timeouts, max_connections=1) as server:
        with server.dial() as peer:
            server.wait_connections(1)
            for _ in range(20):
                server.call(lambda: None)
            server.call(lambda: clock.advance(7.75))
            assert [None] == server.call(lambda: [conn.close_reason for conn in server.server.connections])
            server.call(lambda: clock.advance(0.25))
            assert b"" == read_to_end(peer)
            server.call(lambda: clock.advance(1.0))  # linger_s
        gone(server)

        assert [] == elsewhere.done
        elsewhere.release(server)
        assert [{"idle": "idle_timeout", "lifetime": "lifetime"}[which]] == list(server.reasons(1))


def test_bytes_that_nobody_receives_keep_no_connection_for_longer(serve, engine, elsewhere, clock):
    """They put the idle time off once: that they are there is no reason to wait for a handler that is elsewhere."""
    with serve(elsewhere.service(engine), clock=clock, timeouts=NEVER.merged(idle_s=8.0)) as server:
        with server.dial() as peer:
            server.wait_connections(1)
            peer.sendall(b"never received\n")
            for _ in range(20):
                server.call(lambda: None)
            for _ in range(2):
                server.call(lambda: clock.advance(8.0))
                for _ in range(20):
                    server.call(lambda: None)
            assert b"" == read_to_end(peer)
            server.call(lambda: clock.advance(1.0))  # linger_s
        gone(server)
        elsewhere.release(server)

        assert ["idle_timeout"] == list(server.reasons(1))


@pytest.mark.parametrize("kind", ["coroutine", "threads"])
def test_a_message_handler_that_never_returns_holds_no_place_beyond_its_lifetime(serve, engine, elsewhere, clock, kind):
    """It has ``drain_s`` more for its reply; then the connection is cut, and the handler goes on."""
    timeouts = NEVER.merged(lifetime_s=8.0)
    with serve(elsewhere.handler_of(engine, kind), clock=clock, timeouts=timeouts) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            begun(server, elsewhere, 1)
            server.call(lambda: clock.advance(8.0))
            server.call(lambda: clock.advance(7.75))
            assert (1, 0) == counts(server)
            server.call(lambda: clock.advance(0.25))
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        gone(server)
        elsewhere.release(server)

        assert ["lifetime"] == list(server.reasons(1))
        assert [b"one"] == elsewhere.done


def test_a_peer_that_ended_its_direction_is_idle_whatever_is_done_with_its_message(serve, engine, elsewhere, clock):
    """Nothing more will come of it, and it may be gone: its place is not held for ever."""
    timeouts = NEVER.merged(idle_s=8.0)
    with serve(elsewhere.service(engine, messages=1), clock=clock, timeouts=timeouts) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            begun(server, elsewhere, 1)
            server.call(lambda: clock.advance(100.0))  # with a message at work it is not
            assert (1, 0) == counts(server)
            peer.shutdown(socket.SHUT_WR)
            if engine.name != "blocking":  # which reads when its handler does
                server.wait_until(lambda one: all(str(conn).endswith("eof>") for conn in one.connections))
                server.call(lambda: clock.advance(8.0))
                assert b"" == read_to_end(peer)
                gone(server)
        elsewhere.release(server)
        server.reasons(1)


@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("how", ["reset", "eof"])
def test_a_service_may_have_its_conversations_cancelled_when_the_peer_goes(serve, engine, elsewhere, how):
    """That is no failure of the handler."""
    with serve(elsewhere.service(engine, cancel_on_close=True)) as server:
        peer = server.dial()
        server.wait_connections(1)
        if how == "reset":
            reset(peer)
        else:
            peer.shutdown(socket.SHUT_WR)
            assert b"" == read_to_end(peer)
            peer.close()

        assert [{"reset": "reset", "eof": "peer_closed"}[how]] == list(server.reasons(1))
        assert [] == elsewhere.done


@pytest.mark.engines(*LOOPS)
def test_a_message_handler_that_may_be_cancelled_answers_a_peer_that_sent_eof(serve, engine, elsewhere):
    """Law 5 holds; when the transport is gone, nobody waits for the answer."""

    @penstock.on_message(codec="lines", cancel_on_close=True)
    async def handle(message):
        elsewhere.heard.append(message)
        await elsewhere.wait()
        elsewhere.done.append(message)
        return message

    with serve(handle) as server:
        with server.dial() as peer:
            peer.sendall(b"one\n")
            peer.shutdown(socket.SHUT_WR)
            begun(server, elsewhere, 1)
            elsewhere.release(server)
            assert b"one\n" == read_to_end(peer)
        other = server.dial()
        other.sendall(b"two\n")
        begun(server, elsewhere, 2)
        reset(other)
        server.reasons(2)

        assert [b"one"] == elsewhere.done


@pytest.mark.engines(*LOOPS)
@pytest.mark.parametrize("how", ["reset", "eof"])
def test_a_block_that_is_cancelled_when_the_peer_goes_ends_there(serve, engine, elsewhere, how):
    """And what comes after it is done: clean-up, a farewell."""

    @penstock.on_connection(codec="lines")
    async def converse(conn):
        elsewhere.heard.append(conn.id)
        async with conn.while_open() as scope:
            await elsewhere.wait()
        await asyncio.sleep(0)
        elsewhere.done.append(scope.cancelled)

    with serve(converse) as server:
        peer = server.dial()
        begun(server, elsewhere, 1)
        if how == "reset":
            reset(peer)
        else:
            peer.shutdown(socket.SHUT_WR)
            assert b"" == read_to_end(peer)
            peer.close()
        server.reasons(1)

        assert [True] == elsewhere.done


@pytest.mark.engines(*LOOPS)
def test_a_block_that_comes_to_its_end_is_not_cancelled(serve, engine, elsewhere):
    """Nor is what follows it, when the peer goes later; a wait for the end itself returns why."""

    @penstock.on_connection(codec="lines")
    async def converse(conn):
        async with conn.while_open(at_eof=False) as scope:
            elsewhere.heard.append(await conn.receive())
        elsewhere.done.append(scope.cancelled)
        elsewhere.done.append(str(await conn.wait_closed()))

    with serve(converse) as server:
        peer = server.dial()
        peer.sendall(b"one\n")
        begun(server, elsewhere, 1)
        reset(peer)
        server.reasons(1)

        assert [False, "reset"] == elsewhere.done


def test_a_def_handler_cannot_be_cancelled_and_is_refused():
    """In a thread or on the loop, nothing ends it from outside."""
    for decorate in (penstock.on_message, penstock.on_connection):
        with pytest.raises(penstock.ApplicationError, match="cannot be cancelled"):
            decorate(cancel_on_close=True)(lambda conn: None)
