"""From received bytes to messages, in batches, and through changes of the codec."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codecs import Codec, Delimited, Gap, Lines, Text, parse_codec
from penstock.codecs.base import NEED_DATA
from penstock.core.inbound import SINGLY_AFTER_SWITCH, StreamInbound
from penstock.core.records import RecordInbound
from penstock.errors import BadLengthError, FrameTooLongError, RemoteProtocolError, TruncatedError

LINES = parse_codec("lines:max=100")
NETSTRING = parse_codec("netstring:max=100")
FIXED = parse_codec("fixed:size=4")

lines = st.lists(st.binary(max_size=20).filter(lambda line: not set(line) & set(b"\r\n")), max_size=30)


def chop(wire, cuts):
    """Cut the wire into pieces of the sizes given, again and again."""
    at = index = 0
    while at < len(wire):
        size = cuts[index % len(cuts)]
        yield wire[at : at + size]
        at += size
        index += 1


def take_all(inbound, limit):
    found = []
    while messages := inbound.take(limit):
        found += messages
    return found


@given(messages=lines, cuts=st.lists(st.integers(1, 60), min_size=1), limit=st.integers(1, 10))
def test_where_the_bytes_are_cut_does_not_matter(messages, cuts, limit):
    """Every cutting and every limit of a batch gives the same messages, and nothing is left."""
    inbound = StreamInbound(LINES)
    found = []
    for piece in chop(b"".join(map(LINES.encode, messages)), cuts):
        inbound.feed(piece)
        found += take_all(inbound, limit)

    assert messages == found
    assert 0 == inbound.pending_bytes
    assert NEED_DATA is inbound.finish()


@given(messages=st.lists(st.binary(max_size=9), max_size=20), cuts=st.lists(st.integers(1, 30), min_size=1))
def test_batches_keep_to_their_limit(messages, cuts):
    """No batch is longer than asked for; several may be taken from one read."""
    inbound = StreamInbound(NETSTRING)
    found = []
    for piece in chop(b"".join(map(NETSTRING.encode, messages)), cuts):
        inbound.feed(piece)
        while batch := inbound.take(3):
            assert len(batch) <= 3
            found += batch

    assert messages == found


@given(
    before=lines,
    after=st.lists(st.binary(max_size=9), max_size=20),
    cuts=st.lists(st.integers(1, 60), min_size=1),
    limit=st.integers(1, 40),
)
def test_not_a_byte_is_lost_when_the_codec_changes(before, after, cuts, limit):
    """The message ``switch`` changes the codec: what follows it, cut already or not, is the new codec's."""
    before = [message for message in before if message != b"switch"]
    wire = b"".join(map(LINES.encode, [*before, b"switch"])) + b"".join(map(NETSTRING.encode, after))
    inbound = StreamInbound(LINES)
    found = []
    for piece in chop(wire, cuts):
        inbound.feed(piece)
        while batch := inbound.take(limit):
            for handled, message in enumerate(batch, 1):
                found.append(message)
                if message == b"switch" and inbound.codec is LINES:
                    inbound.switch(NETSTRING, handled, len(batch) - handled)
                    break

    assert [*before, b"switch", *after] == found
    assert NETSTRING is inbound.codec
    assert 0 == inbound.pending_bytes


def test_a_codec_may_change_between_two_frames_and_within_one():
    """Bytes that nobody has looked at, or that began a frame of the old codec, are the new one's from their first."""
    inbound = StreamInbound(LINES)
    inbound.feed(b"one\n3:t")
    assert [b"one"] == inbound.take(10)
    inbound.switch(NETSTRING, 1, 0)
    inbound.feed(b"wo,")

    assert [b"two"] == inbound.take(10)


def test_a_bad_frame_is_refused_after_the_good_ones_before_it():
    """The good ones are returned by earlier calls; then every call refuses."""
    inbound = StreamInbound(NETSTRING)
    inbound.feed(b"3:one,3:two,x:three,5:after,")

    assert [b"one", b"two"] == inbound.take(10)
    for _ in range(2):
        with pytest.raises(BadLengthError):
            inbound.take(10)


def test_a_frame_that_grows_over_the_limit_is_refused():
    """An unterminated line at the limit, fed byte by byte, is refused as soon as it is over it."""
    inbound = StreamInbound(LINES)
    for _ in range(100):
        inbound.feed(b"x")
        assert [] == inbound.take(10)
    inbound.feed(b"xx")

    with pytest.raises(FrameTooLongError):
        inbound.take(10)


def test_pending_bytes_are_those_no_message_has():
    """Counted whether they were looked at or not; forgotten when the connection leaves."""
    inbound = StreamInbound(LINES)
    inbound.feed(b"one\ntwo\nthr")
    assert 11 == inbound.pending_bytes
    assert [b"one"] == inbound.take(1)
    assert 7 == inbound.pending_bytes
    assert [b"two"] == inbound.take(5)
    assert 3 == inbound.pending_bytes
    inbound.clear()

    assert 0 == inbound.pending_bytes
    assert [] == inbound.take(5)


def test_the_end_in_the_middle_of_a_frame():
    """Refused as truncated, with how much had come, or delivered, as the codec was asked to."""
    inbound = StreamInbound(LINES)
    inbound.feed(b"one\ntw")
    assert [b"one"] == inbound.take(5)
    with pytest.raises(TruncatedError) as caught:
        inbound.finish()
    delivering = StreamInbound(parse_codec("lines:unterminated=deliver"))
    delivering.feed(b"one\ntw")
    delivering.take(5)

    assert 2 == caught.value.pending
    assert b"tw" == delivering.finish()


QUIET_CODECS = [Lines(quiet_s=1.0), Delimited(b"\r\n", quiet_s=1.0), Text(quiet_s=1.0), Gap(quiet_s=1.0)]


@pytest.mark.parametrize("codec", QUIET_CODECS, ids=lambda codec: codec.name)
@given(
    wire=st.text("ab\r\n", max_size=30),
    cuts=st.lists(st.integers(1, 5), min_size=1),
    silent=st.booleans(),
    eager=st.booleans(),
)
def test_where_the_bytes_are_cut_does_not_matter_as_long_as_none_is_silent(codec, wire, cuts, silent, eager):
    """They come within less than ``quiet_s``: the messages are those of one piece. So they are if nobody takes them."""
    whole = StreamInbound(codec)
    whole.feed(wire.encode())
    inbound = StreamInbound(codec)
    expected = take_all(whole, 10)
    taken = []
    for piece in chop(wire.encode(), cuts):
        inbound.feed(piece)
        if eager:
            taken += take_all(inbound, 10)
    taken += take_all(inbound, 10)
    if silent:
        for each in (whole, inbound):
            each.note_silence()
        expected += take_all(whole, 10)
        taken += take_all(inbound, 10)

    assert (expected, whole.pending_bytes) == (taken, inbound.pending_bytes)


@given(words=st.lists(st.text("ab", min_size=1, max_size=9).map(str.encode), max_size=6), eager=st.booleans())
def test_a_silence_ends_a_message_whether_or_not_somebody_takes_it_then(words, eager):
    """It is noted where it was."""
    inbound, taken = StreamInbound(Gap()), []
    for word in words:
        inbound.feed(word)
        inbound.note_silence()
        inbound.note_silence()
        if eager:
            taken += take_all(inbound, 10)
    taken += take_all(inbound, 10)

    assert (words, 0) == (taken, inbound.pending_bytes)


def bytes_used(step):
    """How many bytes one step allocates at most, be they given back in the end."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    step()
    return tracemalloc.get_traced_memory()[1] - before


def test_a_silence_costs_the_same_however_many_wait():
    """To note one, and to take a message for one, copies neither the others nor what came after it."""
    inbound, words = StreamInbound(Gap()), 20_000
    used, taken = [], []
    tracemalloc.start()
    try:
        inbound.feed(b"x")
        inbound.take(1)
        for _ in range(words):
            inbound.note_silence()
            inbound.feed(b"x")
        used.append(bytes_used(inbound.note_silence))
        used += [bytes_used(lambda: taken.append(inbound.take(1))) for _ in range(9)]
    finally:
        tracemalloc.stop()

    assert [[b"x"]] * 9 == taken
    assert words - 8 == inbound.pending_bytes
    assert max(used) < words / 4
    assert [b"x"] * (words - 8) == take_all(inbound, 64)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\r\n"])
def test_a_line_end_after_a_silence_is_that_of_the_line_before_and_the_peers_word(end):
    """However it is cut, and whatever silences are between."""
    for place in range(len(end) + 1):
        inbound = StreamInbound(Lines(quiet_s=1.0))
        taken = []
        for piece in (b"one" + end[:place], end[place:], b"two\n\nthree"):
            inbound.feed(piece)
            taken += take_all(inbound, 10)
            inbound.note_silence()
            taken += take_all(inbound, 10)

        assert ([b"one", b"two", b""], 5, None) == (taken, inbound.pending_bytes, inbound.quiet_s)


def test_cr_alone_is_no_line():
    """A barcode reader that ends in CR sends no empty lines; the LF after it makes one."""
    inbound = StreamInbound(Lines(quiet_s=1.0))
    taken = []
    for piece in (b"\r", b"123\r", b"456\r", b"\r", b"\n", b"\n"):
        inbound.feed(piece)
        taken += take_all(inbound, 10)
        inbound.note_silence()
        taken += take_all(inbound, 10)

    assert [b"123", b"456", b""] == taken


class TakesFirst(Lines):
    """Takes a line off the buffer, and only then looks what it is."""

    def decode(self, buffer):
        line = super().decode(buffer)
        if line == b"bad":
            raise BadLengthError("taken and refused")
        return line

    decode_many = Codec.decode_many


@pytest.mark.parametrize("begun", [b"", b"good\nb"], ids=["whole", "in two pieces"])
def test_a_bad_frame_that_is_only_looked_for_is_met_again(begun):
    """However often that is done, whatever its codec has taken of it."""
    inbound = StreamInbound(TakesFirst())
    inbound.feed(begun)
    good = inbound.take(10)
    inbound.feed(b"good\nbad\nnot this\n"[len(begun) :])
    good = good or inbound.take(10)
    looked = [inbound.take_whole(10) for _ in range(3)]
    pending = inbound.pending_bytes
    with pytest.raises(BadLengthError):
        inbound.take(10)

    assert ([b"good"], [[]] * 3, len(b"bad\nnot this\n")) == (good, looked, pending)


class TestRecords:
    """Records delimit themselves."""

    def test_each_is_one_message(self):
        """In order, one at a time, without the framing of a codec of bytes."""
        inbound = RecordInbound(LINES)
        for record in (b"one", b"two\nlines"):
            inbound.feed(record)

        assert 12 == inbound.pending_bytes
        assert [b"one"] == inbound.take(10)
        assert [b"two\nlines"] == inbound.take(10)
        assert [] == inbound.take(10)
        assert 0 == inbound.pending_bytes
        assert NEED_DATA is inbound.finish()

    def test_a_record_that_is_not_one_message_is_refused(self):
        """The next one is taken all the same: whoever refused it closes."""
        inbound = RecordInbound(FIXED)
        inbound.feed(b"five5")

        with pytest.raises(RemoteProtocolError):
            inbound.take(10)

    def test_a_bad_record_that_is_only_looked_for_is_met_again(self):
        """As a frame is."""
        inbound = RecordInbound(FIXED)
        inbound.feed(b"five5")
        inbound.feed(b"four")
        looked = [inbound.take_whole(10) for _ in range(3)]
        pending = inbound.pending_bytes
        with pytest.raises(RemoteProtocolError):
            inbound.take(10)

        assert ([[]] * 3, 9, [b"four"]) == (looked, pending, inbound.take_whole(10))

    def test_the_codec_changes_with_the_next_record(self):
        """Nothing was cut ahead, so nothing is given back."""
        inbound = RecordInbound(parse_codec("json-lines"))
        inbound.feed(b"1")
        inbound.feed(b"[2]")
        assert [1] == inbound.take(10)
        inbound.switch(LINES, 1, 0)

        assert [b"[2]"] == inbound.take(10)
        inbound.clear()
        assert [] == inbound.take(10)


def test_what_is_cut_one_by_one_after_a_switch_ends():
    """`take` goes on with batches then; and a frame that is not whole is none of those that were cut."""
    inbound = StreamInbound(LINES)
    inbound.feed(b"first\n" + b"x\n" * 40 + b"1")
    inbound.take(1)
    inbound.switch(LINES, 1, 0)
    found = []
    while (message := inbound.take_one(LINES)) is not NEED_DATA:
        found.append(message)

    assert (SINGLY_AFTER_SWITCH, 0) == (len(found), inbound.few)
    assert [b"x"] * (40 - SINGLY_AFTER_SWITCH) == take_all(inbound, 100)
    assert NEED_DATA is inbound.take_one(NETSTRING)
    assert (NETSTRING, SINGLY_AFTER_SWITCH) == (inbound.codec, inbound.few)
