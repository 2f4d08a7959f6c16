import pytest

from penstock.engines.replies import MAX_QUEUED_PER_UNIX_PEER, MAX_QUEUED_REPLIES, UNIX_PATIENCE_S, ReplyQueue
from penstock.testing.clock import ManualClock


class Kernel:
    """Takes datagrams for those who have room; counts how often it is asked."""

    def __init__(self):
        self.full = set()
        self.taken = []
        self.asked = 0

    def sendto(self, data, name):
        self.asked += 1
        if name == "gone":
            raise ConnectionRefusedError
        if name in self.full:
            raise BlockingIOError
        self.taken.append((data, name))


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def unix(kernel, clock, dropped):
    return ReplyQueue(kernel.sendto, dropped.append, clock.time, is_unix=True)


@pytest.fixture
def udp(kernel, clock, dropped):
    return ReplyQueue(kernel.sendto, dropped.append, clock.time, is_unix=False)


def test_what_waits_is_sent_in_order_and_before_what_comes_later(udp, kernel):
    """One buffer for all: a reply to another peer waits too."""
    kernel.full = {"a"}
    udp.send(b"1", "a")
    udp.send(b"2", "b")
    udp.retry()
    assert ([], True) == (kernel.taken, bool(udp))
    kernel.full = set()
    udp.send(b"3", "c")
    udp.retry()

    assert [(b"1", "a"), (b"2", "b"), (b"3", "c")] == kernel.taken
    assert not udp


def test_a_unix_peer_without_room_delays_nobody_else(unix, kernel):
    """Its own replies stay in order."""
    kernel.full = {"deaf"}
    unix.send(b"1", "deaf")
    unix.send(b"2", "deaf")
    unix.send(b"3", "b")
    assert [(b"3", "b")] == kernel.taken
    kernel.full = set()
    unix.send(b"4", "deaf")
    unix.retry()

    assert [(b"3", "b"), (b"1", "deaf"), (b"2", "deaf"), (b"4", "deaf")] == kernel.taken
    assert not unix


def test_a_retry_asks_the_kernel_once_for_each_full_peer(unix, kernel):
    """However many replies wait for it."""
    kernel.full = {"a", "b"}
    for _ in range(10):
        unix.send(b"x", "a")
        unix.send(b"x", "b")
    kernel.asked = 0
    unix.retry()

    assert 2 == kernel.asked


def test_what_is_kept_is_bounded(unix, udp, kernel, dropped):
    """More is dropped and counted; who has room is served all the same."""
    peers = MAX_QUEUED_REPLIES // MAX_QUEUED_PER_UNIX_PEER
    kernel.full = {*range(1, peers + 2), "a"}
    for name in range(1, peers + 1):
        for _ in range(MAX_QUEUED_PER_UNIX_PEER + 1):
            unix.send(b"x", name)
    assert ["send_queue_full"] * peers == dropped
    unix.send(b"x", peers + 1)
    unix.send(b"y", "b")
    assert ["send_queue_full"] * (peers + 1) == dropped
    assert [(b"y", "b")] == kernel.taken
    for _ in range(MAX_QUEUED_REPLIES + 1):
        udp.send(b"x", "a")

    assert ["send_queue_full"] * (peers + 2) == dropped


def test_a_unix_peer_that_takes_nothing_is_given_up(unix, kernel, clock, dropped):
    """Counted from the last reply it took, so that a slow one keeps its place."""
    kernel.full = {"deaf"}
    unix.send(b"1", "deaf")
    clock.advance(UNIX_PATIENCE_S - 0.5)
    unix.retry()
    assert ([], True) == (dropped, bool(unix))
    clock.advance(0.5)
    unix.retry()

    assert (["peer_queue_full"], False) == (dropped, bool(unix))


def test_what_cannot_be_sent_is_dropped_with_its_reason(unix, kernel, dropped):
    """A peer that is gone, now or while its reply waits; a sender without a name."""
    unix.send(b"1", "gone")
    unix.send(b"2", "")
    kernel.full = {"a"}
    unix.send(b"3", "a")
    unix._sendto = lambda data, name: kernel.sendto(data, "gone")
    unix.retry()

    assert ["ConnectionRefusedError", "unnamed_peer", "ConnectionRefusedError"] == dropped
    assert not unix


def test_whoever_is_told_of_a_drop_may_clear(kernel, clock):
    """Nothing is left, and nothing is counted twice."""
    replies = ReplyQueue(kernel.sendto, lambda reason: replies.clear(), clock.time, is_unix=True)
    kernel.full = {"a"}
    replies.send(b"1", "a")
    replies.send(b"2", "a")
    clock.advance(UNIX_PATIENCE_S)
    replies.retry()

    assert not replies
    assert 0 == replies._count
