"""``max_message_rate``: how many messages of one connection are handled at once, and how many after that."""

import pytest

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
