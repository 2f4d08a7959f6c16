"""One timer of the loop for all connections: each fires once, never early, at most a tick late."""

import contextlib
import contextvars
import gc
import itertools
import weakref
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.loop.timers import TICKS_PER_S, Timers
from penstock.testing.clock import ManualClock


class Loop:
    """As much of an event loop as is asked: its time moves by hand."""

    def __init__(self):
        self.clock = ManualClock(5000.3)
        self.soon = []
        self.wakings = 0

    def time(self):
        return self.clock.time()

    def call_at(self, when, callback, *, context):
        def run():
            self.wakings += 1
            context.run(callback)

        return self.clock.call_at(when, run)

    def call_soon(self, callback, *, context):
        self.soon.append((context, callback))

    def advance(self, seconds):
        """Move on a millisecond at a time, as a loop whose select(2) counts in those."""
        goal = self.time() + seconds
        while self.time() < goal:
            self.clock.advance(min(0.001, goal - self.time()))
            self.run_soon()

    def leap(self, seconds):
        """Move on in one step, as over a suspended process."""
        self.clock.advance(seconds)
        self.run_soon()

    def run_soon(self):
        soon, self.soon = self.soon, []
        for context, callback in soon:
            context.run(callback)


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def timers(loop):
    return Timers(loop)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "cancel", "advance", "leap"]), st.floats(0.0, 1.0), st.sampled_from([0.1, 3, 30, 4000])
    ),
    max_size=40,
)


@given(STEPS)
def test_every_timer_fires_once_and_never_early_unless_it_was_cancelled(steps):
    """However they are set, cancelled and passed over."""
    loop = Loop()
    timers = Timers(loop)
    fired, pending, expected = [], [], []
    for what, share, scale in steps:
        if what == "set":
            when = loop.time() + share * scale
            number = len(expected)
            expected.append(when)
            pending.append((number, timers.call_at(when, lambda number=number: fired.append((number, loop.time())))))
        elif what == "cancel" and pending:
            number, timer = pending.pop(int(share * (len(pending) - 1)))
            if number not in dict(fired):
                expected[number] = None
            timer.cancel()
            timer.cancel()
        elif what == "advance":
            loop.advance(share * min(scale, 0.1))
        elif what == "leap":
            loop.leap(share * scale)
    while loop.clock.pending:
        loop.leap(100.0)

    assert sorted(number for number, _ in fired) == [n for n, when in enumerate(expected) if when is not None]
    assert all(at >= expected[number] for number, at in fired)


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.01, 0.2501, 1.0, 15.99, 16.01, 30.0])
def test_a_timer_fires_within_a_tick(loop, timers, seconds):
    """However far ahead it was set: a tick, and the millisecond in which the loop counts."""
    fired = []
    when = loop.time() + seconds
    timers.call_at(when, lambda: fired.append(loop.time()))
    loop.advance(seconds + 0.01)

    assert 1 == len(fired)
    assert when <= fired[0] <= when + 1 / TICKS_PER_S + 0.001


def test_a_timer_that_is_never_due_is_no_trouble(loop, timers):
    """An infinite patience is looked at every 17 minutes."""
    timers.call_at(inf, lambda: pytest.fail("it came"))
    loop.leap(10_000.0)

    assert 1 == loop.clock.pending


def test_ten_thousand_that_come_and_go_set_few_timers_of_the_loop(loop, timers):
    """A connection that is over soon leaves nothing to the loop."""
    for _ in range(10_000):
        timer = timers.call_at(loop.time() + 10.0, lambda: pytest.fail("it was cancelled"))
        loop.leap(0.0001)
        timer.cancel()
    loop.leap(20.0)

    assert 20 >= loop.wakings
    assert 0 == loop.clock.pending


def test_one_that_cancels_another_of_the_same_instant(loop, timers):
    """Whichever comes first, the other does not come."""
    fired, handles = [], {}
    for mine, other in (("a", "b"), ("b", "a")):

        def callback(mine=mine, other=other):
            fired.append(mine)
            handles[other].cancel()

        handles[mine] = timers.call_at(loop.time() + 1.0, callback)
    loop.leap(2.0)

    assert 1 == len(fired)


def test_a_cancelled_timer_lets_go_of_what_it_would_have_called(timers, loop):
    """At once, and not when it would have been due."""

    class Connection:
        def tick(self):
            """Be called."""

    connection = Connection()
    timer = timers.call_at(loop.time() + 60.0, connection.tick)
    gone = weakref.ref(connection)
    timer.cancel()
    del connection
    gc.collect()

    assert gone() is None


def test_a_timer_runs_in_the_context_of_the_server(loop):
    """And not of whichever connection was the first to set one."""
    name = contextvars.ContextVar("name", default="nobody")
    name.set("server")
    timers = Timers(loop)
    seen = []
    contextvars.copy_context().run(
        lambda: (name.set("peer"), timers.call_at(loop.time(), lambda: seen.append(name.get())))
    )
    loop.leap(0.01)

    assert ["server"] == seen


def test_after_the_close_nothing_comes(loop, timers):
    """A server that has stopped leaves no timer in somebody else's loop."""
    timers.call_at(loop.time() + 1.0, lambda: pytest.fail("it came"))
    timers.close()

    assert 0 == loop.clock.pending

    loop.leap(2.0)


def test_a_timer_that_cannot_be_run_for_want_of_memory_is_run_later(loop, timers, monkeypatch):
    """None is forgotten: a connection whose deadline was lost would be there for ever."""
    fired = []
    for number in range(3):
        timers.call_at(loop.time() + 1.0, lambda number=number: fired.append(number))

    def without_memory(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_soon", without_memory)
        with pytest.raises(MemoryError):
            loop.leap(1.5)
    loop.leap(0.5)

    assert [0, 1, 2] == sorted(fired)


def test_an_earlier_timer_that_finds_no_memory_leaves_those_before_it(loop, timers, monkeypatch):
    """The loop has their waking until it has another: else nothing would be called any more."""
    fired = []
    timers.call_at(loop.time() + 1.0, lambda: fired.append("before"))

    def without_memory(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_at", without_memory)
        with pytest.raises(MemoryError):
            timers.call_at(loop.time() + 0.1, lambda: fired.append("none"))
    timers.call_at(loop.time() + 1.5, lambda: fired.append("after"))
    loop.leap(2.0)

    assert ["before", "after"] == fired


@pytest.mark.parametrize("failing", range(1, 6))
def test_those_that_are_left_are_called_though_a_waking_found_no_memory(loop, timers, monkeypatch, failing):
    """While timers are run there is no waking but the one that is asked for at the end."""
    fired = []
    for seconds in (0.1, 1.0, 2.0):
        timers.call_at(loop.time() + seconds, lambda seconds=seconds: fired.append(seconds))
    wakings = itertools.count(1)
    call_at = loop.call_at

    def without_memory(*args, **options):
        if next(wakings) == failing:
            raise MemoryError
        return call_at(*args, **options)

    monkeypatch.setattr(loop, "call_at", without_memory)
    for _ in range(6):
        with contextlib.suppress(MemoryError):  # told by the loop
            loop.leap(0.5)

    assert [0.1, 1.0, 2.0] == fired
