"""What gives way when a peer does not read and somebody posts to it: asserted in what arrives, message by message.

The peers are on Unix sockets, where the kernels hold little; the messages carry their numbers.
"""

import threading
import time

import pytest

import penstock
from penstock.core.events import EventName
from penstock.testing.peers import PATIENCE_S

from .floods import COUNT, KIB, LIMITS, SIZE, Flood, arrived, dropped, message


@pytest.fixture(params=["unix", "unix+seqpacket"])
def bind(request, tmp_path):
    """Bytes, and records."""
    return f"{request.param}://{tmp_path}/s"


@pytest.fixture
def until_held():
    """Wait until what is held for the peers is as a function says."""

    def wait(server, fact):
        until = time.monotonic() + PATIENCE_S
        while not fact(server.call(lambda: sum(conn.held_bytes for conn in server.server.connections))):
            assert time.monotonic() < until

    return wait


has_conn = pytest.mark.forms(lambda form: form.has_conn)


@has_conn
def test_drop_newest_keeps_what_was_posted_first(serve, form, bind):
    """What arrives is an unbroken beginning; the rest was counted, and the connection stayed."""
    limits = LIMITS.merged(slow_consumer="drop_newest")
    flood = Flood(lambda conn, number: conn.post(message(number)))
    with serve(flood, limits=limits, bind=bind) as server:
        with server.dial() as peer:
            flood.watch(server, peer)
            numbers = arrived(peer)
        assert ["done"] == server.reasons(1)

        assert list(range(len(numbers))) == numbers
        assert {"drop_newest": COUNT - len(numbers)} == dropped(server)
        assert len(numbers) * SIZE >= limits.write_max_bytes - SIZE


@has_conn
def test_drop_oldest_keeps_what_left_and_what_was_posted_last(serve, form, bind):
    """One gap: before it what the transport had, which is never taken back; after it the latest; all of it whole."""
    limits = LIMITS.merged(slow_consumer="drop_oldest")
    flood = Flood(lambda conn, number: conn.post(message(number)))
    with serve(flood, limits=limits, bind=bind) as server:
        with server.dial() as peer:
            flood.watch(server, peer)
            numbers = arrived(peer)
        assert ["done"] == server.reasons(1)

        lost = COUNT - len(numbers)
        gap = next(index for index, number in enumerate(numbers) if index != number)
        assert [*range(gap), *range(gap + lost, COUNT)] == numbers
        assert {"drop_oldest": lost} == dropped(server)
        assert gap * SIZE > limits.write_high_bytes  # that much the transport holds, and never gives up
        assert len(numbers[gap:]) * SIZE > limits.write_max_bytes - 2 * limits.write_high_bytes


@has_conn
def test_raise_says_which_messages_were_not_queued(serve, form, bind):
    """Exactly those for which post() returned arrive; nothing is counted as dropped, for its sender knows."""
    queued = []

    def post(conn, number):
        try:
            conn.post(message(number))
        except penstock.QueueFullError:
            return
        queued.append(number)

    limits = LIMITS.merged(slow_consumer="raise")
    flood = Flood(post)
    with serve(flood, limits=limits, bind=bind) as server:
        with server.dial() as peer:
            flood.watch(server, peer)
            numbers = arrived(peer)
        assert ["done"] == server.reasons(1)

        assert queued == numbers
        assert COUNT > len(numbers)
        assert {} == dropped(server)


@has_conn
def test_try_send_queues_what_send_would_not_wait_for(serve, form, bind):
    """Exactly those for which it said True arrive; it stops at the high watermark, far from the hard limit."""
    queued = []

    def post(conn, number):
        if conn.try_send(message(number)):
            queued.append(number)

    flood = Flood(post)
    with serve(flood, limits=LIMITS, bind=bind) as server:
        with server.dial() as peer:
            owed = flood.watch(server, peer)
            numbers = arrived(peer)
        assert ["done"] == server.reasons(1)

        assert queued == numbers
        assert list(range(len(numbers))) == numbers
        assert LIMITS.write_high_bytes + 2 * SIZE >= owed > LIMITS.write_high_bytes - SIZE
        assert {} == dropped(server)


@pytest.mark.forms(lambda form: form.is_conversation)
def test_send_waits_where_try_send_says_false(serve, engine, form, bind):
    """It queues the same message once the peer has read; nothing is lost, doubled or overtaken on the way."""
    waiting = threading.Event()
    refused = []

    def step(conn, number):
        """Say whether `send` is to wait for it."""
        if conn.try_send(message(number)):
            return False
        refused.append(number)
        waiting.set()
        return True

    @penstock.on_connection(codec="lines")
    async def steps_async(conn):
        for number in range(COUNT):
            if step(conn, number):
                await conn.send(message(number))

    @penstock.on_connection(codec="lines")
    def steps_def(conn):
        for number in range(COUNT):
            if step(conn, number):
                conn.send(message(number))

    service = steps_def if engine.name == "blocking" else steps_async
    with serve(service, limits=LIMITS, bind=bind) as server:
        with server.dial() as peer:
            assert waiting.wait(PATIENCE_S)
            (first,) = refused[:1]
            numbers = arrived(peer)
        assert ["done"] == server.reasons(1)

    assert list(range(COUNT)) == numbers
    assert 0 < first < COUNT


@has_conn
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_a_peer_that_reads_again_gets_what_comes_then(serve, form, bind, policy):
    """In order, after what had waited: the connection is as good as before, and its policy was its own alone."""

    def react(conn, message_):
        if message_.strip() != b"go":
            return message_
        conn.set_limits(slow_consumer=policy)
        for number in range(COUNT):
            conn.post(message(number))
        return None

    with serve(react, limits=LIMITS, bind=bind) as server, server.dial() as peer:
        peer.send(b"go\n")
        server.wait_until(lambda it: sum(it.stats.messages_dropped.values()))
        peer.send(message(COUNT) + (b"" if "seqpacket" in bind else b"\n"))
        peer.shutdown(1)
        numbers = arrived(peer)
        peer.close()
        assert ["peer_closed"] == server.reasons(1)

        assert [COUNT, COUNT] == [numbers[-1], len(numbers) - 1 + sum(dropped(server).values())]
        assert sorted(numbers) == numbers
        paused, resumed = (
            len(server.record.of(name)) for name in (EventName.READING_PAUSED, EventName.READING_RESUMED)
        )
        assert paused - resumed in (0, 1)


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_reply_is_never_what_gives_way(serve, form, bind):
    """It leaves in its place among what was posted, however much of that was dropped before and after it."""

    def react(conn, _message):
        for number in range(COUNT):
            conn.post(message(number))
        return message(COUNT)

    limits = LIMITS.merged(slow_consumer="drop_oldest", write_max_bytes=1024 * KIB)
    with serve(react, limits=limits, bind=bind) as server, server.dial() as peer:
        peer.send(b"go\n")
        server.wait_until(lambda it: sum(it.stats.messages_dropped.values()) > 0)
        peer.shutdown(1)
        numbers = arrived(peer)
        peer.close()

        assert ["peer_closed"] == server.reasons(1)
        assert COUNT == numbers[-1]
        assert sorted(numbers) == numbers


@pytest.mark.engines("pure", "uvloop", "native", "attached")  # a thread sends whenever there is room, not in turns
@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "raise", "disconnect"])
def test_what_the_peer_has_read_by_now_is_not_owed(serve, engine, tmp_path, until_held, policy):
    """Between the watermarks too: nothing gives way while there is room."""
    connections = []

    class Large(penstock.Handler):
        def on_message(self, conn, _message):
            connections.append(conn)
            conn.post(b"x" * (600 * KIB - 1))

    limits = LIMITS.merged(slow_consumer=policy)
    with serve(penstock.as_service(Large, codec="lines:max=1MiB"), limits=limits, bind=f"unix:{tmp_path}/s") as server:
        with server.dial() as peer:
            peer.send(b"go\n")
            until_held(server, lambda held: held > limits.write_max_bytes)
            received = 0
            while server.call(lambda: sum(conn.held_bytes for conn in server.server.connections)) > 130 * KIB:
                received += len(peer.recv(4 * KIB))
            held = server.call(lambda: sum(conn.held_bytes for conn in server.server.connections))
            server.call(lambda: connections[0].post(b"y" * (100 * KIB - 1)))
            while received < 700 * KIB:
                received += len(peer.recv(1 << 20))
            peer.shutdown(1)
            assert b"" == peer.recv(1)
        assert ["peer_closed"] == server.reasons(1)

    assert 130 * KIB >= held > limits.write_low_bytes
    assert 700 * KIB == received
    assert {} == server.server.stats.messages_dropped


@has_conn
def test_a_limit_of_a_connection_is_checked(serve, form, bind):
    """What is unknown, refused or contradictory is an error at the call, and changes nothing."""
    problems = []

    def react(conn, message_):
        for wrong in ({"read_bytes": 10}, {"slow_consumer": "wait"}, {"write_low_bytes": 128 * KIB}):
            try:
                conn.set_limits(**wrong)
            except penstock.ConfigurationError as error:
                problems.append(error)
        return message_

    with serve(react, limits=LIMITS, bind=bind) as server, server.dial() as peer:
        peer.send(b"a\n")
        assert b"a" == peer.recv(100).strip()

    assert 3 == len(problems)


@has_conn
def test_a_connection_may_have_watermarks_of_its_own(serve, form, bind):
    """What is held for it goes by them from then on, and for no other connection."""
    held = {}

    def post(conn, number):
        if number == 0 and not held:
            conn.set_limits(write_high_bytes=8 * KIB, write_low_bytes=KIB)
        conn.try_send(message(number))

    for name in ("its own", "usual"):
        flood = Flood(post)
        with serve(flood, limits=LIMITS, bind=bind) as server:
            with server.dial() as peer:
                held[name] = flood.watch(server, peer)
                numbers = arrived(peer)
            assert ["done"] == server.reasons(1)
            assert list(range(len(numbers))) == numbers

    assert 8 * KIB + 2 * SIZE >= held["its own"] > 0
    assert LIMITS.write_high_bytes + 2 * SIZE >= held["usual"] > LIMITS.write_high_bytes - SIZE


@has_conn
def test_what_ended_refuses_try_send_as_it_refuses_post(serve, form, bind):
    """False means "not now"; an error means "never again"."""
    refusals = []

    def react(conn, _message):
        conn.close()
        for call in (conn.post, conn.try_send):
            try:
                call(b"x")
            except penstock.ClosedError:
                refusals.append(call.__name__)

    with serve(react, bind=bind) as server, server.dial() as peer:
        peer.send(b"go\n")
        assert b"" == peer.recv(100)

    assert ["post", "try_send"] == refusals


@pytest.mark.forms(lambda form: form.has_conn and not form.is_conversation)
def test_a_datagram_is_sent_or_it_is_not(serve, form):
    """try_send says so: an answer too large for its question, from a machine whose address may be forged, is not."""
    outcomes = []

    def react(conn, message_):
        outcomes.append(conn.try_send(message_))
        conn.set_limits(slow_consumer="raise")

    with serve(react, bind="udp://127.0.0.1:0") as server, server.dial() as peer:
        peer.send(b"hello")

        assert b"hello" == peer.recv(100)
        server.wait_until(lambda it: it.stats.datagrams == 1)
    assert [True] == outcomes
