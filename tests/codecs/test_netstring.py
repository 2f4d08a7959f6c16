"""Netstrings."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadFrameError, BadLengthError, FrameTooLongError, LocalProtocolError
from penstock.testing import check_codec, decode_chunks

# The two examples of https://cr.yp.to/proto/netstrings.txt, the first as it stands there: in hexadecimal.
PUBLISHED = [(b"hello world!", bytes.fromhex("31323a68656c6c6f20776f726c64212c")), (b"", b"0:,")]


@pytest.mark.parametrize(("message", "wire"), PUBLISHED)
def test_the_bytes_are_those_of_the_definition(codecs, message, wire):
    """Both ways."""

    assert wire == codecs.Netstring().encode(message)
    assert message == codecs.Netstring().decode(Buffer(wire))
    assert ([message, message], 2 * len(wire)) == codecs.Netstring().decode_many(wire * 2 + wire[:-1], 9)


@pytest.mark.parametrize("wire", [b"", b"1", b"12", b"12:", b"3:abc", b"1048576:"])
def test_a_netstring_that_is_cut_waits(codecs, wire):
    """Length, colon, message or comma may be to come."""

    assert NEED_DATA is codecs.Netstring().decode(Buffer(wire))
    assert ([], 0) == codecs.Netstring().decode_many(wire, 3)


@pytest.mark.parametrize(
    "wire",
    [b":", b"00:", b"01:a,", b"-1:", b"+1:a,", b" 1:a,", b"1 :a,", b"1_0:", b"a", b"1a:", b"\xb2:", b"1,", b"0x1:"],
)
def test_a_length_that_is_not_canonical_is_refused(codecs, wire):
    """Digits without leading zero and sign, as soon as a byte shows it; in one piece and byte by byte."""
    with pytest.raises(BadLengthError, match="is not a length"):
        codecs.Netstring().decode_many(wire, 3)

    assert "bad_length" == decode_chunks(codecs.Netstring(), [wire], eof=False).reason
    assert "bad_length" == decode_chunks(codecs.Netstring(), [bytes((b,)) for b in wire], eof=False).reason


def test_a_length_without_its_colon_is_not_judged(codecs):
    """Unless it has too many digits: what follows may show that it is no length at all."""
    codec = codecs.Netstring(max_frame_bytes=100)

    assert NEED_DATA is codec.decode(Buffer(b"999"))
    assert ["bad_length"] * 2 == [decode_chunks(codec, pieces).reason for pieces in ([b"999x"], [b"999", b"x"])]


@pytest.mark.parametrize(("wire", "size"), [(b"101:", 101), (b"999:", 999), (b"1000", 1000), (b"99999999999", 9999)])
def test_a_length_over_the_limit_is_refused_at_once(codecs, wire, size):
    """On the colon, or on the first digit too many: the message is not waited for."""
    with pytest.raises(FrameTooLongError) as caught:
        codecs.Netstring(max_frame_bytes=100).decode(Buffer(wire))

    assert (size, 100) == (caught.value.size, caught.value.limit)


@pytest.mark.parametrize("wire", [b"3:abc;", b"0:;", b"3:abcd,", b"1:a\n"])
def test_a_missing_comma_is_refused(codecs, wire):
    """The comma guards against a length that is wrong."""
    with pytest.raises(BadFrameError, match="a comma ends a netstring"):
        codecs.Netstring().decode(Buffer(wire))
    with pytest.raises(BadFrameError, match="a comma ends a netstring"):
        codecs.Netstring().decode_many(wire, 1)


def test_the_messages_before_a_bad_one_are_taken(codecs):
    """The batch ends before it."""

    assert ([b"a", b""], 7) == codecs.Netstring().decode_many(b"1:a,0:,1:a;", 9)
    assert ([b"a"], 4) == codecs.Netstring().decode_many(b"1:a,01:a,", 9)


def test_what_the_other_end_would_refuse_is_not_sent(codecs):
    """The limit holds both ways."""
    with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
        codecs.Netstring(max_frame_bytes=5).encode(b"hello!")
    with pytest.raises(TypeError, match="the codec netstring is bytes, not str"):
        codecs.Netstring().encode("text")


def test_a_datagram_is_no_netstring(codecs):
    """It has a length of its own."""

    assert b"3:abc," == codecs.Netstring().decode_datagram(b"3:abc,")


def test_the_laws_hold(codecs):
    """Cutting, batches, identity, refusals."""
    wires = [b"1:a,00:", b"100:", b"101:" + b"x" * 101 + b",", b"1:a,1:a;", b"9" * 30, b"5:abc"]
    check_codec(codecs.Netstring(max_frame_bytes=100), [b"", b"a", b"3:abc,", bytes(100)], wires)
