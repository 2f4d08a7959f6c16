"""The law of closing, walked at random beside the table that it obeys and a slow, obvious account of the rest."""

from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock.core.states import LEAVING, RECEIVABLE, SENDABLE, TRANSITIONS, Input, State, after
from penstock.errors import BrokenError, LocalProtocolError, TruncatedError
from penstock.reasons import CloseReason

REASONS = st.sampled_from(CloseReason)
STATES = list(State)


class ClosingMachine(RuleBasedStateMachine):
    """The law beside a model that keeps the state as a member of the enum, and what was said as sets of words."""

    def __init__(self, closing):
        super().__init__()
        self.closing = closing
        self.law = closing.Closing()
        self.state = State.OPEN
        self.reason = self.close_after = None
        self.attached = self.handling = False

    def verdict(self, *words):
        return sum(getattr(self.closing, word) for word in words)

    @rule()
    def attach(self):
        self.law._attached = self.attached = True

    @rule(handling=st.booleans())
    def handler(self, handling):
        self.law._handling = self.handling = handling

    @rule()
    def peer_sends_eof(self):
        if self.state is not State.CLOSED and Input.PEER_EOF not in TRANSITIONS[self.state]:
            with pytest.raises(LocalProtocolError):
                self.law._got_eof()
            return
        was_closed = self.state is State.CLOSED
        if not was_closed:
            self.state = after(self.state, Input.PEER_EOF)
        expected = 0 if was_closed else self.verdict("END" if self.state in LEAVING else "INPUT_OVER")

        assert expected == self.law._got_eof()

    @rule()
    def we_send_eof(self):
        expected = 0
        if self.state in SENDABLE:
            self.state = after(self.state, Input.SEND_EOF)
            expected = self.verdict("SEND_ALL", "SEND_EOF")

        assert expected == self.law._sends_eof()

    @rule(reason=REASONS)
    def close(self, reason):
        before, expected = self.state, 0
        if before in LEAVING:
            pass
        elif self.handling or not self.attached:
            self.close_after = self.close_after or reason
        else:
            peer_ended = before in {State.PEER_EOF, State.BOTH_EOF}
            said = CloseReason.PEER_CLOSED if peer_ended and reason is CloseReason.DONE else reason
            self.reason = self.reason or said
            self.state = after(before, Input.CLOSE)
            words = ["SEND_ALL", "END"] if peer_ended else ["SEND_ALL", "DISCARD"]
            if before is State.OPEN:
                words.append("SEND_EOF")
            expected = self.verdict(*words)

        assert expected == self.law._closes(reason)

    @rule()
    def all_output_was_sent(self):
        if self.state is State.CLOSING:
            self.state = State.LINGERING

            assert 0 == self.law._sent_all()
        elif self.state is State.FLUSHING:
            assert self.verdict("END") == self.law._sent_all()

    @rule(reason=REASONS)
    def lose(self, reason):
        expected = 0
        if self.state is not State.CLOSED:
            self.reason = self.reason or reason
            self.state = State.CLOSED
            expected = self.verdict("RESET") if self.attached else 0

        assert expected == self.law._loses(reason)

    @rule(reason=REASONS)
    def the_link_is_lost(self, reason):
        self.reason = self.reason or reason
        self.state = State.CLOSED

        assert 0 == self.law._lost(reason)

    @rule(error=st.sampled_from([ValueError(), BrokenError(CloseReason.RESET), TruncatedError(1), KeyboardInterrupt()]))
    def the_handler_fails(self, error):
        ended = self.state in LEAVING or self.reason is not None
        only_noticed = ended and isinstance(error, BrokenError | TruncatedError)
        if not only_noticed:
            self.close_after = CloseReason.HANDLER_ERROR

        assert (not only_noticed) == self.law._fails(error)

    @invariant()
    def both_say_the_same(self):
        law = self.law
        assert (self.state, self.reason, self.close_after) == (
            STATES[law._state],
            law.close_reason,
            law._close_after,
        )
        assert (self.state in SENDABLE, self.state in RECEIVABLE, self.state in LEAVING) == (
            bool(law._can_send),
            bool(law._can_receive),
            bool(law._closing),
        )


def test_it_obeys_the_table_and_gives_one_reason(laws):
    """After any sequence of what can happen, state, reason and verdict are those of the model."""
    run_state_machine_as_test(partial(ClosingMachine, laws.closing))


def test_the_numbers_are_the_places_of_the_members(laws):
    """Engines compare numbers; the table and the errors name members."""
    closing = laws.closing

    assert list(range(8)) == [getattr(closing, state.name) for state in State]


def test_what_cannot_happen_is_said_in_the_tables_words(laws):
    """The engine that reports it is at fault."""
    law = laws.closing.Closing()
    law._got_eof()
    with pytest.raises(LocalProtocolError) as caught:
        law._got_eof()

    assert "peer_eof cannot happen to a connection that is peer_eof" == str(caught.value)
