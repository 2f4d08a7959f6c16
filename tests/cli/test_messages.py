"""Messages as people and pipes write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.messages import MIN_LINE_BYTES, LineSplitter, parse_message, show_message
from penstock.cli.objects import made_of_json
from penstock.codecs import parse_codec
from penstock.codecs.resp.values import Attributed, ErrorReply, Push, SimpleString, VerbatimString
from penstock.errors import ConfigurationError


@pytest.mark.parametrize("codec", ["raw", "lines", "netstring", "length-prefixed"])
def test_a_line_is_a_message_of_a_codec_of_bytes(codec):
    """Nothing is added, nothing is taken away, whatever the bytes."""
    codec = parse_codec(codec)

    assert b"caf\xe9 \\x41" == parse_message(b"caf\xe9 \\x41", codec, "line 1")
    assert b"caf\xe9 \\x41" == show_message(b"caf\xe9 \\x41", codec)


@pytest.mark.parametrize("codec", ["json-lines", "msgpack"])
def test_a_line_is_json_for_a_codec_of_objects(codec):
    """And what comes back is shown as JSON."""
    codec = parse_codec(codec)

    assert {"a": [1, None, "é"]} == parse_message('{"a": [1, null, "é"]}'.encode(), codec, "line 1")
    assert '{"a": [1, null, "é"]}'.encode() == show_message({"a": [1, None, "é"]}, codec)


def test_a_header_and_a_body_are_two_strings():
    """Of JSON, which are bytes on the wire."""
    codec = parse_codec("varint:offset=1,header=split")

    assert b"T\x02hi" == codec.encode(parse_message(b'["T", "hi"]', codec, "line 1"))
    assert b'["T", "hi"]' == show_message((b"T", b"hi"), codec)


def test_people_write_what_is_sent_and_see_what_is_received():
    """Where those are of two codecs."""
    codec = parse_codec("json-lines/lines")

    assert b'{"a": 1}' == parse_message(b'{"a": 1}', codec, "line 1")
    assert b'{"a": 1}' == show_message({"a": 1}, codec)


@pytest.mark.parametrize("text", [b"", b"{", b"hello", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused_with_its_line(text):
    """The user's mistake, in the user's terms."""
    with pytest.raises(ConfigurationError) as caught:
        parse_message(text, parse_codec("json-lines"), "line 7 of the input")

    assert str(caught.value).startswith("line 7 of the input: json-lines messages are written as JSON: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (b"caf\xc3\xa9 \xff", '"café \\\\xff"'),
        ({1: b"a", b"k": (1, 2)}, '{"1": "a", "k": [1, 2]}'),
        ({1}, "[1]"),
        (float("inf"), "Infinity"),
        (ValueError("no JSON at all"), '"no JSON at all"'),
        (SimpleString(b"OK"), '"OK"'),
        (ErrorReply(b"ERR no"), '{"error": "ERR no"}'),
        ([ErrorReply(b"ERR no"), VerbatimString(b"text"), Push([1])], '[{"error": "ERR no"}, "text", [1]]'),
        (Attributed({b"a": 1}, {b"ttl": 1}), '{"a": 1}'),
    ],
)
def test_what_json_cannot_say_is_shown_as_near_as_it_can(message, shown):
    """msgpack has bytes and keys of any type, RESP has errors, sets, and values with attributes."""

    assert shown == show_message(message, parse_codec("msgpack")).decode()


@given(st.lists(st.binary(max_size=20)), st.booleans())
def test_where_reads_cut_the_input_does_not_matter(pieces, keep_ends):
    """The same bytes give the same lines."""
    splitter = LineSplitter(100, keep_ends=keep_ends)
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.finish()
    whole = LineSplitter(100, keep_ends=keep_ends)

    assert whole.feed(b"".join(pieces)) + whole.finish() == lines
    assert b"".join(pieces).rstrip(b"\n") == (b"" if keep_ends else b"\n").join(lines).rstrip(b"\n")


def test_the_last_line_needs_no_newline():
    """And an empty rest is no line."""
    splitter = LineSplitter(100)

    assert [b"a", b""] == splitter.feed(b"a\n\nb")
    assert [b"b"] == splitter.finish()
    assert [] == splitter.finish()


def test_a_line_without_end_is_refused():
    """Memory is bounded, whatever is piped in."""
    splitter = LineSplitter(100)
    with pytest.raises(ConfigurationError) as caught:
        for _ in range(MIN_LINE_BYTES // 65536 + 1):
            splitter.feed(b"x" * 65536)

    assert "a line of input is longer than 1048576 bytes; --codec raw has no lines" == str(caught.value)


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError])
def test_whatever_class_the_library_raises_what_is_no_object_is_told(monkeypatch, kind):
    """A release of msgspec whose errors are no ValueErrors is the same to the user."""

    def refuse(*_arguments, **_options):
        raise kind("in other words")

    monkeypatch.setattr("msgspec.convert", refuse)
    with pytest.raises(ValueError, match="in other words"):
        made_of_json(1, int)
