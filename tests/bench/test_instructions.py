"""Figures that a busy machine does not move: how they are shown, and that a server can be weighed."""

import pytest

from bench.build import UnavailableError
from bench.instructions import ROOT, table, weigh_idle


def test_figures_are_a_table_beside_those_of_before():
    """Each cell holds the figure, and by how much it differs from that of the same row and column."""
    figures = {"native, def": {"1 in flight": 3030.4, "idle bytes": 360.0}}
    before = {"native, def": {"1 in flight": 3000.0}}

    assert ("| | 1 in flight | idle bytes |\n| --- | ---: | ---: |\n| native, def | 3,030 (+1.0 %) | 360 |") == table(
        figures, before
    )


def test_an_idle_connection_is_weighed():
    """What one connection holds lies between its object's size and what a careless one would take."""
    assert 1_000 < weigh_idle("pure", "def-message", ROOT) < 20_000


def test_a_server_that_does_not_start_is_told():
    """The reason is what the server said."""
    with pytest.raises(UnavailableError, match="the server said"):
        weigh_idle("pure", "no-such-handler", ROOT)
