"""What several workers cost: that it is measured, not what it is."""

import pytest

from bench.build import UnavailableError
from bench.machine import choose_cores
from bench.workers import cpu, idle, instructions, spread

GIB = 2**30

pytestmark = pytest.mark.timeout(180)


@pytest.mark.full
@pytest.mark.parametrize("unix", [False, True])
def test_connections_are_counted_by_worker(unix):
    """The busiest has the mean at least, and all of them at most."""
    assert 1 <= spread(2, 20, unix=unix, engine="pure") <= 2


def test_idle_connections_are_held_and_answer_again():
    """As many as asked for, spread over workers, each of which has memory of its own."""
    seen = idle(60, engine="pure", memory_bytes=GIB, say=lambda _: None)

    assert (60, 2, 60) == (seen["connections"], seen["workers"], seen["have answered again"])


@pytest.mark.full
def test_a_message_of_two_workers_has_a_cost_beside_that_of_one():
    """Of each round, one ratio."""
    ratios = cpu(1, engine="pure", rounds=2, seconds=0.05, core=choose_cores().server, connections=4)

    assert 2 == len(ratios)
    assert all(ratio > 0 for ratio in ratios)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_instructions_are_those_of_the_process_that_serves():
    """Under a supervisor it is its worker that is told to count."""
    try:
        found = instructions(1, engine="pure")
    except UnavailableError as error:
        pytest.skip(str(error))

    assert found["1 in flight"] > found["32 in flight"] > 0
