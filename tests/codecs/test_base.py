"""What a codec of a user's own inherits: everything but decode and encode."""

import pytest

from penstock.codecs import NEED_DATA, Buffer, Codec
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
