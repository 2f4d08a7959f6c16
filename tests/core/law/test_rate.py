"""The law of the message rate beside a list of the instants at which messages were handled."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.config import Limits, Timeouts
from penstock.units import Rate

TICKS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 8)), max_size=30)


def law_of(laws, rate, closes=False):
    limits = Limits(max_message_rate=rate, on_message_rate="close" if closes else "pause")
    levels = laws.levels.Levels(limits)
    law = laws.rate.Law(levels, laws.durations.Durations(Timeouts(idle_s=None)), 0.0)
    law._attached = True
    return law


def tokens(history, now, count, period):
    """Fill a bucket tick by tick (a tick is a tenth of a second): slow, and obvious."""
    level = float(count)
    for tick in range(now + 1):
        level = min(count, level + count / period) if tick else level
        level -= sum(spent for at, spent in history if at == tick)
    return level


@given(steps=TICKS, count=st.integers(1, 10), period=st.sampled_from([5, 10, 20]))
def test_as_many_may_be_handled_as_there_are_tokens(laws, steps, count, period):
    """Never more than the bucket holds, and never fewer than asked for when it holds them."""
    law = law_of(laws, Rate(count, period / 10))
    history, tick = [], 0
    for pause, wanted in steps:
        tick += pause
        held = tokens(history, tick, count, period)
        allowed = law._allows(wanted, tick / 10)

        assert min(wanted, max(0, int(held + 1e-4))) == allowed
        law._spends(allowed, tick / 10)
        history.append((tick, allowed))


def test_one_that_is_held_back_goes_on_when_there_is_a_token(laws):
    """Two a second: the third message of a moment is due half a second later."""
    law = law_of(laws, Rate(2, 1.0))
    law._spends(law._allows(2, 10.0), 10.0)

    assert 0 == law._allows(1, 10.0)
    assert 10.5 - 1e-5 < law._due_at(0) <= 10.5
    assert (laws.deadlines.NOT_DUE, laws.rate.MAY_GO_ON) == (law._due(10.4, 0), law._due(10.5, 0))
    assert laws.rate.GO_ON == law._expires(laws.rate.MAY_GO_ON, False)
    assert 1 == law._allows(5, 10.5)


def test_one_that_is_to_be_closed_is_told_so_at_the_first_message_too_many(laws):
    """And not before: a peer that sends exactly as much as it may goes on."""
    law = law_of(laws, Rate(2, 1.0), closes=True)
    law._spends(law._allows(2, 10.0), 10.0)

    assert (-1, 1) == (law._allows(1, 10.0), law._allows(1, 10.5))


def test_without_a_rate_nothing_is_held_back(laws):
    """And nothing is counted."""
    law = law_of(laws, None)
    law._spends(1000, 1.0)

    assert (64, 0.0) == (law._allows(64, 1.0), law._of_few().full_at)
