"""One link: what waits for a worker that does not read, and in which order it comes."""

import socket
import threading

import pytest

from penstock.testing.thread import PATIENCE_S
from penstock.workers.mesh import link as link_module
from penstock.workers.mesh.frames import Displaced, Presence, Reply, encoded, taken
from penstock.workers.mesh.link import Link

PIECE = 1024 * 1024


@pytest.fixture
def ends():
    """A link, and the other end of its socket."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    link = Link(ours, 7, 2, lambda _: None)
    yield link, theirs
    link.close()
    theirs.close()


def read_all(link, theirs):
    """Read what comes until nothing waits any more."""
    buffer = bytearray()
    while True:
        link.flush()
        try:
            buffer += theirs.recv(PIECE)
        except BlockingIOError:
            return list(taken(buffer))


def test_replies_wait_beside_the_others_and_are_not_lost(ends):
    """So many long ones make no link too full, and leave room for publications."""
    link, theirs = ends
    for number in range(40):
        link.say(Reply(number, ("", bytes(PIECE))))
    assert link.queue(encoded(Displaced("publication", "", 1)), may_drop=True)
    assert not link.is_lost

    came = read_all(link, theirs)
    assert [*range(40)] == [said.number for said in came if isinstance(said, Reply)]
    assert 1 == sum(isinstance(said, Displaced) for said in came)


def test_replies_beyond_their_bound_are_told_to_be_lost(ends, monkeypatch):
    """Who has asked hears that, and does not wait for ever."""
    monkeypatch.setattr(link_module, "MOST_REPLY_BYTES", 4 * PIECE)
    monkeypatch.setattr(link_module, "MOST_WAITING_BYTES", PIECE)
    link, theirs = ends
    for number in range(20):
        link.say(Reply(number, ("", bytes(PIECE))))

    came = read_all(link, theirs)
    assert [*range(20)] == [said.number for said in came]
    assert {"", "RequestLostError"} == {said.error for said in came}


def test_of_presences_that_wait_the_last_word_counts(ends, monkeypatch):
    """However many come and go: what waits is one for each group and codec."""
    monkeypatch.setattr(link_module, "MOST_WAITING_BYTES", PIECE)
    link, theirs = ends
    while link.queue(encoded(Displaced("x" * 4000, "", 1)), may_drop=True):
        pass
    link.say(Displaced("x" * PIECE, "", 1))
    for count in range(5000):
        link.say(Presence(f"room {count % 3}", "lines", False, count))
    before = link.waiting_bytes
    link.say(Presence("x" * 10_000, "lines", False, 1))
    assert before == link.waiting_bytes

    link.flush()
    told = [said for said in read_all(link, theirs) if isinstance(said, Presence) and len(said.group) < 10]
    assert {"room 0": 4998, "room 1": 4999, "room 2": 4997} == {said.group: said.count for said in told}
    assert 3 == len(told)


def test_a_burst_goes_to_a_worker_that_reads(ends, monkeypatch):
    """What has room in the socket is not given up for what was not written so far."""
    monkeypatch.setattr(link_module, "MOST_WAITING_BYTES", 10_000)
    link, theirs = ends
    taken_in = [link.queue(encoded(Displaced("x" * 6000, "", number)), may_drop=True) for number in range(5)]

    assert [True] * 5 == taken_in
    assert [*range(5)] == [said.order for said in read_all(link, theirs)]


def test_a_message_that_is_longer_than_may_wait_goes_where_nothing_waits(ends, monkeypatch):
    """It would never go otherwise."""
    monkeypatch.setattr(link_module, "MOST_WAITING_BYTES", 10_000)
    link, theirs = ends
    long = encoded(Displaced("x" * PIECE, "", 1))
    assert [True, False] == [link.queue(long, may_drop=True) for _ in range(2)]
    assert not link.is_lost

    assert 1 == len(read_all(link, theirs))
    assert link.queue(long, may_drop=True)


def test_what_may_not_be_lost_makes_a_link_too_full_at_last(ends, monkeypatch):
    """Publications and replies do not count."""
    monkeypatch.setattr(link_module, "MOST_BYTES", PIECE)
    link, theirs = ends
    for number in range(8):
        link.queue(encoded(Displaced("x" * PIECE, "", number)), may_drop=True)
        link.say(Reply(number, ("", bytes(PIECE))))
    assert not link.is_lost
    for number in range(2):
        link.say(Displaced("x" * PIECE, "", number))
    assert link.is_lost
    read_all(link, theirs)
    assert (False, 0) == (link.is_lost, link.waiting_bytes)


def test_a_link_that_is_closed_forgets_what_waits(ends):
    """It may be closed more than once."""
    link, _ = ends
    link.say(Displaced("x" * PIECE, "", 1))
    link.close()
    link.close()

    assert (0, False) == (link.waiting_bytes, link.is_open)


class Interrupted:
    """Stands for a socket, and does something first, once, when it is written to."""

    def __init__(self, sock, act):
        self._sock = sock
        self._acts = [act]

    def __getattr__(self, name):
        if name == "sendmsg" and self._acts:
            self._acts.pop()()
        return getattr(self._sock, name)


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_finaliser_may_publish_while_something_is_written(is_closed):
    """It waits for no lock of its own thread. What it says comes after, once; nothing does after the end."""
    ours, theirs = socket.socketpair()
    link = Link(ours, 1, 1, lambda _: None)

    def meanwhile():
        link.queue(b" second")
        link.flush()
        if is_closed:
            link.close()

    def publish():
        link.queue(b"first")
        link.flush()

    link._sock = Interrupted(ours, meanwhile)
    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    with theirs:
        assert not thread.is_alive()
        link.close()
        assert (b"" if is_closed else b"first second") == b"".join(iter(lambda: theirs.recv(100), b""))
        assert 0 == link.waiting_bytes
