"""The memory ladder: steps up at once, down with slack; the most expensive first and no more than needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.memory import Ladder, Pressure, most_expensive


@pytest.mark.parametrize(
    ("readings", "steps"),
    [
        ([0, 79], ["CALM", "CALM"]),
        ([80, 90, 95, 100], ["PAUSE", "REFUSE", "SHED", "SHED"]),
        ([99], ["SHED"]),
        ([95, 91, 89, 86, 84, 76, 74], ["SHED", "SHED", "REFUSE", "REFUSE", "PAUSE", "PAUSE", "CALM"]),
        ([80, 79, 80, 79], ["PAUSE"] * 4),
    ],
)
def test_a_step_begins_at_its_threshold_and_ends_five_percent_below(readings, steps):
    """One connection more or less does not switch it on and off."""
    ladder = Ladder(100)

    assert steps == [ladder.read(used).name for used in readings]
    assert steps[-1] == ladder.pressure.name


def test_what_has_to_go_is_what_is_above_the_step_before():
    """Back at 90 %, nobody is ended any more."""
    ladder = Ladder(1000)

    assert [0, 0, 60] == [ladder.excess_bytes(used) for used in (100, 900, 960)]


@given(st.lists(st.integers(0, 1000), max_size=30), st.integers(-10, 5000))
def test_the_most_expensive_go_first_and_no_more_of_them_than_needed(costs, excess):
    """Without the last one chosen it would not be enough; nobody who stays holds more than one who goes."""
    chosen = most_expensive(enumerate(costs), excess)
    freed = [costs[key] for key in chosen]
    stay = [cost for key, cost in enumerate(costs) if key not in chosen]

    assert all(cost > 0 for cost in freed)
    assert sum(freed) >= min(excess, sum(costs)) or not any(stay)
    assert not freed or sum(freed[:-1]) < excess
    assert not (freed and stay) or min(freed) >= max(stay)


def test_the_steps_are_in_order():
    """Each does what those before it do, and more."""

    assert Pressure.CALM < Pressure.PAUSE < Pressure.REFUSE < Pressure.SHED
