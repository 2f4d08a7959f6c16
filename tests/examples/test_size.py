"""What an example is: something to read at once."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

NOT_OF_THEM = {"kv.py"}  # as much of Redis as redis-benchmark asks for


@pytest.mark.parametrize("path", sorted(set(EXAMPLES.glob("*.py"))), ids=lambda path: path.name)
def test_an_example_has_less_than_120_lines(path):
    """And is one file: what needs more needs something that Penstock has not."""
    if path.name in NOT_OF_THEM:
        pytest.skip("a server to be measured, not an example to be read")

    assert len(path.read_text().splitlines()) < 120


@pytest.mark.parametrize("name", ["gateway", "memcached", "modbus", "mqtt", "smtp", "syslogd"])
def test_each_protocol_is_one_file(name):
    """None of the six has a second one beside it."""
    assert [f"{name}.py"] == [path.name for path in EXAMPLES.glob(f"{name}*.py")]
