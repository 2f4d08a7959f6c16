"""The bar chart: well-formed, and as long as the figures say."""

from xml.etree import ElementTree as ET

import pytest

from bench.stats import Spread
from bench.svg import BARS_PX, Bar, bar_chart

SVG = "{http://www.w3.org/2000/svg}"


def bars_of(text):
    """Return class and width of each bar drawn."""
    return [(rect.get("class"), float(rect.get("width"))) for rect in ET.fromstring(text).iter(f"{SVG}rect")]


def test_bars_are_in_proportion():
    """The longest is as wide as the chart, the others in linear proportion."""
    chart = bar_chart("Work", "µs", [Bar("a", Spread.of([1]), True), Bar("b", Spread.of([4]), False)])

    assert [("ours", BARS_PX / 4), ("theirs", BARS_PX)] == bars_of(chart)
    assert "logarithmic" not in chart


def test_figures_far_apart_are_drawn_on_a_logarithmic_scale():
    """And the chart says so."""
    chart = bar_chart("Work", "µs", [Bar("a", Spread.of([1]), True), Bar("b", Spread.of([100]), False)])

    assert "logarithmic" in chart
    assert [("ours", 1), ("theirs", BARS_PX)] == bars_of(chart)


def test_text_is_escaped():
    """A title is text, not markup."""
    root = ET.fromstring(bar_chart("<b> & co", "µs", [Bar("<x>", Spread.of([1]), False)]))

    assert {"<b> & co", "<x>"} <= {text.text for text in root.iter(f"{SVG}text")}


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_a_figure_of_nothing_or_less_is_drawn(value):
    """Memory may shrink; the chart stays well-formed."""
    assert 1 == len(bars_of(bar_chart("Memory", "bytes", [Bar("a", Spread.of([value]), False)])))
