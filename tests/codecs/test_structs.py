"""Struct: tuples in a binary layout."""

import math

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError, TruncatedError
from penstock.testing import check_codec, decode_in_chunks


@pytest.mark.parametrize(
    ("layout", "message", "wire"),
    [
        (">H", (258,), b"\1\2"),
        ("<H", (258,), b"\2\1"),
        ("!bBh", (-1, 255, -2), b"\xff\xff\xff\xfe"),
        (">Hd", (1, 0.5), b"\0\1\x3f\xe0\0\0\0\0\0\0"),
        (">3s?", (b"abc", True), b"abc\1"),
        (">BxB", (1, 2), b"\1\0\2"),
        (">q", (-(2**63),), b"\x80" + bytes(7)),
    ],
)
def test_the_bytes_are_those_of_the_format(codecs, layout, message, wire):
    """As the struct module packs them, without this machine's padding."""
    codec = codecs.Struct(layout)

    assert wire == codec.encode(message)
    assert [message, message] == decode_in_chunks(codec, wire * 2, [1])
    assert ([message, message], 2 * len(wire)) == codec.decode_many(wire * 2 + wire[:-1], 9)
    assert ([message], len(wire)) == codec.decode_many(wire * 2, 1)


def test_an_incomplete_record_waits(codecs):
    """Every byte of it counts."""

    assert NEED_DATA is codecs.Struct(">I").decode(Buffer(b"abc"))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (">B", (256,)),
        (">B", (-1,)),
        (">B", ("a",)),
        (">e", (1e9,)),
        (">4s", (b"abc",)),  # struct.pack would pad it
        (">4s", (b"abcde",)),  # and cut this
        (">?", (5,)),
        (">q", (2**63,)),
    ],
)
def test_a_value_that_would_not_arrive_is_not_sent(codecs, layout, message):
    """Nothing is cut, padded or made a bool on the way."""
    with pytest.raises(LocalProtocolError):
        codecs.Struct(layout).encode(message)


def test_floats_are_rounded_to_their_field(codecs):
    """That is what a float field is; NaN passes too."""
    codec = codecs.Struct(">fd")

    assert (0.10000000149011612, 0.1) == codec.decode(Buffer(codec.encode((0.1, 0.1))))
    assert all(map(math.isnan, codec.decode(Buffer(codec.encode((math.nan, math.nan))))))
    assert (1.0, 2.0) == codec.decode(Buffer(codec.encode((1, 2))))


@pytest.mark.parametrize("message", [(1,), (1, 2, 3), [1, 2], b"\1\2", None, 5])
def test_a_message_is_a_tuple_with_a_value_for_each_field(codecs, message):
    """A list would come back as a tuple."""
    with pytest.raises(TypeError, match="is a tuple of 2, not"):
        codecs.Struct(">BB").encode(message)


@pytest.mark.parametrize(
    ("layout", "problem"),
    [
        ("H", "names no byte order"),
        ("@H", "names no byte order"),
        ("=H", "names no byte order"),
        ("", "names no byte order"),
        (">Y", "is not one of the struct module"),
        (">é", "is not one of the struct module"),
        (">P", "is not one of the struct module"),
        (">", "must be 1 to 1048576, not 0"),
        (">0s", "must be 1 to 1048576, not 0"),
        (">1048577s", "must be 1 to 1048576, not 1048577"),
    ],
)
def test_a_wrong_format_is_refused_when_the_codec_is_made(codecs, layout, problem):
    """With what is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        codecs.Struct(layout)

    assert problem in caught.value.problem


def test_a_rest_at_eof_is_truncation(codecs):
    """A record was begun."""
    with pytest.raises(TruncatedError):
        codecs.Struct(">I").finish(Buffer(b"abc"))


def test_a_datagram_is_one_record(codecs):
    """Neither less nor more."""
    codec = codecs.Struct(">H")
    with pytest.raises(TruncatedError):
        codec.decode_datagram(b"a")
    with pytest.raises(RemoteProtocolError, match="1 bytes follow"):
        codec.decode_datagram(b"\1\2\3")

    assert (258,) == codec.decode_datagram(b"\1\2")
    assert b"\1\2" == codec.encode_datagram((258,))


def test_the_laws_hold(codecs):
    """Cutting, batches, identity, refusals."""
    check_codec(codecs.Struct("<Hbd"), [(0, 0, 0.0), (65535, -128, -1.5)])
    assert 11 == codecs.Struct("<Hbd").max_frame_bytes
