"""The law of output beside a list of the bytes themselves: what the kernel took, what the link holds, what waits."""

from functools import partial
from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from penstock.config import Limits, Timeouts
from penstock.reasons import CloseReason

HIGH, LOW, MOST = 100, 30, 300
LIMITS = Limits(write_high_bytes=HIGH, write_low_bytes=LOW, write_max_bytes=MOST, slow_consumer="drop_oldest")
ROOM = st.sampled_from([10**9, 250, 60])


class OutputMachine(RuleBasedStateMachine):
    """A link that is filled and emptied at random, and the law that watches it."""

    def __init__(self, laws):
        super().__init__()
        self.closing, self.output = laws.closing, laws.output
        levels, durations = laws.levels.Levels(LIMITS), laws.durations.Durations(Timeouts(write_s=5.0))
        self.law = self.output.Output(levels, durations, 0.0)
        self.law._attached = True
        self.now = 0.0
        self.link = bytearray()  # what the kernel did not take
        self.taken = 0  # what it took
        self.paused = False
        self.stalled = None  # when, and what had been taken by then
        self.is_closing = False

    def words(self, *names):
        return sum(getattr(self.output, name) for name in names)

    @rule(seconds=st.integers(0, 9))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.law._state != self.closing.CLOSED)
    @rule(size=st.integers(1, 150), room=ROOM)
    def bytes_are_handed_to_the_link(self, size, room):
        self.link += bytes(size)
        self.law.bytes_out += size
        high = 0 if self.is_closing else min(HIGH, room)
        expected = 0
        if not self.paused and len(self.link) > high:
            self.paused = True
            if not self.is_closing:
                self.stalled = (self.now, self.taken)
                expected = self.words("PAUSE")

        assert expected == self.law._queued(len(self.link), room, self.now)

    @precondition(lambda self: self.link and not self.is_closing)
    @rule()
    def what_follows_is_to_wait(self):
        expected = 0 if self.paused else self.words("PAUSE")
        if not self.paused:
            self.paused, self.stalled = True, (self.now, self.taken)

        assert expected == self.law._pauses(len(self.link), self.now)

    @precondition(lambda self: self.link)
    @rule(size=st.integers(1, 200), room=ROOM, waits_for_all=st.booleans())
    def the_kernel_takes_some(self, size, room, waits_for_all):
        size = min(size, len(self.link))
        del self.link[:size]
        self.taken += size
        low = LOW if room >= HIGH else min(LOW, room // 4)
        enough = 0 if waits_for_all else low
        expected = 0
        if self.is_closing:
            if not self.link:
                self.paused, self.stalled, expected = False, None, self.words("ALL_SENT")
        elif self.paused and len(self.link) <= enough:
            expected = self.words("REFILL" if self.law._queue_if_any() else "RESUME")
            if not self.law._queue_if_any():
                self.paused, self.stalled = False, None

        assert low == self.law._low(room)
        assert expected == self.law._sank(len(self.link), enough, self.now)
        if expected == self.words("REFILL"):
            self.refill(room)

    def refill(self, room):
        high = min(HIGH, room)
        assert high == self.law._high(room)
        while self.law._queue_if_any() and len(self.link) <= high:
            data = self.law._queue_if_any().take(high - len(self.link) + 1)
            self.link += data
            self.law.bytes_out += len(data)
        expected = 0
        if len(self.link) > high:
            self.stalled = (self.now, self.taken)
        else:
            self.paused, self.stalled, expected = False, None, self.words("RESUME")

        assert expected == self.law._refilled(len(self.link), room, self.now)

    @precondition(lambda self: self.paused and not self.is_closing)
    @rule(size=st.integers(1, 120), room=ROOM)
    def a_frame_is_posted(self, size, room):
        queue = self.law._queue()
        owed = len(self.link) + len(queue) + size
        excess = owed - min(MOST, room)

        assert excess == self.law._excess_bytes(owed, room)
        queue.admit(bytes(size), "drop_oldest", excess)

    @rule(size=st.integers(1, 400), room=ROOM)
    def a_reply_would_be_owed(self, size, room):
        queue = self.law._queue_if_any()
        owed = len(self.link) + (len(queue) if queue else 0) + size
        droppable = queue.posted_bytes if queue else 0

        assert (owed - droppable > min(MOST, room)) == self.law._is_too_much(owed, room)

    @rule(size=st.integers(1, 100), room=ROOM)
    def a_frame_may_have_to_wait_behind(self, size, room):
        crowded = not self.paused and room < HIGH and len(self.link) + size > room

        assert crowded == self.law._crowds(size, len(self.link), room)

    @precondition(lambda self: not self.is_closing and not self.law._queue_if_any())
    @rule()
    def it_closes(self):
        self.law._closes(CloseReason.DONE)
        self.is_closing = True
        self.law._stalls(len(self.link), self.now)
        self.stalled = (self.now, self.taken)

    @invariant()
    def it_says_what_the_model_says(self):
        law = self.law
        assert (self.paused, inf if self.stalled is None else self.stalled[0]) == (
            bool(law._write_paused),
            law._stalled_since,
        )
        if self.stalled is not None:
            progressed = self.taken - self.stalled[1] >= HIGH - LOW
            assert progressed == law._has_progressed(len(self.link))


def test_output_pauses_above_the_high_watermark_and_resumes_at_the_low_one(laws):
    """After any sequence, what is paused, since when, and what a peer may be owed are those of the model."""
    run_state_machine_as_test(partial(OutputMachine, laws))
