"""The pace of an open loop: when each request is due, in Python and compiled."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.load.pace import Pace

RATES = st.integers(0, 10_000_000)
PACES = st.builds(
    Pace,
    first=RATES,
    last=RATES,
    ramp_s=st.one_of(st.just(0.0), st.floats(0.001, 3600.0)),
).filter(lambda pace: (pace.first or pace.last) if pace.ramp_s else pace.last)
SHARES = st.integers(1, 256).flatmap(lambda stride: st.tuples(st.just(stride), st.integers(0, stride - 1)))
# What rounding may do to an instant.
ALMOST = 1e-6


def compiled(pace):
    """Return its compiled twin."""
    return pytest.importorskip("penstock.load.native.pace").Pace(pace)


@pytest.fixture(scope="module", params=[lambda pace: pace, compiled], ids=["python", "compiled"])
def kept(request):
    """A function that returns what keeps a pace."""
    return request.param


@given(pace=PACES, share=SHARES, number=st.integers(0, 10**9))
def test_a_request_is_due_when_it_is_due(kept, pace, share, number):
    """`due` is the inverse of `due_at`: then, it is the latest; rounding may make it the next one."""
    pace = kept(replace(pace, stride=share[0], offset=share[1]))
    at = pace.due_at(number)

    assert at == math.inf or pace.due(at) in {number, number + 1}


@given(pace=PACES, share=SHARES, seconds=st.floats(0, 7200))
def test_at_each_instant_the_latest_was_due_and_the_next_one_is_not(kept, pace, share, seconds):
    """`due_at` is the inverse of `due`, but for rounding: the fewer are sent, the less exactly an instant is known."""
    pace = kept(replace(pace, stride=share[0], offset=share[1]))
    due = pace.due(seconds)

    assert due == 0 or pace.due_at(due - 1) <= seconds * (1 + ALMOST) + ALMOST
    assert pace.due_at(due) >= seconds * (1 - ALMOST) - ALMOST


@given(pace=PACES, share=SHARES, seconds=st.floats(0, 7200), number=st.integers(0, 10**9))
def test_the_compiled_pace_is_the_same(pace, share, seconds, number):
    """To the last bit."""
    pace = replace(pace, stride=share[0], offset=share[1])
    twin = compiled(pace)

    assert (pace.due(seconds), pace.due_at(number)) == (twin.due(seconds), twin.due_at(number))


@given(pace=PACES, seconds=st.floats(0, 60), later=st.floats(0, 60))
def test_time_takes_nothing_back(kept, pace, seconds, later):
    """What was due is due."""
    pace = kept(pace)

    assert pace.due(seconds) <= pace.due(seconds + later)


@given(pace=PACES, number=st.integers(0, 10**9))
def test_requests_are_due_in_their_order(kept, pace, number):
    """The first at once."""
    pace = kept(pace)

    assert 0.0 == pace.due_at(0)
    assert pace.due_at(number) <= pace.due_at(number + 1)


@given(pace=PACES, stride=st.integers(1, 64), seconds=st.floats(0, 60))
def test_several_keep_a_pace_together(pace, stride, seconds):
    """At each instant as many are due as one would have sent, and as many within each time."""
    shares = [replace(pace, stride=stride, offset=number) for number in range(stride)]

    assert pace.due(seconds) == sum(share.due(seconds) for share in shares)
    assert pace.within(seconds) == sum(share.within(seconds) for share in shares)


@pytest.mark.parametrize(
    ("pace", "seconds", "due"),
    [
        (Pace(500, 500), 2.0, 1000),
        (Pace(3, 3), 1.0, 3),
        (Pace(3, 3), 0.0, 0),
        (Pace(0, 400, 0.3), 0.3, 60),
        (Pace(400, 0, 0.3), 0.3, 60),
        (Pace(400, 0, 0.3), 9.0, 60),
        (Pace(100, 5000, 30.0), 30.0, 76_500),
        (Pace(100, 5000, 30.0), 31.0, 81_500),
        (Pace(10_000_000, 10_000_000), 3600.0, 36_000_000_000),
    ],
)
def test_a_run_of_a_length_has_so_many(pace, seconds, due):
    """Those due before it is over."""
    assert due == pace.within(seconds)


def test_what_is_never_due_is_due_at_infinity(kept):
    """A ramp that ends at nothing."""
    pace = kept(Pace(400, 0, 0.3))

    assert math.inf == pace.due_at(61)


@pytest.mark.parametrize(("pace", "rate"), [(Pace(5, 9, 1.0), 5), (Pace(0, 9, 1.0), 9), (Pace(7, 7, 0.0, 3, 2), 7)])
def test_a_warm_up_keeps_the_pace_of_the_beginning(pace, rate):
    """That of the end, where there is none."""
    assert replace(pace, first=rate, last=rate, ramp_s=0.0) == pace.before
