"""The laws of deadlines and of who waits for whom, beside a list of clocks, of which the earliest counts."""

from functools import partial
from math import inf

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from penstock.config import Timeouts
from penstock.reasons import CloseReason

# Whole numbers: what a compiler and an interpreter make of them cannot differ in the last bit.
SECONDS = st.one_of(st.none(), st.integers(1, 20).map(float))
TIMEOUTS = st.builds(
    Timeouts,
    handshake_s=SECONDS,
    first_message_s=SECONDS,
    idle_s=SECONDS,
    message_s=SECONDS,
    write_s=SECONDS,
    lifetime_s=SECONDS,
    linger_s=SECONDS,
    drain_s=SECONDS,
    message_bytes_per_s=st.one_of(st.none(), st.integers(1, 50)),
)


class DeadlinesMachine(RuleBasedStateMachine):
    """The law, and a dictionary of the instants that count, by the name of what they are held against."""

    def __init__(self, laws):
        super().__init__()
        self.closing, self.durations, self.deadlines = laws.closing, laws.durations, laws.deadlines
        self.now = 100.0
        self.partial_bytes = 0
        self.timeouts = Timeouts()
        self.law = laws.waiting.Waiting(self.durations.Durations(self.timeouts), self.now)
        self.law._attached = True
        self.since = {"LIFETIME": self.now}
        self.awaited = True
        self.receives = False  # somebody waits for its next message
        self.asking = 0  # so many wait for a reply
        self.at_work = False  # a message is
        self.had_message = False
        self.handshakes = 0
        self.told = False  # a reason has been given; a handler at work comes to its end first

    @property
    def is_closing(self):
        return bool(self.law._closing)

    @rule(timeouts=TIMEOUTS)
    def set_timeouts(self, timeouts):
        self.timeouts = timeouts
        self.law._durations = self.durations.Durations(timeouts)

    @rule(seconds=st.integers(0, 9))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(size=st.integers(0, 200))
    def bytes_come(self, size):
        self.partial_bytes = size
        if self.since.get("IDLE", inf) != inf:
            self.since["IDLE"] = self.law._idle_since = self.now

    @rule(is_first=st.booleans())
    def somebody_waits(self, is_first):
        self.receives = True
        self.at_work = False
        self.is_waited_for(is_first, self.law._waits)

    @rule(is_first=st.booleans())
    def somebody_asks(self, is_first):
        self.asking += 1
        self.is_waited_for(is_first, self.law._asks)

    def is_waited_for(self, is_first, begins):
        if not self.awaited:
            self.goes_on(self.now)
        self.awaited = True
        self.since["IDLE"] = self.now
        if is_first:
            self.since.setdefault("FIRST_MESSAGE", self.now)
        if self.partial_bytes:
            self.since.setdefault("MESSAGE", self.now)
        else:
            self.since.pop("MESSAGE", None)

        returned = begins(self.now, self.partial_bytes, is_first)

        assert self.late_at() == returned

    @rule()
    def the_handler_works(self):
        self.receives = False
        self.nobody_waits()
        self.law._works(self.now)

    def nobody_waits(self):
        if self.awaited and not self.asking:
            self.goes_on(-self.now)
            self.awaited = False

    @precondition(lambda self: self.asking)
    @rule(came_bytes=st.integers(0, 200))
    def some_of_a_reply_comes(self, came_bytes):
        if not self.partial_bytes:
            self.since.pop("MESSAGE", None)
        elif self.partial_bytes <= came_bytes:
            self.since["MESSAGE"] = self.now
        else:
            self.since.setdefault("MESSAGE", self.now)
        message_s = self.lasts()["MESSAGE"]
        due_at = inf if message_s is None else self.since.get("MESSAGE", inf) + message_s

        assert due_at == self.law._lacks(self.now, self.partial_bytes, came_bytes)

    @precondition(lambda self: self.asking)
    @rule()
    def one_asks_no_more(self):
        self.asking -= 1
        if not self.receives and not self.asking:
            self.nobody_waits()
            if self.at_work and self.law._can_receive:
                self.since.pop("IDLE", None)
        self.law._asked(self.now, self.receives)

    @rule()
    def a_reply_is_complete(self):
        self.since.pop("FIRST_MESSAGE", None)
        self.since.pop("MESSAGE", None)
        self.law._has_reply()

    def goes_on(self, seconds):
        """What the peer is blamed for while it is waited for goes on from where it stood."""
        for name in self.since.keys() & {"FIRST_MESSAGE", "MESSAGE"}:
            self.since[name] += seconds

    @rule()
    def a_message_is_complete(self):
        self.since.pop("FIRST_MESSAGE", None)
        self.since.pop("MESSAGE", None)
        self.receives = False
        self.at_work = True
        if not self.asking:
            if self.law._can_receive:
                self.since.pop("IDLE", None)
            self.awaited = False
        self.law._has_message()

    @rule()
    def the_handler_asks_in_vain(self):
        self.at_work = False
        self.law._has_finished()

    @precondition(lambda self: self.law._can_receive)
    @rule()
    def the_peer_ends(self):
        self.law._got_eof()
        self.since["IDLE"] = self.now
        idle_s = self.timeouts.idle_s

        assert (inf if idle_s is None else self.now + idle_s) == self.law._peer_ended(self.now)

    @precondition(lambda self: self.awaited)
    @rule()
    def a_rest_is_left(self):
        before = dict(self.since)
        self.since.setdefault("IDLE", self.now)
        if self.partial_bytes:
            self.since.setdefault("MESSAGE", self.now)
        else:
            self.since.pop("MESSAGE", None)
        started = self.since.keys() - before.keys()

        assert (self.expected()[0] if started else inf) == self.law._leaves_rest(self.now, self.partial_bytes)

    @rule(whose=st.sampled_from([1, 2]))
    def a_handshake_begins(self, whose):
        self.since.setdefault("HANDSHAKE", self.now)
        self.handshakes |= whose
        self.law._begins_handshake(self.now, whose)

    @rule(whose=st.sampled_from([1, 2, 3]))
    def a_handshake_ends(self, whose):
        had, self.handshakes = self.handshakes, self.handshakes & ~whose
        if not self.handshakes:
            self.since.pop("HANDSHAKE", None)

        assert (had and not self.handshakes) == self.law._ends_handshake(whose)

    @precondition(lambda self: not self.is_closing)
    @rule(stalled=st.booleans())
    def output_stalls_or_goes_on(self, stalled):
        self.law._stalled_since = self.now if stalled else inf
        if stalled:
            self.since["WRITE"] = self.now
        else:
            self.since.pop("WRITE", None)

    @rule()
    def it_closes(self):
        if self.law._closes(CloseReason.DONE):
            self.law._stalled_since = self.since["WRITE"] = self.now
            self.told = True

    @rule()
    def all_was_sent(self):
        if self.law._state in {self.closing.CLOSING, self.closing.FLUSHING}:
            self.law._sent_all_at(self.now)
            self.since["WRITE"] = self.now

    @rule(progressed=st.booleans())
    def what_is_due_happens(self, progressed):
        which = self.law._due(self.now, self.partial_bytes)
        at, name = self.expected()

        assert (name if at <= self.now else "NOT_DUE") == self.name_of(which)
        if which:
            verdict = self.law._expires(which, progressed)
            if name == "WRITE" and progressed:
                assert self.deadlines.RESTART == verdict
            elif name in {"WRITE", "HANDSHAKE", "OVERTIME"}:
                assert self.closing.RESET == verdict
                self.law._loses(self.deadlines.REASONS[which])
            elif name == "LINGER":
                assert (self.closing.CUT, self.closing.CLOSED) == (verdict, self.law._state)
            else:
                assert self.deadlines.TELL == verdict
            self.told = self.law.close_reason is not None

    def late_at(self):
        """Return the earliest instant at which the peer that is waited for would be late."""
        lasts, blamed = self.lasts(), self.since.keys() & {"IDLE", "FIRST_MESSAGE", "MESSAGE"}
        return min((self.since[name] + lasts[name] for name in blamed if lasts[name] is not None), default=inf)

    def name_of(self, which):
        names = ("NOT_DUE", "FIRST_MESSAGE", "IDLE", "MESSAGE", "HANDSHAKE", "WRITE", "LINGER", "LIFETIME", "OVERTIME")
        return next(name for name in names if getattr(self.deadlines, name) == which)

    def lasts(self):
        """Return how long each deadline lasts, by its name."""
        timeouts = self.timeouts
        lasts = {
            "HANDSHAKE": timeouts.handshake_s,
            "FIRST_MESSAGE": timeouts.first_message_s,
            "IDLE": timeouts.idle_s,
            "MESSAGE": timeouts.message_s,
            "WRITE": timeouts.write_s,
            "LIFETIME": timeouts.lifetime_s,
            "LINGER": timeouts.linger_s,
            "OVERTIME": timeouts.drain_s,
        }
        if timeouts.message_s is not None and timeouts.message_bytes_per_s:
            lasts["MESSAGE"] += self.partial_bytes // timeouts.message_bytes_per_s
        return lasts

    def expected(self):
        """Return the earliest instant at which something is due, and what."""
        lasts = self.lasts()
        since = dict(self.since)
        if self.law._state == self.closing.CLOSED:
            since = {}
        elif self.law._state == self.closing.LINGERING:
            since = {"LINGER": since["WRITE"]}
        elif self.is_closing:
            since = {"WRITE": since["WRITE"]}
        else:
            if self.told:
                since = {name: at for name, at in since.items() if name == "WRITE"} | self.overtime()
            elif "HANDSHAKE" in since:
                since = {name: at for name, at in since.items() if name in {"HANDSHAKE", "WRITE", "LIFETIME"}}
            elif not self.awaited:
                since = {name: at for name, at in since.items() if name not in {"FIRST_MESSAGE", "MESSAGE"}}
        order = list(lasts)
        found = [
            (since[name] + seconds, order.index(name), name)
            for name, seconds in lasts.items()
            if name in since and seconds is not None
        ]
        at, _, name = min(found, default=(inf, 0, "NOT_DUE"))
        return at, name

    def overtime(self):
        """Return since when the handler of a connection that was told to end has had to finish."""
        of = {CloseReason.LIFETIME: "LIFETIME", CloseReason.IDLE_TIMEOUT: "IDLE"}.get(self.law.close_reason)
        lasts_s = {"LIFETIME": self.timeouts.lifetime_s, "IDLE": self.timeouts.idle_s, None: None}[of]
        return {} if lasts_s is None or of not in self.since else {"OVERTIME": self.since[of] + lasts_s}

    @invariant()
    def a_message_is_at_work_as_in_the_model(self):
        assert self.at_work == self.law._has_unfinished()

    @invariant()
    def the_earliest_instant_is_that_of_the_model(self):
        assert self.expected()[0] == self.law._due_at(self.partial_bytes)


def test_the_earliest_clock_counts_and_only_that_one(laws):
    """After any sequence, what is due, when, and what follows are those of the model."""
    run_state_machine_as_test(partial(DeadlinesMachine, laws))


@pytest.mark.parametrize("name", ["first_message_s", "idle_s", "message_s", "lifetime_s", "write_s"])
def test_none_is_for_ever(laws, name):
    """A deadline that is None passes never."""
    deadlines = laws.deadlines
    law = deadlines.Deadlines(laws.durations.Durations(Timeouts(**{name: None})), 0.0)
    since = {
        "first_message_s": "_first_since",
        "idle_s": "_idle_since",
        "message_s": "_partial_since",
        "write_s": "_stalled_since",
        "lifetime_s": "_opened_at",
    }[name]
    setattr(law, since, 1.0)

    assert deadlines.NOT_DUE == law._due(1e12, 0)
