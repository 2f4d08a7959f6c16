"""What a codec of a user's own inherits: everything but decode and encode."""

import pytest

from penstock.codecs import (
    NEED_DATA,
    Buffer,
    Codec,
    Delimited,
    Fixed,
    Json,
    JsonLines,
    LengthPrefixed,
    Lines,
    Msgpack,
    Netstring,
    Raw,
    Resp,
    Struct,
    Text,
    Varint,
)
from penstock.errors import BadFrameError, RemoteProtocolError, TruncatedError
from penstock.testing import check_codec, decode_chunks


class Bang(Codec[str]):
    """A word up to each ``!``; ``?`` is refused."""

    name = "bang"
    max_frame_bytes = 512

    def decode(self, buffer):
        end = buffer.find(b"!")
        if b"?" in buffer[: end if end >= 0 else len(buffer)]:
            raise BadFrameError("?")
        if end < 0:
            return NEED_DATA
        message = buffer[:end].decode("latin-1")
        del buffer[: end + 1]
        return message

    def encode(self, message):
        return message.encode("latin-1") + b"!"


def test_decode_and_encode_are_enough_for_a_codec():
    """Batches, EOF and datagrams have defaults that obey every law."""
    check_codec(Bang(), ["", "hello", "a b"], [b"a!b?c!", b"?", b"!!", b"a!b"])


def test_need_data_is_a_value_of_its_own_with_a_name():
    """It is not None, which is a message of JSON, RESP and MessagePack."""

    assert "NEED_DATA" == repr(NEED_DATA)
    assert NEED_DATA is not None


def test_a_new_buffer_holds_its_bytes_and_no_note():
    """``resume`` is None until a codec leaves a note."""
    buffer = Buffer(b"abc")

    assert (b"abc", None) == (bytes(buffer), buffer.resume)


def test_a_buffer_is_empty_by_default():
    """A connection has received nothing at first."""

    assert b"" == bytes(Buffer())


class TestDecodeMany:
    """The default batch form, in terms of decode."""

    def test_it_takes_whole_frames_and_says_how_many_bytes_they_were(self):
        """An incomplete frame is left."""

        assert (["a", "b"], 4) == Bang().decode_many(b"a!b!c", 10)

    def test_it_stops_at_the_limit(self):
        """Not one message more."""

        assert (["a"], 2) == Bang().decode_many(b"a!b!c", 1)

    def test_a_bad_frame_after_a_good_one_is_left_for_the_next_call(self):
        """The good one is not lost with it."""

        assert (["a"], 2) == Bang().decode_many(b"a!b?", 10)

    def test_a_bad_first_frame_is_refused(self):
        """There is nothing to return before it."""
        with pytest.raises(BadFrameError):
            Bang().decode_many(b"b?a!", 10)

    def test_nothing_is_taken_when_nothing_was_asked_for(self):
        """A limit of 0 looks at nothing, not even at a bad frame."""

        assert ([], 0) == Bang().decode_many(b"?", 0)


class TestFinish:
    """EOF."""

    def test_an_empty_buffer_ends_well(self):
        """Nothing is owed."""

        assert NEED_DATA is Bang().finish(Buffer())

    def test_a_started_frame_is_truncated(self):
        """The error says how much had arrived."""
        with pytest.raises(TruncatedError) as caught:
            Bang().finish(Buffer(b"abc"))

        assert 3 == caught.value.pending


class TestDatagrams:
    """A datagram holds exactly one frame unless a codec says otherwise."""

    def test_one_frame_is_one_message(self):
        """Framed as in a stream."""

        assert "a" == Bang().decode_datagram(b"a!")
        assert b"a!" == Bang().encode_datagram("a")

    @pytest.mark.parametrize(("data", "pending"), [(b"", 0), (b"ab", 2)])
    def test_less_than_a_frame_is_truncated(self, data, pending):
        """More will never follow in a datagram."""
        with pytest.raises(TruncatedError) as caught:
            Bang().decode_datagram(data)

        assert pending == caught.value.pending

    def test_more_than_a_frame_is_refused(self):
        """Which of the two would be the message?"""
        with pytest.raises(RemoteProtocolError, match="2 bytes follow"):
            Bang().decode_datagram(b"a!b!")

    def test_a_last_message_without_its_end_counts(self):
        """What `finish` delivers at EOF, it delivers at the end of a datagram."""

        class Lenient(Bang):
            def finish(self, buffer):
                return "rest" if buffer else NEED_DATA

        assert "rest" == Lenient().decode_datagram(b"ab")


def test_what_is_refused_comes_after_what_was_good():
    """Messages first, then the error, and the bad bytes stay in the buffer."""
    decoded = decode_chunks(Bang(), [b"a!b!c?"])

    assert (["a", "b"], "bad_frame", b"c?") == (decoded.messages, decoded.reason, decoded.pending)


# A way to make each built-in codec, and two messages that say which of its methods saw them.
BUILT_IN = [
    (Delimited, (b"--",), b"a", b"b"),
    (Fixed, (3,), b"abc", b"def"),
    (JsonLines, (), "a", "b"),
    (LengthPrefixed, (), b"a", b"b"),
    (Json, (), "a", "b"),
    (Lines, (), b"a", b"b"),
    (Msgpack, (), "a", "b"),
    (Netstring, (), b"a", b"b"),
    (Raw, (), b"a", b"b"),
    (Resp, (), [b"a"], [b"b"]),
    (Struct, (">H",), (1,), (2,)),
    (Text, (), "a", "b"),
    (Varint, (), b"a", b"b"),
]
each_built_in = pytest.mark.parametrize(("codec", "options", "one", "two"), BUILT_IN, ids=lambda it: str(it)[:20])


class TestSubclasses:
    """Of the built-in codecs: what overrides one method is honoured by all the others."""

    @each_built_in
    def test_decode_alone(self, codec, options, one, two):
        """In batches and datagrams, as one by one."""

        class Marked(codec):
            def decode(self, buffer):
                message = super().decode(buffer)
                return message if message is NEED_DATA else ("marked", message)

        own = Marked(*options)
        wire = own.encode_many([one, two])
        one_by_one = decode_chunks(own, [own.encode(one), own.encode(two)]).messages

        assert [("marked", one), ("marked", two)] == one_by_one
        assert (one_by_one[:1] if codec is not Raw else [("marked", b"ab")]) == own.decode_many(wire, 1)[0]
        assert ("marked", one) == own.decode_datagram(own.encode_datagram(one))

    @each_built_in
    def test_encode_alone(self, codec, options, one, two):
        """In batches and datagrams, as one by one."""

        class Marked(codec):
            def encode(self, message):
                return b"<" + super().encode(message)

        own, plain = Marked(*options), codec(*options)

        assert b"<" + plain.encode(one) + b"<" + plain.encode(two) == own.encode_many([one, two])
        assert b"<" + plain.encode(one) == own.encode_datagram(one)

    def test_what_is_overridden_with_it_stays(self):
        """A class that has its own batch or datagram form beside its own `decode` knows what it does."""

        class Own(Lines):
            def decode(self, buffer):
                return super().decode(buffer)

            def decode_many(self, data, limit):
                return ["mine"], len(data)

            def decode_datagram(self, data):
                return "mine"

        assert (["mine"], 2) == Own().decode_many(b"a\n", 9)
        assert ("mine", b"a") == (Own().decode_datagram(b"a"), Own().encode_datagram(b"a"))

    def test_a_mixin_and_a_class_between_count_as_well(self):
        """The order is Python's own, that of method resolution."""

        class Upper:
            def decode(self, buffer):
                message = super().decode(buffer)
                return message if message is NEED_DATA else message.upper()

        class UpperLines(Upper, Lines):
            pass

        class Same(UpperLines):
            pass

        assert ([b"A", b"B"], 4) == UpperLines().decode_many(b"a\nb\n", 9)
        assert ([b"A", b"B"], 4) == Same().decode_many(b"a\nb\n", 9)

    def test_the_rest_at_eof_is_decoded_by_it(self):
        """Where a last message without its end is delivered."""

        class UpperLines(Lines):
            def decode(self, buffer):
                message = super().decode(buffer)
                return message if message is NEED_DATA else message.upper()

        class Wrapped(JsonLines):
            def decode(self, buffer):
                message = super().decode(buffer)
                return message if message is NEED_DATA else [message]

        assert b"A" == UpperLines(unterminated="deliver").finish(Buffer(b"a\r"))
        assert [1] == Wrapped(unterminated="deliver").finish(Buffer(b"1"))

    def test_one_that_overrides_nothing_is_as_its_base(self):
        """Its batch forms are those that are fast, its datagrams have no framing."""

        class Same(Lines):
            "Lines by another name."

        assert Lines.decode_many is Same.decode_many
        assert b"a" == Same().encode_datagram(b"a")
