"""Figures for people."""

import pytest

from penstock.cli.ctl.table import age, number, size, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0s"), (59.9, "59.9s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90000, "1d01h")],
)
def test_an_age_has_two_units(seconds, text):
    """Enough to compare by."""
    assert text == age(seconds)


@pytest.mark.parametrize(
    ("count", "text"), [(None, "unknown"), (0, "0"), (9999, "9999"), (10_000, "9KiB"), (123_456_789, "117MiB")]
)
def test_a_size_is_short(count, text):
    """Four digits at most."""
    assert text == size(count)


def test_columns_stand_under_their_heads():
    """Numbers to the right; what a peer chose cannot move the cursor."""
    lines = table(("N", "PEER"), [(number(1234), "a\x1b[2J"), (5, "b")], right=[0]).split("\n")

    assert ["    N  PEER", "1,234  a\\x1b[2J", "    5  b"] == lines
