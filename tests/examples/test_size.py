"""What an example is: something to read at once."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

NOT_OF_THEM = {"kv.py"}  # as much of Redis as redis-benchmark asks for


@pytest.mark.parametrize("path", sorted(set(EXAMPLES.glob("*.py"))), ids=lambda path: path.name)
def test_an_example_has_less_than_120_lines(path):
    """What needs more is two files: what is on the wire, and what is done with it."""
    if path.name in NOT_OF_THEM:
        pytest.skip("a server to be measured, not an example to be read")

    assert len(path.read_text().splitlines()) < 120
