"""Time that is told."""

from penstock.testing.clock import ManualClock


def test_it_stands_still_until_it_is_told():
    """And is then where it was told to be."""
    clock = ManualClock(100.0)
    assert 100.0 == clock.time()
    clock.advance(2.5)

    assert 102.5 == clock.time()


def test_timers_are_called_in_their_order_at_their_instants():
    """Each at its own time, those of one instant in the order in which they were set; not a tick before."""
    clock = ManualClock(0.0)
    calls = []
    for when, name in ((2.0, "two"), (1.0, "one"), (2.0, "two again"), (4.0, "four")):
        clock.call_at(when, lambda name=name: calls.append((name, clock.time())))
    clock.advance(3.75)
    assert [("one", 1.0), ("two", 2.0), ("two again", 2.0)] == calls
    clock.advance(0.25)

    assert ("four", 4.0) == calls[-1]
    assert 0 == clock.pending


def test_a_timer_that_was_cancelled_is_not_called():
    """Nor does it count as pending."""
    clock = ManualClock(0.0)
    calls = []
    timer = clock.call_at(1.0, lambda: calls.append("cancelled"))
    clock.call_at(1.0, lambda: calls.append("kept"))
    timer.cancel()
    assert 1 == clock.pending
    clock.advance(1.0)

    assert ["kept"] == calls


def test_a_timer_may_set_another():
    """One that falls due on the way is called on the way."""
    clock = ManualClock(0.0)
    calls = []

    def again():
        calls.append(clock.time())
        clock.call_at(clock.time() + 1.0, again)

    clock.call_at(1.0, again)
    clock.advance(3.0)

    assert [1.0, 2.0, 3.0] == calls


def test_a_timer_in_the_past_is_called_at_once():
    """At the present: time never goes back."""
    clock = ManualClock(10.0)
    calls = []
    clock.call_at(5.0, lambda: calls.append(clock.time()))
    clock.advance(0.0)

    assert [10.0] == calls
