"""The keeper of orphans when a timer finds no memory."""

import pytest

from penstock.config import Timeouts
from penstock.core.gate import Gate
from penstock.engines.orphans import OrphanKeeper
from penstock.testing.clock import ManualClock


class Orphan:
    """As much of one as its keeper asks."""

    handler_ended = False
    messages_begun = 0

    def __init__(self, number, after_close_s):
        self.id = number
        self.timeouts = Timeouts(after_close_s=after_close_s)

    def handler_place(self):
        return "app.py:1"


class Clock(ManualClock):
    """It may have no memory for a timer."""

    has_memory = True

    def call_at(self, when, callback):
        if not self.has_memory:
            raise MemoryError
        return super().call_at(when, callback)


def test_an_earlier_look_that_finds_no_memory_leaves_the_one_before():
    """Else nothing would tell of any of them any more."""
    clock, events = Clock(), []
    keeper = OrphanKeeper(Gate(), clock, events.append, cancels=False)
    keeper.join(Orphan(1, 10.0))
    clock.has_memory = False
    with pytest.raises(MemoryError):
        keeper.join(Orphan(2, 5.0))
    clock.has_memory = True
    clock.advance(10.0)

    assert {1, 2} == {event.connection.id for event in events if event.name == "orphan_overdue"}
