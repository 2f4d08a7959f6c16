"""Sessions: who has one, who gives way, and what a peer may be sent whose address may be forged."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.gate import HEADER_BYTES
from penstock.core.sessions import Credit, Sessions

PEERS = st.integers(0, 7)
STEPS = st.lists(st.tuples(st.sampled_from(("datagram", "end")), PEERS), max_size=80)


class Model:
    """The same in plain words: a list of the peers that have a session, and how often each was heard."""

    def __init__(self, most):
        self.most = most
        self.heard = {}  # in the order in which sessions began

    def datagram(self, peer):
        if peer in self.heard:
            self.heard[peer] += 1
            return "goes on"
        displaced = None
        if len(self.heard) >= self.most:
            displaced = next((each for each, count in self.heard.items() if count == 1), None)
            if displaced is None:
                return "refused"
            del self.heard[displaced]
        self.heard[peer] = 1
        return "begins", displaced

    def end(self, peer):
        self.heard.pop(peer, None)


class Engine:
    """What an engine does with the law."""

    def __init__(self, most):
        self.most = most
        self.law = Sessions()
        self.open = set()

    def datagram(self, peer):
        if peer in self.open:
            self.law.heard_again(peer)
            return "goes on"
        displaced = None
        if self.law.is_full(self.most):
            displaced = self.law.to_be_displaced()
            if displaced is None:
                return "refused"
            self.end(displaced)
        self.open.add(peer)
        self.law.begins(peer)
        return "begins", displaced

    def end(self, peer):
        if peer in self.open:
            self.open.remove(peer)
            self.law.ends(peer)


@given(most=st.integers(1, 4), steps=STEPS)
def test_who_was_heard_once_gives_way_in_order_and_nobody_else_does(most, steps):
    """Never more than the limit; of those heard once the first; whoever was heard twice is displaced by nobody."""
    model, engine = Model(most), Engine(most)
    for step, peer in steps:
        expected = getattr(model, step)(peer)

        assert expected == getattr(engine, step)(peer)
        assert set(model.heard) == engine.open
        assert len(model.heard) == engine.law.count <= most


def test_without_a_limit_nobody_gives_way():
    """None is no limit."""
    sessions = Sessions()
    for peer in range(100):
        sessions.begins(peer)

    assert (100, False, True) == (sessions.count, sessions.is_full(None), sessions.is_full(100))


SIZES = st.integers(0, 1500)


@settings(max_examples=200)
@given(multiple=st.integers(1, 5), traffic=st.lists(st.tuples(st.booleans(), SIZES), max_size=60))
def test_a_stranger_is_never_sent_more_than_a_multiple_of_what_came(multiple, traffic):
    """Headers included, at every moment; and what is refused would have been too much."""
    credit = Credit(trusts=False)
    came = sent = 0
    for is_answer, size in traffic:
        if not is_answer:
            credit.received(size)
            came += HEADER_BYTES + size
        elif credit.takes(size, multiple):
            sent += HEADER_BYTES + size
        else:
            assert sent + HEADER_BYTES + size > multiple * came
        assert sent <= multiple * came


def test_who_is_trusted_or_where_there_is_no_multiple_takes_anything():
    """A peer on this machine, one that has shown who it is, a service whose operator says so."""
    stranger, friend = Credit(trusts=False), Credit(trusts=True)

    assert (False, True, True) == (stranger.takes(1, 3), stranger.takes(10**6, None), friend.takes(10**6, 3))
    stranger.trusts = True
    assert stranger.takes(10**6, 3)


def test_a_session_for_which_there_is_no_memory_is_not_counted():
    """Nothing has changed."""

    class Unwilling:
        def __hash__(self):
            raise MemoryError

    sessions = Sessions()
    with pytest.raises(MemoryError):
        sessions.begins(Unwilling())

    assert (0, None) == (sessions.count, sessions.to_be_displaced())
