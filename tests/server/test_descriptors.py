"""How many connections there are descriptors for."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.server.descriptors import affordable, descriptors_for


@given(st.integers(1, 10_000_000))
def test_what_is_asked_for_is_enough(connections):
    """The two formulas are each other's inverse, where there are descriptors enough for the whole reserve."""
    wanted = descriptors_for(connections)

    assert connections <= affordable(max(wanted, 256))
