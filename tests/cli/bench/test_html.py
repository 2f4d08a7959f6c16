"""The curves of the report."""

import pytest

from penstock.cli.bench.html import page, percentile_curve, plot, rate_steps
from penstock.load.histogram import Histogram
from penstock.load.measured import Interval, Measured

from .conftest import load_of


def measured_of(*intervals):
    """Return what was measured in such intervals: (end, length, replies)."""
    return Measured(intervals=[Interval(*interval) for interval in intervals])


@pytest.mark.parametrize(
    ("intervals", "points"),
    [
        ([], []),
        ([(0.5, 0.5, 10)], [(0.0, 20.0), (0.5, 20.0)]),
        ([(1.0, 1.0, 5), (1.5, 0.5, 5)], [(0.0, 5.0), (1.0, 5.0), (1.0, 10.0), (1.5, 10.0)]),
        ([(0.0, 0.0, 0)], [(0.0, 0.0), (0.0, 0.0)]),
    ],
)
def test_each_interval_is_a_step(intervals, points):
    """As wide as it was long: even one alone can be seen."""
    assert points == rate_steps(measured_of(*intervals))


def test_a_percentile_curve_begins_at_the_shortest_and_never_falls():
    """Half of the times lie below where 0.3 of a nine is."""
    histogram = Histogram()
    for milliseconds in (1, 2, 3, 4):
        histogram.record(milliseconds / 1000)
    points = percentile_curve(histogram)

    assert [0.0, 0.12, 0.3, 0.6, 0.6] == [round(nines, 2) for nines, _ in points]
    assert [1.0, 1.0, 2.0, 3.0, 4.0] == [round(seconds * 1000, 2) for _, seconds in points]


def test_of_nothing_there_is_no_plot():
    """And the page says so."""
    text = page(load_of("tcp://127.0.0.1:9"), Measured(), 6)

    assert [] == percentile_curve(Histogram())
    assert "<p>nothing was measured</p>" == plot([[]], str, "s")
    assert (0, 2) == (text.count("<svg"), text.count("<p>nothing was measured</p>"))


def test_what_a_user_named_is_text_on_the_page():
    """A path of a Unix socket may hold anything."""
    text = page(load_of("unix:/<b>&"), Measured(), 6)

    assert "<b>" not in text
    assert "/&lt;b&gt;&amp;" in text
