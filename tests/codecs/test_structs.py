"""Struct: tuples in a binary layout."""

import math
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec
import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadPayloadError, ConfigurationError, LocalProtocolError, RemoteProtocolError, TruncatedError
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


class Reading(NamedTuple):
    sensor: int
    celsius: float


@dataclass
class NoTuple:
    sensor: int
    celsius: float


@pytest.mark.parametrize("kind", [Reading, tuple[int, float], tuple[float, ...], tuple])
def test_a_record_is_given_as_its_type(codecs, kind):
    """One by one and in batches; what is written is the same."""
    codec = codecs.Struct(">Hf", type=kind)
    wire = codec.encode(Reading(7, 0.5))

    message = codec.decode(Buffer(wire))
    assert ((7, 0.5), type(message)) == (message, kind if isinstance(kind, type) and kind is Reading else tuple)
    assert ([message] * 2, 12) == codec.decode_many(wire * 2, 9)


def test_a_record_that_is_not_of_the_type_is_refused(codecs):
    """Alone, and after one that is: that one comes first."""
    codec = codecs.Struct(">H", type=tuple[Annotated[int, msgspec.Meta(le=9)]])

    with pytest.raises(BadPayloadError, match=r"Expected `int` <= 9 - at `\$\[0\]`"):
        codec.decode(Buffer(b"\0\12"))
    with pytest.raises(BadPayloadError):
        codec.decode_many(b"\0\12\0\1", 9)
    assert ([(9,)], 2) == codec.decode_many(b"\0\11\0\12", 9)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (NoTuple, "cannot decode a record into NoTuple: write a NamedTuple or tuple"),
        (list[int], r"cannot decode a record into list\[int\]: write a NamedTuple or tuple"),
        (tuple[int], r"tuple\[int\] has 1 fields, a record of '>Hf' 2"),
    ],
)
def test_a_type_that_no_record_has_is_refused(codecs, kind, problem):
    """When the codec is made."""
    with pytest.raises(ConfigurationError, match=problem):
        codecs.Struct(">Hf", type=kind)
