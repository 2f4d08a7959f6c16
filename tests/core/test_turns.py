"""What tasks may do in a row: counted for a loop, and the loop turns before more is done."""

import asyncio

from penstock.core.turns import MOST_IN_A_ROW, Turn, turn_of


def advance(coroutine):
    """Take one step; return whether it has ended."""
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    return False


def test_as_much_as_that_goes_on_at_once():
    """Nothing is waited for until as much has been done."""
    turn = Turn()
    at_once = [advance(turn.take()) for _ in range(MOST_IN_A_ROW)]

    assert [True] * MOST_IN_A_ROW == at_once


def test_what_is_one_too_many_waits_for_the_next_turn():
    """It is awaited once, and from there as much may be done again."""
    turn = Turn()
    turn.left = 0
    waiting = turn.take()

    assert (False, True) == (advance(waiting), advance(waiting))
    assert MOST_IN_A_ROW - 1 == turn.left


def test_whoever_is_cancelled_there_has_taken_nothing():
    """The turn comes before what was to be done."""
    turn = Turn()
    turn.left = 0
    waiting = turn.take()
    advance(waiting)
    waiting.close()

    assert 0 == turn.left


def test_a_loop_has_one():
    """All that is done on it is one row; another loop has its own."""
    loops = [asyncio.new_event_loop() for _ in range(2)]
    turns = [turn_of(loop) for loop in (*loops, loops[0])]
    for loop in loops:
        loop.close()

    assert turns[0] is turns[2] is not turns[1]
