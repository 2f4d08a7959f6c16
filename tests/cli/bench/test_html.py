"""The page of the report, and the data of its plots."""

import json
import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.bench.html import bins, page, percentile_curve, plot_data, thinned
from penstock.load.histogram import Histogram
from penstock.load.measured import Interval, Measured

from .conftest import load_of

TIMES = st.lists(st.floats(1e-7, 100.0), min_size=1, max_size=200)


def counted(times):
    """Return a histogram of times."""
    histogram = Histogram()
    for seconds in times:
        histogram.record(seconds)
    return histogram


def data_of(text):
    """Return the data that stand in a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_a_percentile_curve_begins_at_the_shortest_and_never_falls():
    """Half of the times lie below where 0.3 of a nine is."""
    points = percentile_curve(counted([0.001, 0.002, 0.003, 0.004]))

    assert [0.0, 0.12, 0.3, 0.6, 0.6] == [round(nines, 2) for nines, _ in points]
    assert [1.0, 1.0, 2.0, 3.0, 4.0] == [round(seconds * 1000, 2) for _, seconds in points]


@given(TIMES)
def test_a_thinned_curve_keeps_its_shape(times):
    """It rises, no longer than a screen can show, from the shortest time to the longest."""
    whole = percentile_curve(counted(times))
    points = thinned(whole)

    assert points == sorted(points)
    assert points[-1][1] == whole[-1][1]
    assert len(points) <= len(whole)
    assert len({nines for nines, _ in points}) == len(points)


@given(TIMES)
def test_bars_count_every_time_once_without_a_gap(times):
    """Each is as wide as the next on a logarithmic axis."""
    found = bins(counted(times))
    ratios = [after / before for before, after in zip(found["at_s"], found["at_s"][1:], strict=False)]

    assert len(times) == sum(found["count"])
    assert ratios == pytest.approx([10 ** (1 / 16)] * len(ratios))
    assert 0 not in (found["count"][0], found["count"][-1])


def test_of_nothing_there_is_no_plot():
    """And the page says so, and has no script that would draw it."""
    text = page(load_of("tcp://127.0.0.1:9"), Measured())

    assert [] == percentile_curve(Histogram())
    assert (1, 0, 0) == (text.count("<p>nothing was measured</p>"), text.count('class="plot"'), text.count("new uPlot"))


def test_each_interval_is_in_the_data():
    """With its rate, its errors and its latencies; without a pace there is one curve."""
    measured = Measured(intervals=[Interval(0.5, 0.5, 10), Interval(1.0, 0.5, 20, 1, {1000: 19, 2000: 1})])
    data = plot_data(load_of("tcp://127.0.0.1:9"), measured)

    assert {
        "ended_s": [0.5, 1.0],
        "replies_per_s": [20.0, 40.0],
        "errors_per_s": [0.0, 2.0],
        "p50_s": [0.0, 1e-6],
        "p99_s": [0.0, 2e-6],
        "max_s": [0.0, 2e-6],
    } == data["intervals"]
    assert (True, ["from sent"]) == (data["has_errors"], [curve["label"] for curve in data["curves"]])


@pytest.mark.parametrize("hostile", ["/<b>&", "/</script><script>alert(1)</script>", "/<!--<script>", "/\"'>"])
def test_what_a_user_named_is_text_on_the_page(hostile):
    """A path of a Unix socket may hold anything, and so may a command line and the name of an error."""
    measured = Measured(latency=counted([0.001]))
    measured.errors[hostile] = 1
    text = page(load_of("unix:x"), measured, command_line=hostile)
    scripts = re.findall(r"<script[^>]*>", text)

    assert hostile not in text
    assert ["<script>", "<script>"] == [
        each for each in scripts if each != '<script type="application/json" id="data">'
    ]
    assert data_of(text)["curves"]


def test_the_library_is_the_one_that_was_pinned():
    """With its licence beside it, and nothing of it changed."""
    assets = files("penstock.cli.bench") / "assets"

    assert "(v1.6.32)" in (assets / "uPlot.iife.min.js").read_text()[:80]
    assert (assets / "uPlot.LICENSE").read_text().startswith("The MIT License (MIT)")
