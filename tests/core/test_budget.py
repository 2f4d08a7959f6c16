"""What all peers together may be owed: counted, shared, and held."""

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.budget import FREE_BYTES, OutputBudget

KIB = 1024


class Peer:
    """What a budget knows of a connection."""


def owing(budget, *owed):
    """Connections that are owed so much, in the order in which they began to be."""
    peers = [Peer() for _ in owed]
    for peer, owed_bytes in zip(peers, owed, strict=True):
        budget.owe(peer, owed_bytes)
    return peers


def test_nobody_may_be_owed_more_than_is_left():
    """And never more than by its own limit; what is free it may be owed in any case."""
    budget = OutputBudget(100_000)
    (peer,) = owing(budget, 70_000)

    assert (10, 30_000, 30_000) == tuple(min(limit, budget.room_bytes()) for limit in (10, 30_000, 1_000_000))
    budget.owe(peer, 170_000)
    assert (10, FREE_BYTES) == (min(10, budget.room_bytes()), min(30_000, budget.room_bytes()))


def test_without_a_limit_nothing_is_counted():
    """A client's connections are its user's."""
    budget = OutputBudget()
    (peer,) = owing(budget, 10**9)

    assert (10, 0, []) == (min(10, budget.room_bytes()), budget.used_bytes, budget.to_be_ended(peer))


def test_those_who_take_all_they_may_end_up_with_equal_shares():
    """N of them have an (N + 1)th each, and as much is left for the next one."""
    budget = OutputBudget(11 * 10_000)
    peers = owing(budget, *[0] * 10)
    shares = dict.fromkeys(peers, 0)
    for _ in range(500):
        for peer in peers:
            fits = shares[peer] + 100 <= min(1_000_000, budget.room_bytes())
            shares[peer] += (
                100 if fits else -100 * (shares[peer] > 10_000)
            )  # as `drop_oldest` gives up what is too much
            budget.owe(peer, shares[peer])

    assert {10_000} == set(shares.values())


def test_above_the_budget_those_go_whose_output_has_not_moved_for_longest():
    """As many as it takes; who is being sent to is spared, and one whose kernel took some of it counts as new."""
    budget = OutputBudget(100 * KIB)
    first, second, third, fourth = owing(budget, 30 * KIB, 30 * KIB, 30 * KIB, 10 * KIB)
    budget.owe(first, 29 * KIB)
    budget.owe(fourth, 27 * KIB)
    assert [] == budget.to_be_ended(fourth)  # 16 KiB over: the free ones
    budget.owe(fourth, 67 * KIB)

    assert [second, third] == budget.to_be_ended(fourth)
    assert [third, fourth] == budget.to_be_ended(second)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50_000))), st.integers(1, 100_000))
def test_what_all_are_owed_is_the_sum(steps, limit_bytes):
    """And what would be ended is enough, and not one more than that."""
    budget = OutputBudget(limit_bytes)
    peers = [Peer() for _ in range(5)]
    owed = dict.fromkeys(peers, 0)
    for index, owed_bytes in steps:
        owed[peers[index]] = owed_bytes
        budget.owe(peers[index], owed_bytes)
    chosen = [owed[peer] for peer in budget.to_be_ended(peers[0])]
    excess_bytes = sum(owed.values()) - limit_bytes - FREE_BYTES * sum(map(bool, owed.values()))

    assert sum(owed.values()) == budget.used_bytes
    assert sum(chosen) >= min(excess_bytes, sum(owed.values()) - owed[peers[0]])
    assert bool(chosen) is (excess_bytes > 0 and any(owed[peer] for peer in peers[1:]))


class Interrupted:
    """Have something done at one of the moments in a function at which a signal handler may run: where it calls one."""

    def __init__(self, function, at, act):
        self._code = function.__code__
        self._moments = itertools.count()
        self._at = at
        self._act = act

    def __enter__(self):
        sys.setprofile(self._profile)

    def __exit__(self, *_):
        sys.setprofile(None)

    def _profile(self, frame, _event, _argument):
        if frame.f_code is self._code and next(self._moments) == self._at:
            sys.setprofile(None)
            self._act()


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("inner", [(0, 0), (0, 7), (1, 0), (1, 30), (2, 5)], ids=str)
@pytest.mark.parametrize("outer", [0, 5, 15])
def test_what_is_owed_may_change_while_it_is_counted(outer, inner, at):
    """By a signal handler, or a finaliser: of the same connection, or of another one. The sum stays that of all."""
    budget = OutputBudget(100)
    peers = [*owing(budget, 10, 20), Peer()]
    which, owed_bytes = inner
    with Interrupted(OutputBudget.owe, at, lambda: budget.owe(peers[which], owed_bytes)):
        budget.owe(peers[0], outer)

    assert sum(budget._debtors.values()) == budget.used_bytes


@pytest.mark.parametrize("at", range(8))
def test_what_is_owed_may_change_while_those_are_chosen_who_go(at):
    """Whoever is chosen was owed something when the choice began."""
    budget = OutputBudget(10)
    peers = owing(budget, 10 * KIB, 10 * KIB, 10 * KIB)
    with Interrupted(OutputBudget.to_be_ended, at, lambda: budget.owe(peers[0], 0)):
        chosen = budget.to_be_ended(peers[2])

    assert set(chosen) <= set(peers)
    assert sum(budget._debtors.values()) == budget.used_bytes
