"""When a connection's patience ends: arithmetic on instants."""

import pytest

from penstock.config import Timeouts
from penstock.core.deadlines import Deadline, Deadlines
from penstock.reasons import CloseReason

NEVER = Timeouts(
    handshake_s=None,
    first_message_s=None,
    idle_s=None,
    message_s=None,
    write_s=None,
    lifetime_s=None,
    linger_s=None,
)
FIELDS = {
    Deadline.HANDSHAKE: ("handshake_s", "handshake_since"),
    Deadline.FIRST_MESSAGE: ("first_message_s", "first_since"),
    Deadline.IDLE: ("idle_s", "idle_since"),
    Deadline.MESSAGE: ("message_s", "partial_since"),
    Deadline.WRITE: ("write_s", "stalled_since"),
    Deadline.LINGER: ("linger_s", "lingering_since"),
}


@pytest.mark.parametrize("which", FIELDS)
def test_each_counts_from_its_own_instant(which):
    """Not counting, nothing is due ever; counting, it is due at its instant and its timeout, and not before."""
    timeout, since = FIELDS[which]
    deadlines = Deadlines(NEVER.merged(**{timeout: 8.0}), now=100.0)
    assert deadlines.next() is None
    setattr(deadlines, since, 104.0)

    assert (112.0, which) == deadlines.next()
    assert deadlines.due(111.75) is None
    assert which is deadlines.due(112.0)


@pytest.mark.parametrize("which", FIELDS)
def test_a_timeout_of_none_never_ends(which):
    """It may count from wherever: nothing is due."""
    deadlines = Deadlines(NEVER, now=100.0)
    setattr(deadlines, FIELDS[which][1], 100.0)

    assert deadlines.next() is None
    assert deadlines.due(1e9) is None


def test_the_lifetime_counts_from_the_beginning():
    """Nobody has to start it."""
    deadlines = Deadlines(NEVER.merged(lifetime_s=8.0), now=100.0)

    assert (108.0, Deadline.LIFETIME) == deadlines.next()


def test_the_earliest_is_next():
    """Of all that count."""
    deadlines = Deadlines(NEVER.merged(idle_s=8.0, message_s=4.0, lifetime_s=100.0), now=0.0)
    deadlines.idle_since = 1.0
    assert (9.0, Deadline.IDLE) == deadlines.next()
    deadlines.partial_since = 2.0

    assert (6.0, Deadline.MESSAGE) == deadlines.next()


def test_a_connection_that_leaves_has_only_its_flush_to_wait_for():
    """No silence and no age is held against it, only that its peer does not read."""
    every = Timeouts(first_message_s=1.0, idle_s=1.0, message_s=1.0, write_s=8.0, lifetime_s=1.0, linger_s=2.0)
    deadlines = Deadlines(every, now=0.0)
    deadlines.first_since = deadlines.idle_since = deadlines.partial_since = 0.0
    deadlines.closing(100.0)

    assert (108.0, Deadline.WRITE) == deadlines.next()


def test_a_connection_that_lingers_has_only_its_peers_end_to_wait_for():
    """After the last byte went out."""
    deadlines = Deadlines(Timeouts(lifetime_s=1.0, linger_s=2.0), now=0.0)
    deadlines.closing(100.0)
    deadlines.lingering(101.0)

    assert (103.0, Deadline.LINGER) == deadlines.next()


def test_before_its_handshake_is_over_a_peer_is_blamed_for_nothing_but_that():
    """Not for its first message, nor for silence; its age and output that it does not take count as ever."""
    every = Timeouts(first_message_s=1.0, idle_s=1.0, message_s=1.0, handshake_s=8.0, write_s=8.0, lifetime_s=20.0)
    deadlines = Deadlines(every, now=0.0)
    deadlines.first_since = deadlines.idle_since = deadlines.partial_since = 0.0
    deadlines.handshake_since = 2.0

    assert (10.0, Deadline.HANDSHAKE) == deadlines.next()
    deadlines.stalled_since = 1.0
    assert (9.0, Deadline.WRITE) == deadlines.next()
    deadlines.stalled_since, deadlines.timeouts = None, every.merged(handshake_s=None)
    assert (20.0, Deadline.LIFETIME) == deadlines.next()
    deadlines.handshake_since = None
    assert (1.0, Deadline.FIRST_MESSAGE) == deadlines.next()


def test_a_connection_that_leaves_in_its_handshake_has_only_its_flush_to_wait_for():
    """The handshake is nothing to wait for any more."""
    deadlines = Deadlines(Timeouts(write_s=8.0, handshake_s=1.0), now=0.0)
    deadlines.handshake_since = 0.0
    deadlines.closing(5.0)

    assert (13.0, Deadline.WRITE) == deadlines.next()


def test_each_deadline_is_a_close_reason():
    """What a deadline is called in the log is its value; a peer that lingers was served to the end."""
    assert all(isinstance(which.value, CloseReason) for which in Deadline)
    assert CloseReason.DONE is Deadline.LINGER.value
