"""The law of silence: what counts of it, and when it is over."""

from functools import partial
from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock.config import Timeouts

QUIET = 4.0
NONE = Timeouts(
    handshake_s=None, first_message_s=None, idle_s=None, message_s=None, write_s=None, lifetime_s=None, linger_s=None
)


@pytest.fixture
def law(laws):
    made = laws.waiting.Waiting(laws.durations.Durations(NONE), 0.0)
    made._listens_for(QUIET)
    return made


class SilenceMachine(RuleBasedStateMachine):
    """The law, and a sum of the time in which the peer was read and sent nothing."""

    def __init__(self, laws):
        super().__init__()
        self.deadlines = laws.deadlines
        self.law = laws.waiting.Waiting(laws.durations.Durations(NONE), 0.0)
        self.law._listens_for(QUIET)
        self.now = 0.0
        self.size = 0
        self.silent_s = None  # None: nothing is there that a silence could end
        self.is_read = True

    @rule(size=st.integers(1, 9))
    def bytes_come(self, size):
        if self.is_read:
            self.size += size
            self.silent_s = 0.0
            self.law._leaves_rest(self.now, self.size)

    @rule()
    def somebody_waits(self):
        self.law._waits(self.now, self.size, False)

    @rule()
    def the_handler_works(self):
        self.law._works(self.now)

    @rule()
    def reading_stops(self):
        self.is_read = False
        self.law._stops_listening(self.now)

    @rule()
    def reading_goes_on(self):
        self.is_read = True
        self.law._listens_again(self.now)

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds):
        for _ in range(seconds):
            self.now += 1.0
            if self.silent_s is not None and self.is_read:
                self.silent_s += 1.0
            which = self.law._due(self.now, self.size)
            is_over = self.silent_s is not None and self.silent_s >= QUIET
            assert which == (self.deadlines.SILENCE if is_over else self.deadlines.NOT_DUE)
            if is_over:
                assert not self.law._is_put_off(self.now)
                assert self.deadlines.TAKE_REST == self.law._expires(which, False)
                self.law._falls_silent()
                self.silent_s, self.size = None, 0

    @invariant()
    def the_timer_is_set_for_the_end(self):
        counts = self.silent_s is not None and self.is_read
        expected = self.now + QUIET - self.silent_s if counts else inf

        assert expected == self.law._due_at(self.size)


def test_only_time_in_which_the_peer_could_be_heard_counts(laws):
    """To the second, whoever waits, works or stops reading in between."""
    run_state_machine_as_test(partial(SilenceMachine, laws))


def test_an_end_that_comes_late_is_put_off_once(law):
    """By as much as it was late, and never by more than a silence."""
    for late_s, again_s in ((0.5, 0.5), (100.0, QUIET)):
        law._hears(0.0, 0)
        law._hears(0.0, 1)
        assert law._is_put_off(QUIET + late_s)
        assert QUIET + late_s + again_s == law._silent_at()
        assert not law._is_put_off(1000.0)


def test_a_tick_is_not_late(law):
    """No timer is more exact than the machine it runs on."""
    law._hears(0.0, 1)

    assert not law._is_put_off(QUIET + 0.002)


def test_what_was_there_before_begins_no_silence_anew(law):
    """Somebody who waits again and again does not put it off."""
    law._waits(0.0, 3, False)
    law._works(0.0)
    law._waits(3.0, 3, False)

    assert QUIET == law._silent_at()


def test_as_many_bytes_as_before_are_others_once_a_message_was_taken(law):
    """One byte was taken and another came: the silence after that one is its own. Until it came, the clock went on."""
    law._hears(0.0, 2)
    law._has_message()
    assert QUIET == law._silent_at()
    law._hears(3.0, 2)

    assert 3.0 + QUIET == law._silent_at()


def test_during_a_handshake_silence_counts_as_ever(law):
    """It ends messages of the handshake, too."""
    law._begins_handshake(0.0, 1)
    law._waits(0.0, 3, False)

    assert QUIET == law._due_at(3)


def test_without_such_a_codec_there_is_no_clock(laws):
    """Nor an object for it."""
    law = laws.waiting.Waiting(laws.durations.Durations(NONE), 0.0)
    law._waits(0.0, 3, False)
    law._listens_for(None)

    assert (None, inf, inf) == (law._rare, law._hears(0.0, 3), law._due_at(3))
