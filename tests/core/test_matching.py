"""Which reply is whose: laws of both ways to match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.matching import ById, InOrder
from penstock.errors import LocalProtocolError


def by_id():
    return ById(lambda message: message[0], lambda message: message[0])


@given(st.permutations(list(range(10))))
def test_replies_by_id_may_come_in_any_order(order):
    """Each is its own request's."""
    matcher = by_id()
    for number in range(10):
        matcher.sent(matcher.check((number, "?")), f"request {number}")

    assert [f"request {number}" for number in order] == [matcher.take((number, "!")) for number in order]
    assert 0 == len(matcher)


def test_replies_in_order_are_the_oldest_requests():
    """First asked, first answered; nobody's when nothing was asked."""
    matcher = InOrder()
    for number in range(3):
        matcher.sent(matcher.check("?"), number)

    assert [0, 1, 2, None] == [matcher.take("!") for _ in range(4)]


def test_an_id_that_is_still_owed_a_reply_cannot_be_used_again():
    """Not even if nobody waits for that reply: it would be taken for the new one's."""
    matcher = by_id()
    matcher.sent(matcher.check((7, "?")), "first")
    with pytest.raises(LocalProtocolError, match="7"):
        matcher.check((7, "?"))
    matcher.take((7, "!"))
    matcher.forget(7)

    assert 7 == matcher.check((7, "?"))


def test_a_request_without_an_id_is_refused():
    """Its reply could not be told from a message that is no reply."""
    with pytest.raises(LocalProtocolError, match="no id"):
        by_id().check((None, "?"))


def test_a_message_that_is_no_reply_is_nobodys():
    """None as its id, or an id nobody asked with."""
    matcher = by_id()
    matcher.sent(matcher.check((1, "?")), "first")

    assert [None, None] == [matcher.take((None, "news")), matcher.take((2, "!"))]
    assert ["first"] == matcher.clear()
