"""What RESP has no form for, or the other end would refuse, is not written."""

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.codecs.resp import (
    NULL_ARRAY,
    Attributed,
    ErrorReply,
    InlineCommand,
    Push,
    Resp,
    SimpleString,
    VerbatimString,
    command,
)
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


def test_a_command_is_made_of_what_clients_give(codecs):
    """Text is UTF-8, numbers are their digits, an IntEnum its number."""

    class Level(enum.IntEnum):
        HIGH = 3

    words = command("SET", b"k", "é", 1, -2.5, Level.HIGH)

    assert [b"SET", b"k", "é".encode(), b"1", b"-2.5", b"3"] == words
    assert b"*1\r\n$4\r\nPING\r\n" == codecs.Resp().encode(command("PING"))


@pytest.mark.parametrize("argument", [None, True, [b"a"], object()])
def test_what_no_server_would_understand_is_no_argument(argument):
    """As redis-py has it."""
    with pytest.raises(TypeError, match="an argument of a command is bytes, str, int or float"):
        command("SET", argument)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([b"PING"], b"PING\r\n"),
        ([b"SET", b"k", b"a b"], b'SET k "a b"\r\n'),
        ([b"SET", b"", b'\r\n\xff"\\'], b'SET "" "\\x0d\\x0a\\xff\\x22\\x5c"\r\n'),
        ([b"*1", b"-x"], b'"*1" "-x"\r\n'),
        ([b"it's"], b'"it\'s"\r\n'),
    ],
)
def test_a_command_in_words_is_written_as_it_is_read(codecs, words, line):
    """Quotes where they are needed."""
    codec = codecs.Resp(inline=True)

    assert line == codec.encode(InlineCommand(words))
    assert [words] == decode_in_chunks(codec, line, [])


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=4))
def test_every_command_in_words_comes_back(words):
    """Whatever its bytes."""
    codec = Resp(inline=True)

    assert [words] == decode_in_chunks(codec, codec.encode(InlineCommand(words)), [])


@pytest.mark.parametrize(("words", "error"), [([], LocalProtocolError), (["a"], TypeError)])
def test_what_is_no_command_in_words_is_refused(codecs, words, error):
    """It has a word, and words are bytes."""
    with pytest.raises(error):
        codecs.Resp().encode(InlineCommand(words))


def test_a_null_array_is_written_where_resp2_has_one(codecs):
    """EXEC answers one. It arrives as None, as every null."""

    assert b"*-1\r\n" == codecs.Resp().encode(NULL_ARRAY)
    assert b"*1\r\n*-1\r\n" == codecs.Resp().encode([NULL_ARRAY])
    assert b"_\r\n" == codecs.Resp(protocol=3).encode(NULL_ARRAY)
    assert "NULL_ARRAY" == repr(NULL_ARRAY)


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
