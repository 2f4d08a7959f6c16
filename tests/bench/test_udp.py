"""What a datagram costs that is echoed in batches: that it is measured, and every byte compared, not what it is."""

import pytest

from bench.udp import compare

pytestmark = pytest.mark.full


def test_each_datagram_has_a_cost():
    """Of the C loop and of both engines, in one run."""
    costs = compare(batches=20, repeat=2)

    assert {"recvmmsg(2)": 2, "native": 2, "pure": 2} == {name: len(of) for name, of in costs.items()}
    assert all(cost > 0 for of in costs.values() for cost in of)
