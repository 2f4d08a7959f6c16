"""Every deadline on time that is told: not a tick before it, at it, and with its own reason.

The server's clock stands still and is moved on the server's own thread. All times are sums of powers of two, so that
adding them up is exact.
"""

import asyncio
import socket
import threading
import time

import pytest

import penstock
from penstock.config import Limits, Timeouts
from penstock.core.events import EventName
from penstock.core.service import callbacks
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end

NONE = Timeouts(
    first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, drain_s=10.0, linger_s=None
)
TICK = 0.25


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def advance(clock):
    """Move the server's clock, and let the server see what came of it."""

    def move(server, seconds):
        server.call(lambda: clock.advance(seconds))

    return move


def is_open(server):
    return server.call(lambda: [conn.close_reason for conn in server.server.connections]) == [None]


def echo(_conn, message):
    return message


def settled(server, peer):
    """The server answers, and waits again."""
    peer.sendall(b"ping\n")
    assert b"ping\n" == peer.recv(100)
    spin(server, lambda: waits(server))
    for _ in range(20):
        server.call(lambda: None)


def waits(server):
    """Whether every thread that serves a connection is back where it waits for its peer, which the loop cannot tell."""
    return all(getattr(conn, "_receiving", True) for conn in server.server.connections)


def spin(server, fact):
    """Let the server's loop turn until a fact is true that no event tells of."""
    until = time.monotonic() + 10
    while not server.call(fact):
        assert time.monotonic() < until


def accepted(server):
    """The one connection's handler has begun, and waits: its timer is set, and a few turns have passed since."""
    server.wait_connections(1)
    spin(server, lambda: server.server._clock.pending)
    for _ in range(20):
        server.call(lambda: None)


def expect_close(server, peer, reason, left=b""):
    """The peer sees what was left to send and EOF; the server says why."""
    assert left == read_to_end(peer)
    peer.close()
    assert [reason] == server.reasons(1)


def test_a_silent_peer_is_closed_at_first_message_s(serve, form, clock, advance):
    """Counted from the connection; a part of a message does not move it."""
    with serve(echo, clock=clock, timeouts=NONE.merged(first_message_s=8.0)) as server, server.dial() as peer:
        accepted(server)
        advance(server, 4.0)
        peer.sendall(b"half a mess")
        received(server, 11)
        advance(server, 4.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "first_message_timeout")


def received(server, count):
    """The server has read that many bytes of the one connection."""
    spin(server, lambda: [conn.bytes_in for conn in server.server.connections] == [count])
    for _ in range(20):
        server.call(lambda: None)


def test_a_peer_that_spoke_is_not_blamed_for_its_first_message(serve, form, clock, advance):
    """Once a message came whole, ``first_message_s`` is over and done with."""
    with serve(echo, clock=clock, timeouts=NONE.merged(first_message_s=8.0)) as server, server.dial() as peer:
        settled(server, peer)
        advance(server, 1000.0)

        assert is_open(server)


def test_an_idle_connection_is_closed_at_idle_s(serve, form, clock, advance):
    """Counted from the last byte in either direction."""
    with serve(echo, clock=clock, timeouts=NONE.merged(idle_s=8.0)) as server, server.dial() as peer:
        settled(server, peer)
        advance(server, 6.0)
        settled(server, peer)
        accepted(server)
        advance(server, 8.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "idle_timeout")


def test_a_message_that_does_not_end_is_cut_at_message_s(serve, form, clock, advance):
    """Counted from its first byte: a byte now and then does not move it."""
    with serve(echo, clock=clock, timeouts=NONE.merged(message_s=8.0)) as server, server.dial() as peer:
        settled(server, peer)
        for number in range(1, 5):
            peer.sendall(b"x")
            received(server, len(b"ping\n") + number)
            advance(server, 2.0 if number < 4 else 2.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "message_timeout")


def test_a_long_message_has_a_second_more_for_each_time_that_many_bytes_of_it_came(serve, form, clock, advance):
    """The slowest rate: counted in whole times ``message_bytes_per_s``, on top of ``message_s``, to the tick."""
    timeouts = NONE.merged(message_s=8.0, message_bytes_per_s=1000)
    with serve(echo, clock=clock, timeouts=timeouts) as server, server.dial() as peer:
        settled(server, peer)
        peer.sendall(b"x" * 2999)
        received(server, len(b"ping\n") + 2999)
        advance(server, 9.0)
        peer.sendall(b"x")
        received(server, len(b"ping\n") + 3000)
        advance(server, 2.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "message_timeout")


def test_each_message_has_its_own_time(serve, form, clock, advance):
    """A message that ends stops the count, and the next one's begins with its own first byte."""
    with serve(echo, clock=clock, timeouts=NONE.merged(message_s=8.0)) as server, server.dial() as peer:
        for number in range(4):
            peer.sendall(b"begun ")
            received(server, 9 * number + 6)
            advance(server, 6.0)
            peer.sendall(b"on\n")
            assert b"begun on\n" == peer.recv(100)
            received(server, 9 * number + 9)
        advance(server, 100.0)

        assert is_open(server)


def test_a_stream_without_a_pause_is_not_a_message_without_an_end(serve, form, clock, advance):
    """Whole messages followed at once by the next one's beginning: neither first nor slow, however long it goes on."""
    timeouts = NONE.merged(first_message_s=8.0, message_s=8.0)
    with serve(echo, clock=clock, timeouts=timeouts) as server, server.dial() as peer:
        for number in range(8):
            peer.sendall(b"ssage\nme")
            assert peer.recv(100).endswith(b"ssage\n")
            received(server, 8 * number + 8)
            advance(server, 6.0)

        assert is_open(server)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_connection_ends_at_lifetime_s(serve, form, clock, advance, busy):
    """Counted from its beginning, whatever happens on it."""
    with serve(echo, clock=clock, timeouts=NONE.merged(lifetime_s=8.0)) as server, server.dial() as peer:
        accepted(server)
        for seconds in (4.0, 4.0 - TICK):
            advance(server, seconds)
            if busy:
                settled(server, peer)
                accepted(server)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "lifetime")


def test_a_peer_that_reads_nothing_is_cut_at_write_s(serve, form, clock, advance, tmp_path):
    """Counted from when output went over its high watermark; the peer sees the cut as its transport shows one."""
    limits = Limits(write_high_bytes=65536, write_low_bytes=1024)
    options = {"codec": "lines:max=1MiB", "limits": limits, "bind": f"unix://{tmp_path}/s"}
    with (
        serve(
            lambda _conn, message: message * 60_000, clock=clock, timeouts=NONE.merged(write_s=8.0), **options
        ) as server,
        server.dial() as peer,
    ):
        peer.sendall(b"x\n" * 50)
        server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
        accepted(server)
        advance(server, 8.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        assert ["write_timeout"] == server.reasons(1)


@pytest.mark.parametrize("chunk_bytes", [250_000, 1000], ids=["slowly", "hardly"])
def test_a_peer_that_reads_slowly_is_not_one_that_does_not_read(serve, form, clock, advance, tmp_path, chunk_bytes):
    """What it reads in ``write_s`` counts when it is as much as lies between the watermarks, not when it is less."""
    limits = Limits(write_high_bytes=65536, write_low_bytes=1024)
    options = {"codec": "lines:max=8MiB", "limits": limits, "bind": f"unix://{tmp_path}/s"}
    timeouts = NONE.merged(write_s=8.0)
    with serve(lambda _conn, message: message * 3_000_000, clock=clock, timeouts=timeouts, **options) as server:
        with server.dial() as peer:
            peer.sendall(b"x\n")
            server.wait_until(lambda _: server.record.of(EventName.READING_PAUSED))
            received(server, 2)
            for _ in range(6):
                read_exactly(peer, chunk_bytes)
                for _ in range(20):  # turns of the loop, in which it sends more
                    server.call(lambda: None)
                advance(server, 6.0)
                if was_cut := not is_open(server):
                    break

        assert (chunk_bytes < 10_000) is was_cut


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_peer_that_does_not_read_the_last_reply_is_cut_at_write_s(serve, form, clock, advance, tmp_path):
    """After a close the rest of the output has ``write_s`` to leave."""

    def react(conn, message):
        conn.close()
        return b"x" * 900_000

    options = {"codec": "lines:max=1MiB", "bind": f"unix://{tmp_path}/s"}
    with serve(react, clock=clock, timeouts=NONE.merged(write_s=8.0), **options) as server, server.dial() as peer:
        peer.sendall(b"x\n")
        spin(server, lambda: any(conn.close_reason for conn in server.server.connections))
        accepted(server)
        advance(server, 8.0 - TICK)
        accepted(server)
        assert [] == server.record.reasons
        advance(server, TICK)

        assert ["done"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_connection_that_leaves_is_not_closed_for_its_age(serve, form, clock, advance, tmp_path):
    """The reason stays the first: from the close on, the flush alone has a deadline."""

    def react(conn, message):
        conn.close()
        return b"x" * 900_000

    options = {"codec": "lines:max=1MiB", "bind": f"unix://{tmp_path}/s"}
    timeouts = NONE.merged(write_s=8.0, lifetime_s=4.0)
    with serve(react, clock=clock, timeouts=timeouts, **options) as server, server.dial() as peer:
        peer.sendall(b"x\n")
        spin(server, lambda: any(conn.close_reason for conn in server.server.connections))
        accepted(server)
        advance(server, 8.0 - TICK)
        accepted(server)
        assert [] == server.record.reasons
        advance(server, TICK)

        assert ["done"] == server.reasons(1)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_peer_that_does_not_leave_is_left_at_linger_s(serve, form, clock, advance):
    """After the last byte and EOF the peer has ``linger_s`` to end its side; what it still sends is dropped."""

    def react(conn, message):
        conn.close()
        return b"bye"

    with serve(react, clock=clock, timeouts=NONE.merged(linger_s=8.0)) as server, server.dial() as peer:
        peer.sendall(b"x\n")
        assert b"bye\n" == read_to_end(peer, stays=True)
        accepted(server)
        advance(server, 4.0)
        peer.sendall(b"and another thing\n")
        received(server, 20)
        advance(server, 4.0 - TICK)
        accepted(server)
        assert [] == server.record.reasons
        advance(server, TICK)

        assert ["done"] == server.reasons(1)


@pytest.mark.parametrize("model", ["loop", "threads"])
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async"])
def test_on_timeout_may_say_a_last_word(serve, engine, clock, advance, is_async, model):
    """It is called once, with which; what it posts arrives; the connection closes with that reason."""
    if is_async and (model == "threads" or engine.name == "blocking"):
        pytest.skip("coroutines have no threads")
    calls = []

    class Callbacks(penstock.Handler):
        def on_timeout(self, conn, which):
            calls.append(which.name)
            conn.post(b"too slow")

        def on_message(self, conn, message):
            return message

        def on_close(self, conn, reason):
            calls.append(str(reason))

    class AsyncCallbacks(Callbacks):
        async def on_timeout(self, conn, which):
            await asyncio.sleep(0)
            super().on_timeout(conn, which)

    service = callbacks(AsyncCallbacks if is_async else Callbacks, name="slow")
    with serve(service, clock=clock, model=model, timeouts=NONE.merged(first_message_s=8.0)) as server:
        with server.dial() as peer:
            accepted(server)
            spin(server, lambda: waits(server))  # only who waits for a message is told that it is late
            advance(server, 8.0)

            expect_close(server, peer, "first_message_timeout", b"too slow\n")
    assert ["FIRST_MESSAGE", "first_message_timeout"] == calls


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_handler_may_change_its_timeouts(serve, form, clock, advance):
    """A deadline set shorter counts from where it always does; one set to None is off; others stay."""

    def react(conn, message):
        conn.set_timeouts(idle_s=2.0 if message == b"short" else None)
        return message

    with serve(react, clock=clock, timeouts=NONE.merged(idle_s=8.0)) as server, server.dial() as peer:
        peer.sendall(b"off\n")
        assert b"off\n" == peer.recv(100)
        received(server, 4)
        advance(server, 1000.0)
        assert is_open(server)
        peer.sendall(b"short\n")
        assert b"short\n" == peer.recv(100)
        accepted(server)
        advance(server, 2.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "idle_timeout")


@pytest.mark.forms(lambda form: form.has_conn)
def test_a_timeout_that_does_not_exist_is_refused(serve, form):
    """A typing mistake is an error, not a timeout that never comes."""
    errors = []

    def react(conn, message):
        try:
            conn.set_timeouts(idle=2.0)
        except penstock.ConfigurationError as error:
            errors.append(error)
        return message

    with serve(react) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert b"a\n" == peer.recv(100)

    assert 1 == len(errors)


def test_a_peer_is_not_blamed_while_its_message_is_handled(serve, engine, clock, advance):
    """Idle time counts while the server waits for the peer, not while the peer waits for the server."""
    entered = threading.Event()
    leave = threading.Event() if engine.name == "blocking" else asyncio.Event()

    async def slow_async(message):
        entered.set()
        await leave.wait()
        return message

    def slow_def(message):
        entered.set()
        assert leave.wait(20)
        return message

    slow = penstock.on_message(slow_def if engine.name == "blocking" else slow_async)
    with serve(slow, clock=clock, timeouts=NONE.merged(idle_s=8.0)) as server, server.dial() as peer:
        peer.sendall(b"a\n")
        assert entered.wait(20)
        advance(server, 100.0)
        server.call(leave.set)
        assert b"a\n" == peer.recv(100)
        accepted(server)
        advance(server, 8.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "idle_timeout")


def test_a_lifetime_counts_whatever_else_is_waited_for(serve, form, clock, advance):
    """Also where a handler waits for its peer, for longer, before it has its transport all for itself."""
    with serve(echo, clock=clock, timeouts=NONE.merged(lifetime_s=8.0, idle_s=100.0)) as server, server.dial() as peer:
        accepted(server)
        advance(server, 8.0 - TICK)
        assert is_open(server)
        advance(server, TICK)

        expect_close(server, peer, "lifetime")


def test_receive_with_a_timeout(serve, engine, clock, advance):
    """It raises TimeoutError at its own time and leaves the connection as it was: the next message is not lost."""
    outcomes = []
    timed_out = threading.Event()

    async def patient_async(conn):
        try:
            await conn.receive(timeout_s=8.0)
        except TimeoutError as error:
            outcomes.append(str(error))
            timed_out.set()
        await conn.send(await conn.receive(timeout_s=8.0))

    def patient_def(conn):
        try:
            conn.receive(timeout_s=8.0)
        except TimeoutError as error:
            outcomes.append(str(error))
            timed_out.set()
        conn.send(conn.receive(timeout_s=8.0))

    patient = penstock.on_connection(patient_def if engine.name == "blocking" else patient_async)
    with serve(patient, clock=clock, timeouts=NONE) as server, server.dial() as peer:
        accepted(server)
        peer.sendall(b"hel")
        received(server, 3)
        advance(server, 8.0 - TICK)
        assert not timed_out.is_set()
        advance(server, TICK)
        assert timed_out.wait(20)
        peer.sendall(b"lo\n")

        assert b"hello\n" == read_to_end(peer)
        peer.close()
        assert ["done"] == server.reasons(1)
    assert 1 == len(outcomes)


def test_no_timer_is_left_when_connections_have_ended(serve, form, clock):
    """A closed connection keeps no timer."""
    with serve(echo, clock=clock) as server:
        for _ in range(5):
            with server.dial() as peer:
                settled(server, peer)
                peer.shutdown(socket.SHUT_WR)
                read_to_end(peer)
        server.wait_closed(5)

        assert 0 == server.call(lambda: clock.pending)


@pytest.mark.forms(lambda form: not form.in_threads)
def test_messages_that_queue_up_are_not_late(serve, engine, form, clock):
    """The server takes its time over what a peer sent at once: the peer is neither silent nor slow meanwhile."""

    def react(_conn, message):
        if engine.name == "blocking":
            clock.advance(3.0)
        else:
            asyncio.get_running_loop().call_soon(clock.advance, 3.0)
        return message

    timeouts = NONE.merged(first_message_s=8.0, message_s=8.0, idle_s=8.0)
    with serve(react, clock=clock, timeouts=timeouts, limits=Limits(batch_messages=2)) as server, server.dial() as peer:
        peer.sendall(b"a\n" * 20)
        peer.shutdown(socket.SHUT_WR)

        expect_close(server, peer, "peer_closed", b"a\n" * 20)
