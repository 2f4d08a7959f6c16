"""What the pages take from the raw data is what the raw data says."""

from pathlib import Path

import pytest

from bench import pages, report

ROOT = Path(__file__).parents[2]


def test_only_what_stands_between_the_markers_is_made_anew():
    """And nothing changes when the content is the same."""
    page = "before\n<!-- bench:x:begin -->\nold\n<!-- bench:x:end -->\nafter\n"
    made = pages.renew(page, "x", "new")

    assert "before\n<!-- bench:x:begin -->\nnew\n<!-- bench:x:end -->\nafter\n" == made
    assert made == pages.renew(made, "x", "new")


@pytest.mark.parametrize("page", ["", "<!-- bench:x:begin -->", "<!-- bench:x:end --><!-- bench:x:begin -->"])
def test_a_page_without_its_markers_is_refused(page):
    """A marker that got lost is no reason to lose the text around it."""
    with pytest.raises(ValueError, match="bench:x:begin"):
        pages.renew(page, "x", "new")


@pytest.mark.parametrize("name", pages.PAGES)
def test_a_page_is_up_to_date(name):
    """`make bench-report` changes nothing: no figure was typed by hand."""
    block, make = pages.PAGES[name]
    page = (ROOT / name).read_text()

    assert page == pages.renew(page, block, make(report.newest(ROOT / "bench/results")))
