"""How soon a worker that ended by itself is replaced."""

from penstock.workers.restarts import BRIEF_S, FIRST_S, MOST_FAILURES, MOST_S, SETTLED_S, Restarts


def test_each_end_in_a_row_waits_twice_as_long_up_to_a_bound():
    """A crash loop does not take the machine."""
    restarts = Restarts()
    delays = [restarts.ended(0.0) for _ in range(MOST_FAILURES)]

    assert [FIRST_S, 2 * FIRST_S, 4 * FIRST_S] == delays[:3]
    assert MOST_S == delays[-1]
    assert restarts.is_hopeless


def test_a_worker_that_had_settled_is_replaced_at_once():
    """Its end is no sign of a crash loop, and what came before is forgotten."""
    restarts = Restarts()
    restarts.ended(0.0)

    assert 0.0 == restarts.ended(SETTLED_S)
    assert 0 == restarts.failures


def test_a_worker_that_was_killed_while_it_served_is_replaced_at_once_however_often():
    """An administrator's ``kill -9`` is no crash, and does not hide those that are."""
    restarts = Restarts()
    restarts.ended(0.0)

    assert [0.0] * 50 == [restarts.ended(BRIEF_S, was_killed=True) for _ in range(50)]
    assert 2 * FIRST_S == restarts.ended(0.0)


def test_workers_that_are_killed_as_soon_as_they_are_ready_come_ever_later_and_are_never_given_up():
    """As by a hard limit of processor time, or for the memory that each of them asks for."""
    restarts = Restarts()
    delays = [restarts.ended(0.0, was_killed=True) for _ in range(2000)]

    assert [FIRST_S, 2 * FIRST_S, 4 * FIRST_S] == delays[:3]
    assert {MOST_S} == {*delays[10:]}
    assert not restarts.is_hopeless
    assert [0.0, FIRST_S] == [restarts.ended(served_s, was_killed=True) for served_s in (BRIEF_S, 0.0)]


def test_a_kill_of_a_worker_that_had_settled_forgets_the_crashes_before():
    """They were long ago: the next crash is the first one."""
    restarts = Restarts()
    for _ in range(MOST_FAILURES - 1):
        restarts.ended(0.0)

    assert 0.0 == restarts.ended(SETTLED_S, was_killed=True)
    assert FIRST_S == restarts.ended(0.0)
    assert not restarts.is_hopeless
