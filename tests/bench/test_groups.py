"""What a delivery to a member of a group costs: that it is measured, not what it is."""

import pytest

from bench.groups import compare

pytestmark = pytest.mark.full


def test_each_delivery_has_a_cost():
    """Of the C loop, of lines and of JSON, in one run."""
    costs = compare(members=20, rounds=2, repeat=2)

    assert {"send(2)": 2, "lines": 2, "json-lines": 2} == {name: len(of) for name, of in costs.items()}
    assert all(cost > 0 for of in costs.values() for cost in of)
