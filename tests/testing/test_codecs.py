"""The checks find codecs that break the law: each of these breaks one."""

import itertools

import pytest

from penstock.codecs import NEED_DATA, Codec
from penstock.errors import BadFrameError, TruncatedError
from penstock.testing import (
    check_batches,
    check_codec,
    check_cutting,
    check_refusals,
    check_round_trip,
    chop,
    decode_chunks,
    decode_in_chunks,
)


class Bang(Codec[bytes]):
    """A right one: bytes up to each ``!``, 64 at most."""

    name = "bang"
    max_frame_bytes = 64

    def decode(self, buffer):
        end = buffer.find(b"!")
        if end > 64 or (end < 0 and len(buffer) > 64):
            raise BadFrameError("too long")
        if end < 0:
            return NEED_DATA
        message = bytes(buffer[:end])
        del buffer[: end + 1]
        return message

    def encode(self, message):
        return message + b"!"


class Hoards(Bang):
    def decode(self, buffer):
        return NEED_DATA


class TakesWhatCame(Bang):
    def decode(self, buffer):
        message = bytes(buffer)
        buffer.clear()
        return message or NEED_DATA


class ForgetsOnNeedData(Bang):
    def decode(self, buffer):
        message = super().decode(buffer)
        if message is NEED_DATA:
            buffer[:1] = b"x"
        return message


class ForgetsOnError(Bang):
    def decode(self, buffer):
        if b"?" in buffer:
            buffer.clear()
            raise BadFrameError("?")
        return super().decode(buffer)


class TakesFromTheMiddle(Bang):
    def decode(self, buffer):
        if buffer.endswith(b"?"):
            del buffer[-2:]
            return b"?"
        return super().decode(buffer)


class Crashes(Bang):
    def decode(self, buffer):
        if b"?" in buffer:
            raise ValueError("?")
        return super().decode(buffer)


class LosesCase(Bang):
    def encode(self, message):
        return message.upper() + b"!"


class BatchesOtherwise(Bang):
    def decode_many(self, data, limit):
        messages, taken = super().decode_many(data, limit)
        return messages[:1], taken


class BatchRefuses(Bang):
    def decode_many(self, data, limit):
        raise BadFrameError("no batches")


class JoinsOtherwise(Bang):
    def encode_many(self, messages):
        return b"!".join(messages)


class LosesDatagrams(Bang):
    def decode_datagram(self, data):
        return b""


def test_a_right_codec_passes():
    """Every law at once."""
    check_codec(Bang(), [b"", b"a", b"x" * 64], [b"a!b", b"x" * 65, b"!!"])


@pytest.mark.parametrize(
    "codec", [TakesWhatCame(), BatchesOtherwise(), LosesCase(), JoinsOtherwise(), LosesDatagrams()]
)
def test_a_wrong_codec_does_not(codec):
    """Whichever law it breaks."""
    with pytest.raises(AssertionError, match=r"^bang"):
        check_codec(codec, [b"a", b"bc"])


def test_a_codec_that_depends_on_the_cutting_is_found():
    """With the cutting that shows it."""
    with pytest.raises(AssertionError, match="one piece gives"):
        check_cutting(TakesWhatCame(), b"abc")


@pytest.mark.parametrize("codec", [BatchesOtherwise(), BatchRefuses()])
def test_a_batch_form_that_differs_is_found(codec):
    """With the limit that shows it."""
    with pytest.raises(AssertionError, match="decode_many"):
        check_batches(codec, b"a!b!c!")


@pytest.mark.parametrize(
    ("codec", "problem"),
    [
        (LosesCase(), "comes back as"),
        (JoinsOtherwise(), "encode_many"),
        (LosesDatagrams(), "is the datagram"),
    ],
)
def test_a_message_that_does_not_come_back_is_found(codec, problem):
    """In a stream, in a batch or as a datagram."""
    with pytest.raises(AssertionError, match=problem):
        check_round_trip(codec, [b"a", b"b"])


@pytest.mark.parametrize(
    ("codec", "problem"),
    [
        (Hoards(), "holds 4096 bytes"),
        (ForgetsOnNeedData(), "asked for more and changed"),
        (ForgetsOnError(), "refused .* and changed it"),
        (TakesFromTheMiddle(), "not at the front of"),
    ],
)
def test_a_codec_that_treats_the_buffer_badly_is_found(codec, problem):
    """It hoards, or it changes what it may not."""
    with pytest.raises(AssertionError, match=problem):
        check_refusals(codec, b"!ab?" + bytes(4092))


class TakesNothing(Bang):
    def decode(self, buffer):
        return bytes(buffer[:1]) if buffer else NEED_DATA


class LosesZ(Bang):
    def encode(self, message):
        return message.replace(b"z", b"") + b"!"


class LosesAfterZ(Bang):
    def decode(self, buffer):
        if buffer.startswith(b"z!") and len(buffer) > 2:
            del buffer[2:4]
        return super().decode(buffer)


@pytest.mark.parametrize("check", [check_codec, check_round_trip])
def test_a_codec_that_takes_nothing_off_the_buffer_is_found(check):
    """It would give the same message for ever."""
    with pytest.raises(AssertionError, match="gave b'a' and took no bytes of b'a!bc!'"):
        check(TakesNothing(), [b"a", b"bc"])


def test_the_one_message_that_differs_is_named():
    """Not all of them: among many long ones it could not be found."""
    messages = [b"%d" % number for number in range(50)]
    with pytest.raises(AssertionError) as caught:
        check_codec(LosesZ(), [*messages, b"xyz", *messages])

    assert "bang: b'xyz' is written b'xy!' and comes back as b'xy'" == str(caught.value)


def test_the_one_message_that_differs_behind_others_is_named():
    """Where each comes back by itself."""
    with pytest.raises(AssertionError) as caught:
        check_codec(LosesAfterZ(), [b"a", b"z", b"b", b"c"])

    assert "bang: b'b', written b'b!', comes back behind the others as b'c'" == str(caught.value)


def test_any_other_error_goes_through():
    """A crash is no refusal: its traceback is what is needed."""
    with pytest.raises(ValueError, match=r"\?"):
        check_refusals(Crashes(), b"ab?")


def test_chop_cuts_in_turn_and_leaves_the_rest():
    """The pieces joined are the bytes."""

    assert [b"a", b"bc", b"def"] == list(chop(b"abcdef", [1, 2]))
    assert [b"ab", b"cd", b"e"] == list(chop(b"abcde", itertools.repeat(2)))
    assert [b"abc"] == list(chop(b"abc", []))
    assert [] == list(chop(b"", itertools.repeat(1)))


def test_decode_in_chunks_raises_what_the_codec_refuses():
    """`decode_chunks` returns it."""
    with pytest.raises(TruncatedError):
        decode_in_chunks(Bang(), b"a!b", [1])
    decoded = decode_chunks(Bang(), [b"a!b"])

    assert ([b"a"], "truncated", b"b", 1) == (decoded.messages, decoded.reason, decoded.pending, decoded.most_held)
    assert [b"a", b"b"] == decode_in_chunks(Bang(), b"a!b!", [1])


def test_without_eof_a_rest_is_no_error():
    """More may come."""

    assert None is decode_chunks(Bang(), [b"a!b"], eof=False).reason


def test_batches_are_used_where_a_chunk_begins_with_a_frame():
    """As the engines do it."""
    limits = []

    class Records(Bang):
        def decode_many(self, data, limit):
            limits.append((data, limit))
            return super().decode_many(data, limit)

    assert [b"a", b"b", b"c"] == decode_chunks(Records(), [b"a!b!c", b"!"], batch=9).messages
    assert (b"a!b!c", 9) == limits[0]
