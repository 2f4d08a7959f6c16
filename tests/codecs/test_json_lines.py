"""JSON Lines: a JSON value on each line."""

import datetime as dt
import enum
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import (
    BadEncodingError,
    BadPayloadError,
    ConfigurationError,
    FrameTooLongError,
    LocalProtocolError,
    TruncatedError,
)
from penstock.testing import check_codec, decode_chunks, decode_in_chunks

BOMB = 100_000


class Point(msgspec.Struct):
    """A type to decode into."""

    x: int
    y: float = 0.0


@dataclass
class Picky:
    """A type with code of its own, and a fault in it."""

    x: int

    def __post_init__(self):
        if 1 / self.x == 1:
            raise ValueError("odd")


class TestDecoding:
    """From lines to values."""

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (b"null", None),
            (b"true", True),
            (b"-0", 0),
            (b"18446744073709551616", 2**64),
            (b"1.5e3", 1500.0),
            (b'"\\u00e9\xc3\xa9"', "éé"),
            (b'{"a":[1,{"b":null}]}', {"a": [1, {"b": None}]}),
            (b" [ 1 , 2 ] ", [1, 2]),
            (b"1\r", 1),
            (b'{"a":1,"a":2}', {"a": 2}),
            (b'"[[[[\\"{{{{"', '[[[["{{{{'),
        ],
    )
    def test_a_line_is_a_value(self, codecs, line, message):
        """White space and CR around it do not matter; of a key that stands twice the last counts."""

        assert [message] == decode_in_chunks(codecs.JsonLines(), line + b"\n", [])
        assert [message] == decode_in_chunks(codecs.JsonLines(), line + b"\n", [1] * 99)
        assert ([message], len(line) + 1) == codecs.JsonLines().decode_many(line + b"\n" + line, 9)

    def test_an_incomplete_line_waits(self, codecs):
        """Even when its value is complete."""

        assert NEED_DATA is codecs.JsonLines().decode(Buffer(b'{"a":1}'))

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b" ",
            b"nul",
            b"{",
            b"[1,]",
            b"01",
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"1 2",
            b"'a'",
            b'"\t"',
            b"\xef\xbb\xbf1",
            b'"\\ud800"',
            b"{1:2}",
            b"9" * 5000,
        ],
    )
    def test_what_is_no_json_is_refused(self, codecs, line):
        """An empty line, NaN and a byte order mark too; the line stays in the buffer."""
        buffer = Buffer(line + b"\n")
        with pytest.raises(BadPayloadError):
            codecs.JsonLines().decode(buffer)
        with pytest.raises(BadPayloadError):
            codecs.JsonLines().decode_many(line + b"\n", 1)

        assert line + b"\n" == bytes(buffer)

    @pytest.mark.parametrize(
        ("line", "offset"),
        [(b'"\xff"', 1), (b'"a\xc3"', 2), (b"\x80", 0), (b'{"a":"\xed\xa0\x80"}', 6), (b'["\xc3\xa9\xf5"]', 4)],
    )
    def test_what_is_no_utf8_is_refused_where_it_stands(self, codecs, line, offset):
        """The offset is that of the first bad byte in the line."""
        with pytest.raises(BadEncodingError) as caught:
            codecs.JsonLines().decode(Buffer(line + b"\n"))

        assert offset == caught.value.offset

    @pytest.mark.parametrize("wanted", [Any, str, int])
    def test_whatever_class_the_library_raises_the_bytes_decide(self, codecs, refuse, wanted):
        """A line that is no UTF-8 is told from other faults without the library's help; other faults in its words."""
        codec = refuse(codecs.JsonLines(type=wanted), "_decode", "_decode_any")
        with pytest.raises(BadEncodingError) as caught:
            codec.decode(Buffer(b'"a\xff"\n'))
        with pytest.raises(BadPayloadError, match="in other words"):
            codec.decode(Buffer(b'"a\n'))

        assert 2 == caught.value.offset

    def test_a_fault_in_the_code_of_a_type_is_not_the_peers(self, codecs):
        """The line is well formed: the error reaches whoever wrote the type. A ValueError is how a type says no."""
        with pytest.raises(ZeroDivisionError):
            codecs.JsonLines(type=Picky).decode(Buffer(b'{"x":0}\n'))
        with pytest.raises(BadPayloadError, match="odd"):
            codecs.JsonLines(type=Picky).decode(Buffer(b'{"x":1}\n'))

    def test_a_bad_line_after_good_ones_is_left_for_the_next_call(self, codecs):
        """The good ones are not lost with it."""

        assert ([1, 2], 5) == codecs.JsonLines().decode_many(b"1\r\n2\nx\n3\n", 9)

    def test_a_line_over_the_limit_is_refused_before_it_is_read(self, codecs):
        """As bytes, not as JSON."""
        with pytest.raises(FrameTooLongError):
            codecs.JsonLines(max_frame_bytes=5).decode(Buffer(b"[1,2,3"))
        with pytest.raises(FrameTooLongError):
            codecs.JsonLines(max_frame_bytes=5).decode_many(b"[1,2,3]\n", 1)


class TestDepth:
    """Arrays and objects one inside the other."""

    @pytest.mark.parametrize("bomb", [b"[" * BOMB, b'{"a":' * BOMB, b"[" * BOMB + b"]" * BOMB, b'["\\"",' * BOMB])
    def test_a_bomb_is_refused(self, codecs, bomb):
        """100,000 levels are a bad payload like any other, not a crash or a RecursionError."""
        codec = codecs.JsonLines(max_frame_bytes=2**21)

        assert "bad_payload" == decode_chunks(codec, [bomb + b"\n"]).reason
        with pytest.raises(BadPayloadError, match="nested deeper than max_depth=128"):
            codec.decode_datagram(bomb)

    @pytest.mark.parametrize("filler", [b"", b'"[[[[",', b'"\\"[[[[",', b'"\\\\",', b"[],", b'{"[":"{"},', b"1," * 50])
    def test_exactly_max_depth_is_allowed(self, codecs, filler):
        """Brackets in strings, and those that are closed again, do not count."""
        codec = codecs.JsonLines(max_depth=3)
        inner = b"[" + filler * 100 + b"1]"

        assert NEED_DATA is not codec.decode(Buffer(b"[" + inner + b"]\n"))
        with pytest.raises(BadPayloadError, match="nested deeper than max_depth=3"):
            codec.decode(Buffer(b"[[[" + inner + b"]]]\n"))

    def test_a_deep_message_is_not_sent(self, codecs):
        """The other end would refuse it."""
        codec = codecs.JsonLines(max_depth=3)
        with pytest.raises(LocalProtocolError, match="nested deeper than max_depth=3"):
            codec.encode([[[[1]]]])

        assert b"[[[1]]]\n" == codec.encode([[[1]]])

    def test_a_message_that_holds_itself_is_not_sent(self, codecs):
        """It has no end."""
        message = []
        message.append(message)
        with pytest.raises(LocalProtocolError):
            codecs.JsonLines().encode(message)


class TestEncoding:
    """From values to lines."""

    def test_a_value_is_one_compact_line(self, codecs):
        """A line feed in a string is escaped."""

        assert b'{"a":[1,"x\\ny"]}\n' == codecs.JsonLines().encode({"a": [1, "x\ny"]})
        assert b"1\n2\n" == codecs.JsonLines().encode_many([1, 2])

    def test_what_json_has_no_form_for_is_written_as_msgspec_writes_it(self, codecs):
        """A tuple as an array, an enum as its value, a datetime as a string, a struct as an object."""
        color = enum.Enum("color", {"RED": "red"})
        message = (color.RED, dt.date(2026, 1, 2), Point(1, 2.5))

        assert b'["red","2026-01-02",{"x":1,"y":2.5}]\n' == codecs.JsonLines().encode(message)

    @pytest.mark.parametrize(
        "message",
        [
            float("nan"),
            float("inf"),
            [None, -float("inf")],
            {"a": (None, float("nan"))},
            Point(1, float("nan")),
            [None, msgspec.Raw(b"1"), float("nan")],
            "\ud800",
            msgspec.Raw(b"1\n"),
        ],
    )
    def test_what_would_not_arrive_is_not_sent(self, codecs, message):
        """NaN would be null, a lone surrogate is no UTF-8, a raw line feed ends the line."""
        with pytest.raises(LocalProtocolError):
            codecs.JsonLines().encode(message)

    @pytest.mark.parametrize("message", [None, [None, 1.5], {"null": None}, "null", [None, msgspec.Raw(b"null")]])
    def test_null_itself_is_sent(self, codecs, message):
        """Only a number that is none is refused."""

        assert b"null" in codecs.JsonLines().encode(message)

    def test_what_the_other_end_would_refuse_is_not_sent(self, codecs):
        """The limit holds both ways, without the line feed."""
        codec = codecs.JsonLines(max_frame_bytes=7)
        with pytest.raises(LocalProtocolError, match="JSON of 8 bytes exceeds max_frame_bytes=7"):
            codec.encode("hello!")

        assert b'"hello"\n' == codec.encode("hello")
        assert "hello" == codec.decode(Buffer(b'"hello"\n'))

    def test_whatever_class_the_library_raises_a_message_without_a_form_is_told(self, codecs, refuse):
        """With the library's own words."""
        with pytest.raises(LocalProtocolError, match="in other words"):
            refuse(codecs.JsonLines(), "_encode").encode(1)

    def test_an_unknown_type_is_refused(self, codecs):
        """As msgspec says it."""
        with pytest.raises(TypeError):
            codecs.JsonLines().encode(object())


class TestType:
    """Decoding into a type of one's own."""

    def test_a_message_is_of_the_type(self, codecs):
        """Both ways."""
        codec = codecs.JsonLines(type=Point)
        check_codec(codec, [Point(1, 2.5), Point(-1)], [b'{"x":"1"}\n', b"[]\n", b'{"x":1,"z":"\xff"}\n'])

        assert Point(1, 2.5) == codec.decode(Buffer(b'{"x":1,"y":2.5}\n'))

    def test_what_is_not_of_the_type_is_refused(self, codecs):
        """With what msgspec says about it."""
        with pytest.raises(BadPayloadError, match=r"Expected `int`, got `str` - at `\$.x`"):
            codecs.JsonLines(type=Point).decode(Buffer(b'{"x":"1"}\n'))

    def test_what_the_type_does_not_ask_for_is_utf8_all_the_same(self, codecs):
        """Two readers of one line must agree whether it is JSON."""
        with pytest.raises(BadEncodingError) as caught:
            codecs.JsonLines(type=Point).decode(Buffer(b'{"x":1,"z":"\xff"}\n'))

        assert 12 == caught.value.offset


class TestEof:
    """A last line without LF."""

    def test_it_is_truncated_by_default(self, codecs):
        """The value may have been longer: ``1`` may have been ``12``."""
        with pytest.raises(TruncatedError):
            codecs.JsonLines().finish(Buffer(b"1"))

    def test_it_is_a_message_where_that_was_asked_for(self, codecs):
        """If it is JSON."""
        codec = codecs.JsonLines(unterminated="deliver")

        assert [1, 2] == decode_in_chunks(codec, b"1\n2", [])
        assert "bad_payload" == decode_chunks(codec, [b"{"]).reason
        assert NEED_DATA is codec.finish(Buffer())


class TestDatagrams:
    """A datagram is one value."""

    def test_line_feeds_are_white_space_there(self, codecs):
        """A line feed at the end or within is allowed, none is written."""

        assert {"a": 1} == codecs.JsonLines().decode_datagram(b'{\n"a":1}\n')
        assert b'{"a":1}' == codecs.JsonLines().encode_datagram({"a": 1})

    @pytest.mark.parametrize("data", [b"", b"1\n2", b"{"])
    def test_less_or_more_than_one_value_is_refused(self, codecs, data):
        """Nothing is half taken."""
        with pytest.raises(BadPayloadError):
            codecs.JsonLines().decode_datagram(data)

    def test_the_limit_holds(self, codecs):
        """Before anything is parsed."""
        with pytest.raises(FrameTooLongError) as caught:
            codecs.JsonLines(max_frame_bytes=5).decode_datagram(b"[1,2,3]")

        assert (7, 5) == (caught.value.size, caught.value.limit)
        assert [1, 2] == codecs.JsonLines(max_frame_bytes=5).decode_datagram(b"[1,2]")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_depth": 0}, "max_depth must be 1 to 512, not 0"),
        ({"max_depth": 513}, "max_depth must be 1 to 512, not 513"),
        ({"unterminated": "no"}, "unterminated must be one of refuse, deliver, not 'no'"),
        ({"max_frame_bytes": 0}, "max_frame_bytes must be 1 or more, not 0"),
    ],
)
def test_a_wrong_option_is_refused_when_the_codec_is_made(codecs, options, problem):
    """With what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        codecs.JsonLines(**options)

    assert problem == caught.value.problem


@pytest.mark.parametrize("options", [{}, {"unterminated": "deliver"}, {"max_frame_bytes": 40, "max_depth": 2}])
def test_the_laws_hold(codecs, options):
    """Cutting, batches, identity, refusals."""
    messages = [None, True, 0, -1.5, "é\n", [], {"a": [1, "b"]}]
    check_codec(
        codecs.JsonLines(**options), messages, [b"1\nx\n2\n", b"[[[1]]]\n", b"\n", b'"\xff"\n', b" " * 41 + b"\n"]
    )
