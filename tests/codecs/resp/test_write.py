"""What RESP has no form for, or the other end would refuse, is not written."""

import enum

import pytest

from penstock.codecs.resp import Attributed, ErrorReply, Push, SimpleString, VerbatimString
from penstock.errors import LocalProtocolError
from penstock.testing import decode_in_chunks


def test_null_is_a_null_string_in_resp2(codecs):
    """Every client of RESP2 reads it."""

    assert b"$-1\r\n" == codecs.Resp().encode(None)
    assert b"*1\r\n$-1\r\n" == codecs.Resp().encode([None])


@pytest.mark.parametrize(
    "message",
    [
        True,
        1.5,
        2**63,
        -(2**63) - 1,
        {},
        frozenset(),
        set(),
        Push(),
        VerbatimString(b""),
        Attributed(1, {}),
        ErrorReply(b"a\r\nb"),
        [True],
    ],
)
def test_what_resp2_has_no_type_for_is_not_sent(codecs, message):
    """It says which protocol has."""
    with pytest.raises(LocalProtocolError, match=r"RESP2 has no .*: protocol=3 has"):
        codecs.Resp(protocol=2).encode(message)

    assert codecs.Resp(protocol=3).encode(message)


@pytest.mark.parametrize("message", ["text", ("a",), [b"a", "text"], {b"a": ("b",)}, object(), 1j])
def test_what_would_come_back_as_something_else_is_refused(codecs, message):
    """Text has to be encoded, a tuple made a list."""
    with pytest.raises(TypeError, match="RESP has no"):
        codecs.Resp(protocol=3).encode(message)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (SimpleString(b"a\rb"), "cannot hold CR or LF"),
        (SimpleString(b"a\n"), "cannot hold CR or LF"),
        ([Push()], "push inside another value"),
        (Attributed(Push(), {}), "push inside another value"),
        (10**640, "640 digits at most"),
        (-(10**640), "640 digits at most"),
        (VerbatimString(b"", "text"), "three ASCII characters, not 'text'"),
        (VerbatimString(b"", "txé"), "three ASCII characters, not 'txé'"),
        ([[[[1]]]], "nested deeper than max_depth=3"),
        ({b"a": {b"b": {b"c": {}}}}, "nested deeper than max_depth=3"),
    ],
)
def test_what_the_other_end_would_refuse_is_not_sent(codecs, message, problem):
    """The rules hold both ways."""
    with pytest.raises(LocalProtocolError, match=problem):
        codecs.Resp(protocol=3, max_depth=3).encode(message)


def test_the_largest_numbers_come_back(codecs):
    """640 digits, either sign."""
    codec = codecs.Resp(protocol=3)
    numbers = [10**640 - 1, 1 - 10**640, 2**63, -(2**63) - 1, 2**63 - 1, -(2**63)]

    assert numbers == decode_in_chunks(codec, codec.encode_many(numbers), [])


def test_the_limit_holds_both_ways(codecs):
    """In bytes of the whole value."""
    codec = codecs.Resp(max_frame_bytes=11)
    with pytest.raises(LocalProtocolError, match="value of 12 bytes exceeds max_frame_bytes=11"):
        codec.encode(b"hello!")

    assert b"$5\r\nhello\r\n" == codec.encode(b"hello")


def test_what_derives_from_a_type_is_written_as_it(codecs):
    """An IntEnum as its number, a bytearray as bytes."""
    codec = codecs.Resp(protocol=3)

    assert b"*3\r\n:7\r\n$1\r\na\r\n$1\r\nb\r\n" == codec.encode(
        [enum.IntEnum("n", {"SEVEN": 7}).SEVEN, bytearray(b"a"), memoryview(b"b")]
    )
