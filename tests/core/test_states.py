"""The life of a connection: every entry of the table, and that nothing else is one."""

import itertools

import pytest

from penstock.core.states import LEAVING, RECEIVABLE, SENDABLE, TRANSITIONS, Input, State, after
from penstock.errors import LocalProtocolError

S = State

# Written out a second time, so that a change of the table is a change here as well.
ENTRIES = {
    (S.OPEN, Input.PEER_EOF): S.PEER_EOF,
    (S.OPEN, Input.SEND_EOF): S.LOCAL_EOF,
    (S.OPEN, Input.CLOSE): S.CLOSING,
    (S.OPEN, Input.LOST): S.CLOSED,
    (S.PEER_EOF, Input.SEND_EOF): S.BOTH_EOF,
    (S.PEER_EOF, Input.CLOSE): S.FLUSHING,
    (S.PEER_EOF, Input.LOST): S.CLOSED,
    (S.LOCAL_EOF, Input.PEER_EOF): S.BOTH_EOF,
    (S.LOCAL_EOF, Input.CLOSE): S.CLOSING,
    (S.LOCAL_EOF, Input.LOST): S.CLOSED,
    (S.BOTH_EOF, Input.CLOSE): S.FLUSHING,
    (S.BOTH_EOF, Input.LOST): S.CLOSED,
    (S.CLOSING, Input.PEER_EOF): S.FLUSHING,
    (S.CLOSING, Input.FLUSHED): S.LINGERING,
    (S.CLOSING, Input.LOST): S.CLOSED,
    (S.FLUSHING, Input.FLUSHED): S.CLOSED,
    (S.FLUSHING, Input.LOST): S.CLOSED,
    (S.LINGERING, Input.PEER_EOF): S.CLOSED,
    (S.LINGERING, Input.LOST): S.CLOSED,
}


@pytest.mark.parametrize(("state", "given"), ENTRIES, ids=lambda value: value.value)
def test_every_entry(state, given):
    """What may happen leads where the table says."""
    assert ENTRIES[state, given] is after(state, given)


@pytest.mark.parametrize(
    ("state", "given"), sorted(set(itertools.product(State, Input)) - set(ENTRIES), key=str), ids=str
)
def test_nothing_else_may_happen(state, given):
    """What the table does not have is an error of the engine's, which names both."""
    with pytest.raises(LocalProtocolError, match=f"{given.value} cannot happen .* {state.value}"):
        after(state, given)


def test_every_state_is_in_the_table():
    """A state that is missing would be one that cannot be left by mistake alone."""
    assert set(State) == set(TRANSITIONS)


def test_every_state_is_reached_and_ends():
    """From OPEN every state can be reached, and from every one CLOSED."""
    reached = {S.OPEN}
    while True:
        more = reached | {after_ for state in reached for after_ in TRANSITIONS[state].values()}
        if more == reached:
            break
        reached = more

    assert set(State) == reached
    assert all(Input.LOST in TRANSITIONS[state] for state in State if state is not S.CLOSED)
    assert {} == TRANSITIONS[S.CLOSED]


def test_no_state_comes_back():
    """No path leads to a state twice: each step ends a direction, or comes nearer to the end."""

    def walk(state, path):
        assert state not in path
        for following in TRANSITIONS[state].values():
            walk(following, {*path, state})

    walk(S.OPEN, set())


@pytest.mark.parametrize("given", [Input.PEER_EOF, Input.SEND_EOF, Input.CLOSE, Input.FLUSHED])
def test_each_side_ends_once(given):
    """Whatever happened cannot happen again further on, but for the loss, which ends everything."""

    def walk(state, seen):
        for step, following in TRANSITIONS[state].items():
            assert not (step is given and given in seen)
            walk(following, {*seen, step})

    walk(S.OPEN, set())


def test_what_is_allowed_where():
    """Sending ends with our EOF or close, receiving with the peer's EOF or our close."""
    assert {S.OPEN, S.PEER_EOF} == SENDABLE
    assert {S.OPEN, S.LOCAL_EOF} == RECEIVABLE
    assert {S.CLOSING, S.FLUSHING, S.LINGERING, S.CLOSED} == LEAVING
    assert not LEAVING & (SENDABLE | RECEIVABLE)
    assert {S.BOTH_EOF} == set(State) - LEAVING - SENDABLE - RECEIVABLE


def test_once_leaving_always_leaving():
    """No step leads out of the states of leaving."""
    assert all(following in LEAVING for state in LEAVING for following in TRANSITIONS[state].values())
