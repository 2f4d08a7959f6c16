"""The clocks of a connection that moves: nothing is due earlier or later than if it had stayed."""

from math import inf, isclose

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock.config import Limits, Timeouts
from penstock.core.handover import law as moving
from penstock.core.law.deadlines import OWN
from penstock.reasons import CloseReason
from penstock.testing.laws import builds
from penstock.units import Rate

BUILDS = builds()
TIMEOUTS = Timeouts(
    handshake_s=5.0, first_message_s=7.0, idle_s=11.0, message_s=13.0, write_s=17.0, lifetime_s=200.0, linger_s=1.0
)
LIMITS = Limits(max_message_rate=Rate(2, 10.0))
QUIET = 4.0


@pytest.fixture(params=BUILDS, scope="module")
def laws(request):
    return BUILDS[request.param]


def made(laws, now):
    law = laws.rate.Law(laws.levels.Levels(LIMITS), laws.durations.Durations(TIMEOUTS), now)
    law._attached = True
    law._listens_for(QUIET)
    return law


class MovingMachine(RuleBasedStateMachine):
    """Two connections to which the same happens: one stays, one moves. Each process has a clock of its own."""

    def __init__(self, laws):
        super().__init__()
        self.laws = laws
        self.now, self.ahead = 100.0, 0.0
        self.stays, self.moves = made(laws, self.now), made(laws, self.now)
        self.size = 0
        self.both(lambda law, now: law._starts(now, True))

    def both(self, step):
        step(self.stays, self.now)
        step(self.moves, self.now + self.ahead)

    @rule(seconds=st.floats(0.0, 3.0))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(size=st.integers(1, 9))
    def a_part_of_a_message_comes(self, size):
        self.size += size

        def step(law, now):
            law._idle_since = now
            law._leaves_rest(now, self.size)

        self.both(step)

    @rule()
    def a_message_is_handled(self):
        self.size = 0

        def step(law, now):
            law._first_since = law._partial_since = inf
            law._has_taken()
            law._allows(1, now)
            law._spends(1, now)
            law._idle_since = now
            law._leaves_rest(now, 0)

        self.both(step)

    @rule()
    def it_is_the_peer_who_waits(self):
        def step(law, now):
            law._idle_since = inf

        self.both(step)

    @rule(size=st.integers(70_000, 90_000))
    def output_stalls(self, size):
        def step(law, now):
            law.bytes_out += size
            law._queued(size, 2**40, now)

        self.both(step)

    @rule()
    def a_handshake_begins(self):
        self.both(lambda law, now: law._begins_handshake(now, OWN))

    @rule()
    def a_handshake_ends(self):
        self.both(lambda law, now: law._ends_handshake(OWN))

    @rule()
    def our_direction_ends(self):
        self.both(lambda law, now: law._sends_eof())

    @rule(ahead=st.sampled_from([-50.0, 0.0, 1234.5]), passed=st.floats(0.0, 2.0))
    def it_moves(self, ahead, passed):
        before = self.moves
        assert "" == moving.why_it_stays(before)
        # Time in which a peer could not be heard is no silence, wherever it passes.
        self.stays._stops_listening(self.now)
        ages = moving.aged(moving.ages_of(before, self.now + self.ahead), passed)
        self.now += passed
        self.ahead = ahead
        here = self.now + ahead
        after = self.moves = made(self.laws, here)
        after.bytes_out = before.bytes_out
        moving.go_on(after, ages, here)
        if "handshake" in ages:
            after._begins_handshake(here - ages["handshake"], OWN)
        if before._write_paused:
            after._queued(80_000, 2**40, here)
            moving.stall_goes_on(after, ages, here)
        self.stays._listens_again(self.now)
        after._listens_again(here)

    @invariant()
    def the_same_is_due_at_the_same_moment(self):
        # What is due already is due, however long.
        stays = max(self.now, self.stays._due_at(self.size))
        moves = max(self.now, self.moves._due_at(self.size) - self.ahead)

        assert stays == moves or isclose(stays, moves, abs_tol=1e-6)

    @invariant()
    def it_stands_where_it_stood(self):
        assert (self.stays.phase, self.stays._can_send) == (self.moves.phase, self.moves._can_send)
        assert self.stays._has_progressed(10) == self.moves._has_progressed(10)


def test_whatever_happened_before_a_move_the_same_is_due_as_without_it(laws):
    """No timeout begins anew and none comes early, though the two processes have other clocks."""
    run_state_machine_as_test(lambda: MovingMachine(laws), settings=settings(max_examples=25, deadline=None))


def _close(law):
    law._closes(CloseReason.DONE)


def _close_at_the_return(law):
    law._handling = True
    law._closes(CloseReason.DONE)


def _work(law):
    law._has_message()


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (_close, "it is closing"),
        (_close_at_the_return, "it is closing"),
        (lambda law: law._got_eof(), "its peer has sent EOF"),
        (_work, "a message is at work"),
        (lambda law: law._begins_task(), "a task of it is at work"),
    ],
)
def test_a_connection_that_ends_or_works_stays(laws, happens, why):
    """What has no other end than its own comes to it where it is."""
    law = made(laws, 0.0)
    happens(law)

    assert why == moving.why_it_stays(law)
    assert moving.why_it_ends_here(law) == ("" if happens is _work else why)
