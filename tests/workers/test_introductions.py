"""Who is told of whom, by supervisors of one machine, and what becomes of a pair that cannot be made."""

import errno
import socket

import pytest

from penstock.workers import introductions as module
from penstock.workers.introductions import Introductions
from penstock.workers.messages import Apart, Gone, Introduced, Meet, Meeting, Paired, Peer


class Worker:
    """What a worker is told."""

    def __init__(self, number):
        self.number, self.pid, self.slot = number, 1000 + number, number
        self.told = []

    def send(self, message, descriptors=()):
        self.told.append(message)

    def since(self):
        """What it was told since this was called last."""
        told, self.told = self.told, []
        return told


@pytest.fixture
def pair():
    """Two workers that know each other, and who has introduced them."""
    made = Introductions()
    workers = [Worker(1), Worker(2)]
    for each in workers:
        made.meet(each, Meet(number=0, worker=each.number))
        assert Introduced(number=0) == each.told[-1]
    for each, other in zip(workers, reversed(workers), strict=True):
        assert Peer(worker=other.number, slot=other.slot) in each.since()
    return made, *workers


def test_two_that_are_apart_are_introduced_once_more(pair):
    """Both of them, whichever has cut the link."""
    made, first, second = pair
    made.again(second, Apart(worker=2, peer=1))

    assert [[Peer(worker=2, slot=2)], [Peer(worker=1, slot=1)]] == [first.since(), second.since()]


def test_all_are_told_that_a_worker_has_ended(pair):
    """Here, and by the supervisors before and after this one; who asks for it afterwards is told nothing."""
    made, first, second = pair
    said = []
    made.before = lambda message, _: said.append(message)
    made.meeting(Meeting(worker=9, slot=1), lambda message, _: said.append(message))
    first.since(), second.since(), said.clear()
    made.gone(second.pid)
    made.gone(second.pid)
    assert ([Gone(worker=2)], []) == (first.since(), second.since())
    assert [Gone(worker=2)] * 2 == said
    made.gone_there(Gone(worker=9))
    assert [Gone(worker=9)] == first.since()
    made.again(first, Apart(worker=1, peer=2))
    assert [] == first.since()


def test_two_of_different_supervisors_are_introduced_once_more(pair):
    """Whichever of them has cut the link; the others stay as they are."""
    older, first, second = pair
    newer, third = Introductions(), Worker(3)
    newer.before = lambda message, _: older.meeting(message, to_newer)

    def to_newer(message, descriptors):
        if isinstance(message, Paired):
            newer.paired(message, descriptors[0])

    newer.meet(third, Meet(number=0, worker=3))
    assert {1, 2} == {each.worker for each in third.since() if isinstance(each, Peer)}
    first.since(), second.since()
    newer.again(third, Apart(worker=3, peer=2))
    assert ([Peer(worker=2, slot=2)], [], [Peer(worker=3, slot=3)]) == (third.since(), first.since(), second.since())
    older.again(first, Apart(worker=1, peer=3))
    assert ([Peer(worker=1, slot=1)], [Peer(worker=3, slot=3)], []) == (third.since(), first.since(), second.since())


async def test_a_pair_that_cannot_be_made_is_made_later(monkeypatch):
    """Until then the two do not know each other; one that has ended meanwhile is not told of."""
    made = Introductions()
    workers = [Worker(1), Worker(2)]
    later = []

    def refuse():
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(module, "_later", lambda call, *arguments: later.append((call, arguments)))
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", refuse)
        for each in workers:
            made.meet(each, Meet(number=0, worker=each.number))
    assert [[Introduced(number=0)]] * 2 == [each.since() for each in workers]
    ((call, arguments),) = later
    call(*arguments)
    assert [[Peer(worker=2, slot=2)], [Peer(worker=1, slot=1)]] == [each.since() for each in workers]
    made.gone(workers[0].pid)
    workers[1].since()
    call(*arguments)
    assert [] == workers[1].since()
