"""Which of the handlers that outlive their peers gives way, and when there are too many."""

import itertools

import pytest

from penstock.config import Timeouts
from penstock.core.orphans import ENDING_S, LOOK_AGAIN_S, Orphans

numbers = itertools.count(1)


class Left:
    """A handler that is left; ``threaded``: it cannot be cancelled."""

    handler_ended = False
    close_reason = None
    messages_begun = 0
    timeouts = Timeouts()

    def __init__(self, *, unfinished=False, threaded=False):
        self.id = next(numbers)
        self.has_unfinished = unfinished
        self.threaded = threaded
        self.cancelled = 0

    def handler_place(self):
        return ""

    def cancel_handler(self):
        self.cancelled += not self.threaded
        return not self.threaded


@pytest.fixture
def orphans():
    return Orphans()


def take_in(orphans, *left):
    for number, one in enumerate(left):
        orphans.add(one, float(number))
    return left


def test_the_one_that_has_waited_longest_with_nothing_unfinished_gives_way(orphans):
    """One with a message is passed over, and so is one in a thread."""
    left = take_in(orphans, Left(unfinished=True), Left(threaded=True), Left(), Left())

    assert left[2] is orphans.give_way(3, 10.0)
    assert [0, 0, 1, 0] == [one.cancelled for one in left]
    assert None is orphans.give_way(3, 10.0)  # it is on its way out


def test_one_that_stays_in_spite_of_it_counts_again(orphans):
    """It has a second to end; then another goes, and it is not asked twice."""
    stubborn, other = take_in(orphans, Left(), Left())
    orphans.give_way(1, 10.0)

    assert None is orphans.give_way(1, 10.0 + ENDING_S / 2)
    assert other is orphans.give_way(1, 10.0 + ENDING_S)
    assert [1, 1] == [stubborn.cancelled, other.cancelled]


def test_there_is_room_as_long_as_one_would_give_way(orphans):
    """Where each has a message unfinished there is none."""
    take_in(orphans, Left(unfinished=True), waits := Left())

    assert [False, False] == [orphans.is_full(3, 10.0), orphans.is_full(2, 10.0)]
    waits.has_unfinished = True
    assert True is orphans.is_full(2, 10.0)


def test_a_look_in_vain_is_not_repeated_for_each_newcomer(orphans):
    """For a tenth of a second it is taken as it was; one that has ended changes it at once."""
    one, other = take_in(orphans, Left(unfinished=True), Left(unfinished=True))
    assert orphans.is_full(2, 10.0)
    one.has_unfinished = False

    assert orphans.is_full(2, 10.0 + LOOK_AGAIN_S / 2)
    assert not orphans.is_full(2, 10.0 + LOOK_AGAIN_S * 2)
    one.has_unfinished = True
    assert orphans.is_full(2, 20.0)
    orphans.discard(other.id)
    assert not orphans.is_full(2, 20.0)


def test_who_has_ended_is_not_remembered(orphans):
    """Neither in the list nor among those that were cancelled."""
    left = take_in(orphans, Left(), Left())
    orphans.give_way(1, 10.0)
    for one in left:
        orphans.discard(one.id)
        orphans.discard(one.id)

    assert (0, [], {}, set()) == (len(orphans), list(orphans), orphans._ending, orphans._tried)
