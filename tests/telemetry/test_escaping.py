"""What a peer wrote stays on its line and cannot move a cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.telemetry.escaping import escape_bytes, escape_text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1", "GET / HTTP/1.1"),
        (b"a\r\nb\0", "a\\x0d\\x0ab\\x00"),
        (b"\x1b[2J\xff", "\\x1b[2J\\xff"),
        (b"\\x41", "\\\\x41"),
        (b"", ""),
        (b"x" * 256, "x" * 256),
        (b"x" * 1_000_000, "x" * 256 + "... (999744 more bytes)"),
    ],
)
def test_bytes_are_written_as_printable_ascii(data, text):
    """At most 256 of them; nothing that was not escaped can look escaped."""

    assert text == escape_bytes(data)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("café ☂", "café ☂"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x9b0m", "\\x1b[31mred\\x9b0m"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("\udcff", "\\udcff"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_text_keeps_what_is_printable(text, escaped):
    """Control characters, those that turn the direction of text, and lone surrogates are written as codes."""

    assert escaped == escape_text(text)


def test_text_is_cut_where_asked():
    """And says how much is missing."""

    assert "aaa... (2 more characters)" == escape_text("aaaaa", 3)
    assert "aaa" == escape_text("aaa", 3)


@given(st.binary(max_size=600))
def test_escaped_bytes_are_one_short_line_of_printable_ascii(data):
    """Whatever the bytes."""
    text = escape_bytes(data)

    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= 4 * 256 + 30


@given(st.text(max_size=300))
def test_escaped_text_is_one_printable_line(text):
    """Whatever the text."""

    assert escape_text(text).isprintable()


@given(st.binary(max_size=200))
def test_escaping_loses_nothing(data):
    """What is not cut can be read back."""

    assert data == escape_bytes(data).encode().decode("unicode_escape").encode("latin-1")
