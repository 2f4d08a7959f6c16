"""What a delivery to a member of a group costs: that it is measured, not what it is."""

import pytest

from bench.groups import compare

pytestmark = pytest.mark.full


def test_each_delivery_has_a_cost():
    """Of the C loop, of lines and of JSON, in one run."""
    least = compare(members=20, rounds=2, repeat=1)

    assert ["send(2)", "lines", "json-lines"] == list(least)
    assert all(cost > 0 for cost in least.values())
