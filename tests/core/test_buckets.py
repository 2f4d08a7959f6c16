"""Token buckets: a burst, then an even rate, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.buckets import Bucket, Buckets
from penstock.units import Rate


def admitted(bucket, instants):
    """Take a token at each of the instants at which there is one; return those."""
    return [now for now in instants if bucket.take(now)]


def test_a_full_bucket_gives_its_count_at_once_and_then_waits_for_one():
    """Ten a minute: ten at once, the eleventh after six seconds."""
    bucket = Bucket(Rate(10, 60.0))

    assert 10 == len(admitted(bucket, [1000.0] * 20))
    assert pytest.approx(1006.0) == bucket.ready_at()
    assert [1006.5] == admitted(bucket, [1005.5, 1006.5, 1006.6])


@given(st.integers(1, 20), st.floats(0.1, 100.0), st.lists(st.floats(0.0, 50.0), max_size=200), st.floats(0.0, 1e6))
def test_in_no_stretch_of_time_more_are_admitted_than_the_rate_and_one_burst(count, period_s, gaps, start):
    """Whatever the pattern, between two admissions lies their share of the period, but for a burst of ``count``."""
    bucket = Bucket(Rate(count, period_s))
    now, instants = start, []
    for gap in gaps:
        now += gap / 10
        instants.append(now)
    taken = admitted(bucket, instants)
    slack = 2e-6 * max(1.0, now)

    assert all(
        (later - first + slack) * count / period_s >= position - count + 1
        for first_at, first in enumerate(taken)
        for position, later in enumerate(taken[first_at:])
    )


@given(st.integers(1, 5), st.lists(st.floats(0.0, 10.0), max_size=50))
def test_there_is_a_token_from_the_instant_on_that_was_told(count, gaps):
    """Not before it, and then there is one."""
    bucket = Bucket(Rate(count, 10.0))
    now = 1000.0
    for gap in gaps:
        now += gap
        ready = bucket.ready_at() <= now

        assert ready == bucket.take(now)


def test_each_key_has_a_bucket_of_its_own():
    """What one used up another has."""
    buckets = Buckets(Rate(1, 10.0))

    assert [True, False, True] == [buckets.take(key, 100.0) for key in ("a", "a", "b")]
    assert [False, True] == [buckets.take("a", now) for now in (109.9, 110.0)]


def test_a_token_that_was_put_back_is_there_again():
    """As if nobody had come, and no more than was there."""
    buckets = Buckets(Rate(2, 10.0))
    buckets.take("a", 100.0)
    buckets.take("a", 101.0)
    buckets.give_back("a")

    assert [True, False] == [buckets.take("a", 101.0) for _ in range(2)]


def test_a_key_that_is_at_rest_is_forgotten():
    """Memory follows those who came lately, not all who ever came."""
    buckets = Buckets(Rate(1, 10.0))
    for index in range(1000):
        buckets.take(index, 100.0 + index)

    assert 22 >= len(buckets)


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 8.0)), max_size=100))
def test_each_key_has_what_a_bucket_of_its_own_would_have(count, steps):
    """Whoever else comes, and whenever what is at rest is forgotten, nobody gets a token more or less."""
    buckets = Buckets(Rate(count, 10.0))
    alone = {key: Bucket(Rate(count, 10.0)) for key in range(4)}
    now = 1000.0
    for key, gap in steps:
        now += gap

        assert alone[key].take(now) == buckets.take(key, now)


def test_memory_is_bounded_whoever_comes():
    """A flood of new addresses at one instant pushes out the oldest, not the latest fifty."""
    buckets = Buckets(Rate(1, 1000.0), max_keys=100)
    for index in range(5000):
        buckets.take(index, 50.0)

    assert 50 <= len(buckets) <= 100
    assert not any(buckets.take(index, 50.0) for index in range(4950, 5000))
    assert buckets.take(0, 50.0)
