"""What is done to a connection while it is held for another process: nothing is lost, and its limits hold."""

import os
import socket
from concurrent.futures import Future

import pytest

import penstock
from penstock.core.handover.snapshot import decoded, encoded

from .test_handover import Numbered, pair, the_only

PATIENCE_S = 20

engines = pytest.mark.engines("pure", "uvloop", "native", "attached")
pytestmark = [engines, pytest.mark.uncipherable("a connection under TLS drains")]


def hold(server):
    """Hold the one connection of a server; return it with its snapshot."""

    def holding():
        conn = the_only(server.server)
        snapshot = conn.hold(server.server.mover)
        assert snapshot is not None
        return conn, snapshot

    return server.call(holding)


def adopted(target, conn, snapshot):
    """Have a connection that is held in another server; it does not begin."""
    descriptor = os.dup(conn.fileno())

    def arrive():
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        return target.server.adopt(sock, target.server.mover.arrival(decoded(encoded(snapshot)), 0.0))

    return target.call(arrive)


def begin(source, target, conn, adoption):
    """Let it go, and have it begin."""
    target.call(adoption.begin)
    late = source.call(conn.move_on)
    target.call(lambda: adoption.connection.arrived_late(late))
    return late


def hello(peer):
    peer.sendall(b"hello\n")
    assert b"1 hello\n" == peer.recv(100)


class Again(Numbered):
    """Goes on after the first message."""

    count = 1


def receive(peer, size):
    return peer.recv(size, socket.MSG_WAITALL)


@pytest.mark.parametrize("policy", ["drop_newest", "disconnect"])
def test_what_is_posted_while_a_connection_is_held_counts(serve, policy):
    """It is queued output as ever: the hard limit and the policy hold, and such a connection stays."""
    with (
        serve(Numbered, write_low=1024, write_high=4096, write_max=20_000, slow_consumer=policy) as one,
        one.dial() as peer,
    ):
        hello(peer)
        conn, _ = hold(one)

        def post():
            try:
                for number in range(1000):
                    conn.post(b"%03d" % number + b"x" * 96)
            except penstock.PenstockError as error:
                return type(error).__name__
            return conn.queued_bytes

        if policy == "disconnect":
            assert one.call(post) in ("SlowPeerError", "ClosedError")
            assert not one.call(conn.still_moves)
        else:
            assert 4096 < one.call(post) <= 20_000
            assert not one.call(conn.still_moves)
            one.call(conn.stay)
            assert b"000" == receive(peer, 100)[:3]
            assert b"001" == receive(peer, 100)[:3]
        peer.close()
        one.wait_connections(0)


def test_what_is_gathered_and_what_waits_stays_in_order(serve):
    """Posted until output is paused and beyond: a connection that stays sends each frame once, in order."""
    with serve(Numbered, write_low=1024, write_high=4096, slow_consumer="drop_newest") as one, one.dial() as peer:
        hello(peer)
        conn, _ = hold(one)
        one.call(lambda: [conn.post(b"%06d" % number) for number in range(3000)])
        counts = one.call(lambda: (conn.bytes_out, conn.messages_out))
        one.call(conn.stay)

        assert [b"%06d" % number for number in range(3000)] == receive(peer, 21_000).splitlines()
        assert (21_008, 3001) == one.call(lambda: (conn.bytes_out, conn.messages_out))
        assert counts[0] <= 21_008
        peer.sendall(b"more\n")
        assert b"2 more\n" == peer.recv(100)
        peer.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda conn: conn.set_timeouts(idle_s=1234.0),
        lambda conn: conn.set_limits(write_max_bytes=123_456),
        lambda conn: conn.set_codec(penstock.codecs.Lines(max_frame_bytes=4000)),
        lambda conn: conn.set_handler(Again()),
    ],
    ids=["timeouts", "limits", "codec", "handler"],
)
def test_what_is_set_while_a_connection_is_held_keeps_it(serve, change):
    """The other process was told something else."""
    with serve(Numbered) as one, one.dial() as peer:
        hello(peer)
        conn, _ = hold(one)
        one.call(lambda: change(conn))
        moves = one.call(conn.still_moves)
        one.call(conn.stay)

        assert not moves
        peer.sendall(b"more\n")
        assert b"2 more\n" == peer.recv(100)
        peer.close()


def test_no_deadline_is_due_while_a_connection_is_held(serve):
    """Whichever process goes on with it looks at its clocks then."""
    with serve(Numbered) as one, one.dial() as peer:
        hello(peer)
        conn, _ = hold(one)
        one.call(lambda: conn.set_timeouts(idle_s=0.001))
        one.call(lambda: elapse(one.server.loop, 0.05)).result(PATIENCE_S)

        assert one.call(lambda: conn.close_reason) is None
        one.call(conn.stay)
        assert b"" == peer.recv(100)
        peer.close()
        one.wait_connections(0)
    assert ["idle"] == [str(reason).removesuffix("_timeout") for reason in one.record.reasons]


def elapse(loop, seconds):
    """Return a future of another thread that is done once so much time has passed on a loop."""
    done = Future()
    loop.call_later(seconds, done.set_result, None)
    return done


def test_an_abort_after_go_is_one_in_the_new_process(serve):
    """With its reason: the old one ends nothing that is not its own any more."""
    with pair(serve, Numbered) as (one, two, peer):
        hello(peer)
        conn, snapshot = hold(one)
        adoption = adopted(two, conn, snapshot)
        assert one.call(conn.still_moves)
        one.call(conn.abort)
        late = begin(one, two, conn, adoption)

        assert "aborted" == late.lost
        with pytest.raises(ConnectionError):
            assert b"" != peer.recv(100)
            raise ConnectionResetError
        one.wait_connections(0)
        two.wait_connections(0)
    assert (["handed_over"], ["aborted"]) == (one.record.reasons, two.record.reasons)


def test_an_abort_after_go_is_done_when_the_connection_comes_back(serve):
    """The other process died before it had begun."""
    with serve(Numbered) as one, one.dial() as peer:
        hello(peer)
        conn, _ = hold(one)
        assert one.call(conn.still_moves)
        one.call(conn.abort)
        one.call(conn.stay)
        one.wait_connections(0)
    assert ["aborted"] == one.record.reasons


def test_whatever_fails_while_a_connection_is_told_of_leaves_it_here(serve, monkeypatch):
    """It is held no longer, and answers."""
    with serve(Numbered) as one, one.dial() as peer:
        hello(peer)
        mover = one.call(lambda: one.server.mover)

        def fail(*_):
            raise RuntimeError("cannot be told")

        with monkeypatch.context() as patch:
            patch.setattr(mover, "snapshot", fail)
            with pytest.raises(RuntimeError, match="cannot be told"):
                one.call(lambda: the_only(one.server).hold(mover))
        peer.sendall(b"more\n")

        assert b"2 more\n" == peer.recv(100)
        peer.close()
