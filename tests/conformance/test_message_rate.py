"""``max_message_rate``: how many messages of one connection are handled at once, and how many after that."""

import socket
import struct

import pytest

import penstock
from penstock.codecs import Lines, Text
from penstock.config import Limits, Timeouts
from penstock.testing.clock import ManualClock
from penstock.testing.peers import read_exactly, read_to_end
from penstock.units import Rate

LINES = [b"one\n", b"two\n", b"three\n", b"four\n", b"five\n"]


@pytest.fixture
def clock():
    return ManualClock()


def echo(_conn, message):
    return message


def limits(action):
    return Limits(max_message_rate=Rate(2, 1.0), on_message_rate=action)


@pytest.mark.parametrize("chunks", [[b"".join(LINES)], LINES], ids=["together", "singly"])
def test_a_faster_peer_waits_and_loses_nothing(serve, form, clock, chunks):
    """Two at once and then two a second, in their order; the rest waits, whether or not it was received."""
    with serve(echo, clock=clock, limits=limits("pause")) as server, server.dial() as peer:
        for chunk in chunks:
            peer.sendall(chunk)

        assert b"one\ntwo\n" == read_exactly(peer, 8)
        for line in LINES[2:]:
            peer.settimeout(0.05)
            with pytest.raises(TimeoutError):
                peer.recv(100)
            peer.settimeout(20)
            server.call(lambda: clock.advance(0.5))

            assert line == read_exactly(peer, len(line))


def test_one_that_is_within_it_is_never_held(serve, form, clock):
    """A message each half second, for longer than the bucket lasts."""
    with serve(echo, clock=clock, limits=limits("pause")) as server, server.dial() as peer:
        for _ in range(8):
            peer.sendall(b"on time\n")

            assert b"on time\n" == read_exactly(peer, 8)
            server.call(lambda: clock.advance(0.5))


def test_a_faster_peer_is_closed_where_that_is_asked_for(serve, form, clock):
    """What it may send is answered; at the first message too many its connection closes, with a reason of its own."""
    with serve(echo, clock=clock, limits=limits("close")) as server, server.dial() as peer:
        peer.sendall(b"".join(LINES))

        assert b"one\ntwo\n" == read_to_end(peer)
        peer.close()
        server.wait_connections(0)

        assert 1 == server.server.stats.closed["message_rate"]


def test_another_peer_is_not_held_for_it(serve, form, clock):
    """Each connection has a bucket of its own."""
    with serve(echo, clock=clock, limits=limits("pause")) as server, server.dial() as fast, server.dial() as other:
        fast.sendall(b"".join(LINES))
        read_exactly(fast, 8)
        other.sendall(b"hello\n")

        assert b"hello\n" == read_exactly(other, 6)
        for line in LINES[2:]:
            server.call(lambda: clock.advance(0.5))
            read_exactly(fast, len(line))


def test_the_end_of_a_peer_that_is_held_back_comes_after_its_messages(serve, form, clock):
    """EOF ends nothing that was sent before it."""
    with serve(echo, clock=clock, limits=limits("pause")) as server, server.dial() as peer:
        peer.sendall(b"".join(LINES[:3]))
        read_exactly(peer, 8)
        peer.shutdown(1)
        server.call(lambda: clock.advance(0.5))

        assert b"three\n" == read_to_end(peer)


def test_who_is_held_back_is_not_idle(serve, form, clock):
    """It is the peer who waits: no deadline for its silence counts meanwhile."""
    slow = Limits(max_message_rate=Rate(1, 64.0))
    with serve(echo, clock=clock, limits=slow, timeouts=Timeouts(idle_s=4.0)) as server, server.dial() as peer:
        peer.sendall(b"one\ntwo\n")

        assert b"one\n" == read_exactly(peer, 4)
        server.call(lambda: clock.advance(32.0))

        assert [None] == server.call(lambda: [conn.close_reason for conn in server.server.connections])
        server.call(lambda: clock.advance(32.0))

        assert b"two\n" == read_exactly(peer, 4)


@pytest.mark.ciphered
def test_a_message_that_comes_in_pieces_is_one(serve, form, clock):
    """What is read of it costs no token before it is whole."""
    with serve(echo, clock=clock, limits=limits("close")) as server, server.dial() as peer:
        for letter in (b"h", b"e", b"l", b"l", b"o"):
            peer.sendall(letter)
            server.call(lambda: None)
        peer.sendall(b"\nyou\n")

        assert b"hello\nyou\n" == read_exactly(peer, 10)


def test_one_that_is_lost_while_it_is_held_back_ends(serve, form, clock):
    """Its messages wait for nobody's token any more."""
    with serve(echo, clock=clock, limits=Limits(max_message_rate=Rate(1, 64.0))) as server, server.dial() as peer:
        peer.sendall(b"".join(LINES))
        read_exactly(peer, 4)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        for _ in LINES:
            server.call(lambda: clock.advance(64.0))
        server.wait_connections(0)

        assert {"reset": 1} == dict(server.server.stats.closed)


def test_a_bad_frame_is_the_peers_fault_at_any_rate(serve, form, clock):
    """Also where a whole message would have been one too many."""
    service_limits = Limits(max_message_rate=Rate(1, 64.0), on_message_rate="close")
    with serve(echo, codec="lines:max=4", clock=clock, limits=service_limits) as server, server.dial() as peer:
        peer.sendall(b"x\ntoo long\n")

        assert b"x\n" == read_to_end(peer)
        peer.close()
        server.wait_connections(0)

        assert {"frame_too_large": 1} == dict(server.server.stats.closed)


@pytest.mark.parametrize("way", ["set_codec", "close"])
def test_what_a_handler_does_in_a_batch_costs_no_token(serve, form, clock, way):
    """Messages that another codec cuts again are counted once; a close is not held back with the messages after it."""

    def react(conn, message):
        if way == "set_codec":
            conn.set_codec(Lines())
        elif message == b"one":
            conn.close()
        return message

    if not form.has_conn or form.is_conversation:
        pytest.skip("nothing to call that of")
    rate = Limits(max_message_rate=Rate(5 if way == "set_codec" else 1, 64.0))
    with serve(react, clock=clock, limits=rate) as server, server.dial() as peer:
        peer.sendall(b"".join(LINES))
        if way == "set_codec":
            assert b"".join(LINES) == read_exactly(peer, 24)
        else:
            assert b"one\n" == read_to_end(peer)


def seen(server, count):
    """Wait until so many bytes have come."""
    server.wait_until(lambda server: [count] == [conn.bytes_in for conn in server.connections])


@pytest.mark.forms(lambda form: form.has_conn and form.model == "loop")
def test_another_codec_takes_the_message_that_waits_for_its_token(serve, form, clock):
    """Also one that came in two pieces: what was not handed out belongs to the codec that was set before it is."""
    conns, kinds = [], []

    def react(conn, message):
        conns.append(conn)
        kinds.append(type(message))
        return message

    slow = Limits(max_message_rate=Rate(1, 64.0))
    with serve(react, clock=clock, limits=slow) as server, server.dial() as peer:
        peer.sendall(b"one\n")
        assert b"one\n" == read_exactly(peer, 4)
        peer.sendall(b"tw")
        seen(server, 6)
        peer.sendall(b"o\n")
        for _ in range(3):  # it is read now, or once there is a token
            server.call(lambda: None)
        server.call(lambda: conns[0].set_codec(Text()))
        server.call(lambda: clock.advance(64.0))

        assert b"two\n" == read_exactly(peer, 4)
        assert [bytes, str] == kinds


@pytest.mark.forms(lambda form: form.is_conversation)
def test_a_message_is_not_lost_to_who_gave_up_waiting_for_its_token(serve, engine, form, clock):
    """And it is of the codec that was set since."""
    found = []

    async def converse(conn):
        found.append(await conn.receive())
        await conn.send(b"one")
        try:
            await conn.receive(8.0)
        except TimeoutError:
            await conn.send(b"late")
        conn.set_codec(Text())
        found.append(await conn.receive())
        await conn.send("two")

    def converse_in_thread(conn):
        found.append(conn.receive())
        conn.send(b"one")
        try:
            conn.receive(8.0)
        except TimeoutError:
            conn.send(b"late")
        conn.set_codec(Text())
        found.append(conn.receive())
        conn.send("two")

    handler = converse_in_thread if form.in_threads else converse
    slow = Limits(max_message_rate=Rate(1, 64.0))
    service = penstock.on_connection(codec="lines")(handler)
    with serve(service, clock=clock, limits=slow) as server, server.dial() as peer:
        peer.sendall(b"one\n")
        assert b"one\n" == read_exactly(peer, 4)
        peer.sendall(b"tw")
        seen(server, 6)
        peer.sendall(b"o\n")
        while not found[1:]:
            server.call(lambda: clock.advance(8.0))
            server.call(lambda: None)

        assert b"late\ntwo\n" == read_exactly(peer, 9)
        assert [b"one", "two"] == found
