"""What a close after silence is likely to be."""

import pytest

from penstock.cli.silence import Silence
from penstock.testing.clock import ManualClock


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([2.9], ""),
        ([10.2], " after 10s without a message: it may wait no longer for the first"),
        (["sent", 2.9], ""),
        (["sent", 299.6], " after 5m of silence: it may close idle connections"),
        ([9.0, "heard", 1.0], ""),
        ([9.0, "heard", 4.0], " after 4s without a message: it may wait no longer for the first"),
        (["sent", 9.0, "heard", 61.0], " after 61s of silence: it may close idle connections"),
    ],
)
def test_the_cause_is_likely_where_there_was_silence(steps, expected):
    """Counted from what came or went last; a peer that closes while something is said has its own reasons."""
    clock = ManualClock()
    silence = Silence(clock.time)
    for step in steps:
        if isinstance(step, str):
            getattr(silence, step)()
        else:
            clock.advance(step)

    assert expected == silence.likely_cause()
