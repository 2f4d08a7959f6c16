"""Waiting in recv(2) for a moment, and what must not depend on it."""

import threading

import pytest

import penstock
from penstock.engines.blocking.parking import CAN_PARK
from penstock.engines.blocking.poller import Poller
from penstock.testing.thread import PATIENCE_S

pytestmark = pytest.mark.skipif(
    not CAN_PARK, reason="this system's sockets cannot be asked to wait so long and no longer"
)


def test_what_is_there_is_taken_without_polling(pair, monkeypatch):
    """One system call for a message that has come."""
    conn, far = pair()
    far.sendall(b"there\n")
    monkeypatch.setattr(Poller, "wait", lambda *_: pytest.fail("it polled"))

    assert b"there" == conn.receive()


def test_what_comes_later_is_waited_for(pair, monkeypatch):
    """In poll(2), where other threads can wake it."""
    conn, far = pair()
    polled = threading.Event()
    wait = Poller.wait

    def watched(poller, timeout_s):
        polled.set()
        return wait(poller, timeout_s)

    monkeypatch.setattr(Poller, "wait", watched)
    got = []
    thread = threading.Thread(target=lambda: got.append(conn.receive()))
    thread.start()
    came_to_poll = polled.wait(PATIENCE_S)
    far.sendall(b"later\n")
    thread.join(PATIENCE_S)

    assert came_to_poll
    assert [b"later"] == got


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_thread_is_told_of_the_end_wherever_it_waits(pair, end):
    """Parked or polling: whoever receives meets ClosedError, time after time."""
    for _ in range(20):
        conn, far = pair()
        begun = threading.Event()
        raised = []

        def receive(conn=conn, begun=begun, raised=raised):
            begun.set()
            with pytest.raises(penstock.ClosedError) as caught:
                conn.receive()
            raised.append(caught.value)

        thread = threading.Thread(target=receive)
        thread.start()
        begun.wait(PATIENCE_S)
        getattr(conn, end)()
        thread.join(PATIENCE_S)
        far.close()
        conn.wait_closed()

        assert 1 == len(raised)


def test_output_that_was_posted_meanwhile_leaves(pair):
    """The thread that waits for input sends what another's `post` could not, though it may be parked just then."""
    conn, far = pair("raw")
    payload = b"x" * 4_000_000

    def receive():
        with pytest.raises(penstock.ClosedError):
            conn.receive()

    thread = threading.Thread(target=receive)
    thread.start()
    conn.set_limits(write_max_bytes=2 * len(payload))
    conn.post(payload)
    left = len(payload)
    while left:
        left -= len(far.recv(1 << 20))
    conn.abort()
    thread.join(PATIENCE_S)

    assert 0 == left
