"""The waits between attempts, and what they do to a server that comes back."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import Backoff, ConfigurationError


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_wait_is_within_its_bounds(failures, chance):
    """From 0 to first_s * factor**n, never above max_s, whatever n."""
    backoff = Backoff(first_s=0.5, factor=2.0, max_s=30.0)

    assert 0 <= backoff.wait_s(failures, lambda: chance) <= min(30.0, 0.5 * 2.0 ** min(failures, 10))


def test_the_longest_wait_doubles_to_its_limit():
    """0.5, 1, 2, … 30 seconds by default."""
    assert [0.5, 1, 2, 4, 8, 16, 30, 30] == [Backoff().longest_s(failures) for failures in range(8)]


@pytest.mark.parametrize("wrong", [{"first_s": 0}, {"factor": 0.5}, {"max_s": 0.1}, {"max_s": float("inf")}])
def test_a_back_off_that_is_none_is_refused(wrong):
    """When it is made, not when it is needed."""
    with pytest.raises(ConfigurationError):
        Backoff(**wrong)


def test_a_thousand_clients_do_not_come_back_at_once(figure):
    """T-91: lost at the same moment, with the server away for 20 s, they come back spread: told time, seeded chance."""
    chance = random.Random(91)
    backoff = Backoff()
    away_s, arrivals = 20.0, Counter()
    for _ in range(1000):
        at, failures = 0.0, 0
        while True:
            at += backoff.wait_s(failures, chance.random)
            if at >= away_s:
                break
            failures += 1
        arrivals[int(at)] += 1
    at_once = max(arrivals.values())

    assert at_once <= 100
    figure(f"T-91 1,000 clients, server back after 20 s: at most {at_once} connects/s when it is back")
