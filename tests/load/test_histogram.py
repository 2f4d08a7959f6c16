"""The histogram of ``penstock bench``, against the sorted list of what it counted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.load.histogram import PERCENTILES, Growth, Histogram, percentile_of, together

TIMES = st.lists(st.floats(0, 10_000), min_size=1, max_size=200)


def of(times):
    """A histogram that counted these."""
    histogram = Histogram()
    for seconds in times:
        histogram.record(seconds)
    return histogram


def state_of(histogram):
    """All that it is."""
    return histogram.counts, histogram.count, histogram.max_s, histogram.total_s


@given(st.lists(st.tuples(st.floats(-1, 100_000), st.integers(1, 1000)), max_size=100))
def test_what_compiled_code_counts_into_it_is_the_same(times):
    """In every bucket; and nothing is left when it forgets."""
    native = pytest.importorskip("penstock.load.native.counts")
    python, compiled = Histogram(), Histogram()
    counts = native.Counts(compiled)
    for seconds, count in times:
        python.record(seconds, count)
        counts.record(seconds, count)
    counts.tell()

    assert state_of(python) == state_of(compiled)
    counts.forget()
    counts.tell()
    assert state_of(Histogram()) == state_of(compiled)


@given(TIMES, TIMES)
def test_two_added_up_are_one_that_counted_all(one, other):
    """As those of several processes are; what is cleared is as new."""
    whole = of(one)
    whole.add(of(other))

    assert of([*one, *other]).counts == whole.counts
    assert (len(one) + len(other), max(*one, *other)) == (whole.count, whole.max_s)
    whole.clear()
    assert state_of(Histogram()) == state_of(whole)


@given(TIMES, st.sampled_from(PERCENTILES))
def test_a_percentile_is_the_exact_one_to_a_thousandth(times, percent):
    """The smallest time that so many do not exceed; never above the longest."""
    exact = sorted(times)[max(1, math.ceil(len(times) * percent / 100)) - 1]
    told = of(times).percentile(percent)

    assert exact * 0.999 - 1e-9 <= told <= exact * 1.001 + 2e-9
    assert told <= max(times)


@given(TIMES)
def test_the_longest_the_mean_and_the_number_are_exact(times):
    """They are kept beside the buckets."""
    histogram = of(times)

    assert (max(times), len(times)) == (histogram.max_s, histogram.count)
    assert pytest.approx(sum(times) / len(times)) == histogram.mean_s


@given(st.floats(0, 10_000), st.integers(1, 1000))
def test_many_at_once_are_as_many_one_by_one(seconds, count):
    """A batch of replies has one time."""
    histogram = Histogram()
    histogram.record(seconds, count)
    singly = of([seconds] * count)

    assert list(singly.buckets()) == list(histogram.buckets())
    assert singly.count == histogram.count


@given(TIMES)
def test_buckets_hold_everything_in_order(times):
    """Each time is in one of them, and none is wider than a thousandth."""
    buckets = list(of(times).buckets())

    assert len(times) == sum(count for _, count in buckets)
    assert sorted(buckets) == buckets


def test_what_is_empty_is_zero():
    """No percentile, no mean, no longest."""
    empty = Histogram()

    assert (0.0, 0.0, 0.0) == (empty.percentile(99), empty.mean_s, empty.max_s)


@pytest.mark.parametrize(("seconds", "counted"), [(-1.0, 0.0), (1e9, (2**44 - 1) / 1e9)])
def test_what_no_clock_says_is_counted_at_the_end_it_is_beyond(seconds, counted):
    """Nothing is lost, nothing is raised."""

    assert [(counted, 1)] == list(of([seconds]).buckets())


@given(first=TIMES, second=TIMES)
def test_what_has_come_since_the_last_look_is_known(first, second):
    """Bucket by bucket; all looks together are all that was counted."""
    histogram, growth = Histogram(), Growth()
    looks = []
    for times in (first, second):
        for seconds in times:
            histogram.record(seconds)
        looks.append(growth.since(histogram))
    whole = together(*looks)

    assert [len(first), len(second)] == [sum(look.values()) for look in looks]
    assert [count for _, count in histogram.buckets()] == [whole[index] for index in sorted(whole)]
    assert {} == growth.since(histogram)


@given(times=TIMES, percent=st.sampled_from([1.0, 50.0, 99.0, 100.0]))
def test_a_percentile_of_few_times_is_that_of_their_histogram(times, percent):
    """But that the longest is known to a thousandth only."""
    histogram = Histogram()
    for seconds in times:
        histogram.record(seconds)
    found = percentile_of(Growth().since(histogram), percent)

    assert histogram.percentile(percent) == min(found, histogram.max_s)
