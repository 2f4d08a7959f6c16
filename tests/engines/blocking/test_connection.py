"""A connection as threads see it, without a server."""

import contextlib
import errno
import socket
import threading

import pytest

import penstock
from penstock.codecs.registry import parse_codec
from penstock.config import Limits, Timeouts
from penstock.engines.blocking.link import SocketLink
from penstock.engines.connection import LinkedConnection
from penstock.testing.peers import read_exactly
from penstock.testing.thread import PATIENCE_S


@contextlib.contextmanager
def beside(function):
    """Run ``function`` in a thread until the end of the block; what it raised is raised there."""
    raised = []

    def run():
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield thread
    thread.join(PATIENCE_S)

    assert not thread.is_alive()
    assert [] == raised


def test_messages_come_in_order_and_iteration_ends_at_eof(pair):
    """Whatever was sent before EOF is delivered."""
    conn, far = pair()
    far.sendall(b"a\nb\nc")
    far.shutdown(socket.SHUT_WR)

    with pytest.raises(penstock.RemoteProtocolError):
        list(conn)
    conn, far = pair()
    far.sendall(b"a\nb\n")
    far.shutdown(socket.SHUT_WR)

    assert [b"a", b"b"] == list(conn)


def test_a_timeout_of_receive_leaves_the_connection_as_it_was(pair):
    """Nothing is lost, not even half a message."""
    conn, far = pair()
    far.sendall(b"hal")
    with pytest.raises(TimeoutError):
        conn.receive(timeout_s=0)
    with pytest.raises(TimeoutError):
        conn.receive(timeout_s=0.001)
    far.sendall(b"f\n")

    assert b"half" == conn.receive()


def test_receive_with_no_time_takes_what_is_there(pair):
    """0 s is not "never": what the kernel holds is looked at."""
    conn, far = pair()
    far.sendall(b"there\n")

    assert b"there" == conn.receive(timeout_s=0)
    far.shutdown(socket.SHUT_WR)
    with pytest.raises(penstock.EndOfStreamError):
        conn.receive(timeout_s=0)


def test_send_returns_when_the_kernel_has_taken_all_of_it(pair):
    """However large it is, nothing waits in the process."""
    conn, far = pair("raw")
    payload = bytes(range(256)) * 16384
    with beside(lambda: conn.send(payload)):
        assert payload == read_exactly(far, len(payload))

    assert (len(payload), 0) == (conn.bytes_out, conn.held_bytes)


def test_frames_of_several_threads_never_interleave(pair):
    """Each thread's frames arrive whole and in its order, also while another thread receives."""
    conn, far = pair("lines:max=1MiB")

    def send(mark):
        for number in range(50):
            conn.send(mark * 20_000 + b"%d" % number)

    with contextlib.ExitStack() as stack:
        stack.enter_context(beside(conn.receive))
        for mark in (b"a", b"b", b"c"):
            stack.enter_context(beside(lambda mark=mark: send(mark)))
        with far.makefile("rb") as lines:
            found = [next(lines).rstrip(b"\n") for _ in range(150)]
        far.sendall(b"enough\n")

    for mark in (b"a", b"b", b"c"):
        assert [mark * 20_000 + b"%d" % n for n in range(50)] == [line for line in found if line[:1] == mark]


def test_a_second_receiver_is_refused(pair):
    """Two threads would each get a part of the stream."""
    conn, far = pair()
    refused = []

    def receive():
        try:
            conn.receive()
        except penstock.LocalProtocolError as error:
            refused.append(error)
            far.sendall(b"for the other\n")

    with beside(receive), beside(receive):
        pass

    assert 1 == len(refused)


def test_what_post_left_is_sent_by_the_thread_that_waits(pair):
    """The waiting thread is woken: it waited for input only."""
    conn, far = pair("raw", limits=Limits(write_high_bytes=8 * 1024**2, write_max_bytes=16 * 1024**2))
    payload = b"x" * 4 * 1024**2
    with beside(conn.receive):
        conn.post(payload)

        assert payload == read_exactly(far, len(payload))
        far.sendall(b"done")


def test_post_beyond_the_hard_limit_aborts(pair):
    """It never waits, so a bound is all there is."""
    conn, _ = pair("raw", limits=Limits(write_low_bytes=1, write_high_bytes=2, write_max_bytes=100_000))
    with pytest.raises(penstock.SlowPeerError):
        for _ in range(1000):
            conn.post(b"x" * 10_000)

    assert penstock.CloseReason.SLOW_CONSUMER == conn.close_reason
    assert penstock.CloseReason.SLOW_CONSUMER == conn.wait_closed()


def test_a_send_that_waits_ends_at_the_write_timeout(pair):
    """A peer that does not read is given up, also when less than the high watermark is owed."""
    conn, _ = pair("raw", timeouts=Timeouts(write_s=0.05))
    with pytest.raises(penstock.SlowPeerError):
        for _ in range(1000):
            conn.send(b"x" * 10_000)

    assert penstock.CloseReason.WRITE_TIMEOUT == conn.close_reason


@pytest.mark.parametrize("end", ["abort", "close"])
def test_another_thread_can_end_a_wait(pair, end):
    """abort and close wake whoever waits in receive."""
    conn, far = pair()
    errors = []

    def receive():
        with pytest.raises(penstock.ClosedError) as caught:
            conn.receive()
        errors.append(caught.value)

    with beside(receive):
        getattr(conn, end)()
        far.close()

    assert 1 == len(errors)
    assert -1 == conn.fileno() or conn.wait_closed()


def test_leaving_the_block_closes_gracefully(pair):
    """What was posted arrives, then EOF; the end of the peer's side is waited for."""
    conn, far = pair()
    seen = []

    def read():
        seen.append(far.recv(100))
        seen.append(far.recv(100))
        far.close()

    with beside(read), conn:
        conn.post(b"bye")

    assert [b"bye\n", b""] == seen
    assert penstock.CloseReason.DONE == conn.close_reason


def test_an_exception_that_leaves_the_block_aborts(pair):
    """A conversation that failed is not made to look finished."""
    conn, _ = pair()
    with pytest.raises(ZeroDivisionError), conn:
        1 / 0  # noqa: B018

    assert penstock.CloseReason.ABORTED == conn.close_reason


def test_the_codec_can_change_in_mid_stream(pair):
    """Bytes that were read already are cut anew."""
    conn, far = pair()
    far.sendall(b"line\n\0\0\0\x03\nxy")

    assert b"line" == conn.receive()
    conn.set_codec(parse_codec("length-prefixed"))

    assert b"\nxy" == conn.receive()


def test_records_are_messages(pair):
    """One recv is one message, whatever bytes it has."""
    conn, far = pair("raw", kind=socket.SOCK_SEQPACKET)
    far.send(b"one\ntwo")
    far.send(b"three")

    assert [b"one\ntwo", b"three"] == [conn.receive(), conn.receive()]
    conn.send(b"reply")
    conn.send(b"again")
    assert b"reply" == far.recv(100)
    assert b"again" == far.recv(100)


def test_a_connection_that_ended_says_so(pair):
    """Every use after the end raises what a caller would catch."""
    conn, far = pair()
    far.close()
    with pytest.raises(penstock.EndOfStreamError):
        conn.receive()
    with conn:
        pass
    for use in (lambda: conn.send(b""), lambda: conn.post(b""), conn.receive):
        with pytest.raises(penstock.PenstockError):
            use()

    assert penstock.CloseReason.PEER_CLOSED == conn.close_reason
    assert -1 == conn.fileno()


@pytest.mark.parametrize("end", ["_close", "_lose"])
def test_what_keeps_a_connection_from_its_end_is_what_is_raised(pair, monkeypatch, end):
    """Not that its socket could not be shut down either: the peer was faster."""

    def fail(*_):
        raise RecursionError

    def shutdown(*_):
        raise OSError(errno.ENOTCONN, "not connected")

    conn, _ = pair()
    with monkeypatch.context() as patch:
        patch.setattr(LinkedConnection, end, fail)
        patch.setattr(socket.socket, "shutdown", shutdown)
        patch.setattr(SocketLink, "abort", lambda _: None)
        with pytest.raises(RecursionError):
            (conn.close if end == "_close" else conn.abort)()
    conn.abort()
