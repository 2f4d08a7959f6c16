"""Replies are taken out of an input wherever they stand, and all else stays as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codecs import Lines
from penstock.core.inbound import StreamInbound
from penstock.core.requests import requests_of
from penstock.errors import BadFrameError


class Numbered(Lines):
    """``?7`` asks, ``=7 what`` answers, anything else is a message of its own."""

    def request_id(self, message):
        return message[1:]

    def reply_id(self, message):
        return message[1:].split()[0] if message.startswith(b"=") else None


class Kept:
    """Keeps what it is given."""

    def __init__(self):
        self.found = None

    def done(self):
        return self.found is not None

    def set_result(self, result):
        self.found = result

    set_exception = set_result


def asking(inbound, count):
    """Ask so many times; return what waits for the replies."""
    kept = []
    for number in range(count):
        requests = requests_of(inbound, inbound.codec, int)
        request_id = requests.check(b"?%d" % number)
        kept.append(Kept())
        requests.sent(request_id, kept[-1])
    return kept


@given(
    kinds=st.lists(st.sampled_from(["reply", "short", "long", "blank"]), max_size=30),
    pieces=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1),
    limit=st.integers(1, 5),
    skips=st.booleans(),
)
def test_what_is_no_reply_is_taken_as_if_no_reply_had_been_there(kinds, pieces, limit, skips):
    """Wherever the network cuts, however much is taken meanwhile, and whatever is passed over."""
    inbound = StreamInbound(Numbered(max_frame_bytes=12, on_oversize="skip" if skips else "close"))
    kept = asking(inbound, kinds.count("reply"))
    frames, messages, replies = [], [], []
    for number, kind in enumerate(kinds):
        if kind == "reply":
            replies.append(b"=%d yes" % len(replies))
            frames.append(replies[-1])
        elif kind == "short":
            messages.append(b"m%d" % number)
            frames.append(messages[-1])
        elif kind == "long" and skips:
            frames.append(b"x" * (13 + number))
        else:
            messages.append(b"")
            frames.append(b"")
    wire = b"".join(frame + b"\n" for frame in frames)
    found = []
    index = 0
    while wire:
        size, takes = pieces[index % len(pieces)]
        index += 1
        inbound.feed(wire[:size])
        wire = wire[size:]
        if takes:
            found += inbound.take(limit)
    while batch := inbound.take(limit):
        found += batch

    assert (messages, replies) == (found, [each.found for each in kept])
    assert 0 == inbound.pending_bytes


def test_what_was_searched_for_the_end_of_a_frame_is_not_searched_again():
    """A frame that comes byte by byte while a reply is owed costs what it does without."""
    searched = []

    class Watched(Numbered):
        def decode(self, buffer):
            searched.append(len(buffer) - (buffer.resume or 0))
            return super().decode(buffer)

    inbound = StreamInbound(Watched())
    asking(inbound, 1)
    for _ in range(100):
        inbound.feed(b"x")

    assert 300 >= sum(searched)


def test_what_may_be_received_counts_and_the_start_of_a_reply_does_not():
    """By the first it is bounded what waits; the other is bounded by the codec, and has to come whole."""
    inbound = StreamInbound(Numbered(max_frame_bytes=12, on_oversize="skip"))
    asking(inbound, 2)
    counts = []
    for data in (b"=0 y", b"es\nmess", b"age\n=1", b" no\nrest"):
        inbound.feed(data)
        counts.append((inbound.pending_bytes, inbound.waiting_bytes))

    assert [(4, 0), (4, 0), (10, 8), (12, 12)] == counts


def test_what_was_passed_over_counts_while_a_reply_is_owed():
    """It is kept until the messages before it are received: a frame without an end would fill the memory."""
    inbound = StreamInbound(Numbered(max_frame_bytes=12, on_oversize="skip"))
    asking(inbound, 1)
    for _ in range(10):
        inbound.feed(b"x" * 100)

    assert 1000 - 13 <= inbound.waiting_bytes


def test_what_stands_behind_a_bad_frame_counts_and_is_not_looked_at():
    """No reply is found behind it until who takes the messages has passed it over."""
    looked = []

    class Watched(Numbered):
        def decode(self, buffer):
            looked.append(len(buffer))
            return super().decode(buffer)

    inbound = StreamInbound(Watched(max_frame_bytes=12))
    kept = asking(inbound, 1)
    for _ in range(100):
        inbound.feed(b"x" * 10)

    assert 2 == len(looked)
    assert 1000 == inbound.waiting_bytes
    assert None is kept[0].found


def test_a_reply_behind_a_bad_message_that_was_passed_over_is_found():
    """Where bad messages may be passed over, what follows one is looked at when it is gone."""

    class Picky(Numbered):
        def decode(self, buffer):
            end = buffer.find(b"\n")
            if buffer[:1] == b"!" and end >= 0:
                raise BadFrameError("bad").skipping(end + 1)
            return super().decode(buffer)

    inbound = StreamInbound(Picky(), skips_bad=True)
    kept = asking(inbound, 1)
    inbound.feed(b"one\n!bad\ntwo\n=0 yes\n")
    before = kept[0].found
    found = inbound.take(1)
    with pytest.raises(BadFrameError) as bad:
        inbound.take(1)
    assert inbound.pass_over(bad.value)
    found += inbound.take(1)

    assert (None, b"=0 yes") == (before, kept[0].found)
    assert [b"one", b"two"] == found
