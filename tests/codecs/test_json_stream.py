"""JSON without newlines: values one after the other."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadFrameError, BadPayloadError, FrameTooLongError, LocalProtocolError, TruncatedError
from penstock.testing import check_codec, decode_chunks, decode_in_chunks


@pytest.mark.parametrize(
    ("wire", "values"),
    [
        (b'{"a":1}{"b":[2]}[3]', [{"a": 1}, {"b": [2]}, [3]]),
        (b'{"a": "}"} {"b": "\\"{"}\r\n', [{"a": "}"}, {"b": '"{'}]),
        (b'"a""b\\\\""\\""', ["a", "b\\", '"']),
        (b"1 2\ttrue\nnull false ", [1, 2, True, None, False]),
        (b"[\n 1,\n 2\n]\n", [[1, 2]]),
        (b" \n\t ", []),
        (b"[1]2", [[1], 2]),
    ],
)
def test_a_value_ends_where_it_ends(codecs, wire, values):
    """Wherever the bytes are cut; white space between values is nothing."""

    assert values == decode_in_chunks(codecs.Json(), wire, [])
    assert values == decode_in_chunks(codecs.Json(), wire, [1] * 99)


def test_white_space_is_not_kept(codecs):
    """A peer that sends nothing else fills no memory."""
    buffer = Buffer(b" \n" * 1000)

    assert NEED_DATA is codecs.Json().decode(buffer)
    assert b"" == bytes(buffer)


def test_what_does_not_show_its_end_gets_a_newline(codecs):
    """All else stands as it is."""
    codec = codecs.Json()

    assert [b'{"a":1}', b"[]", b'"x"', b"5\n", b"null\n"] == [codec.encode(it) for it in ({"a": 1}, [], "x", 5, None)]
    assert b"5" == codec.encode_datagram(5)


@pytest.mark.parametrize("wire", [b"}", b"]", b",", b"x", b"\xef\xbb\xbf{}", b"{}:"])
def test_what_begins_no_value_is_refused(codecs, wire):
    """At its first byte."""

    assert BadFrameError is type(decode_chunks(codecs.Json(), [wire], eof=False).error)


@pytest.mark.parametrize("wire", [b"{]", b"[1 2]", b"tru ", b"01 ", b'"\n"', b"[[[[", b"1{} "])
def test_what_is_no_json_is_refused(codecs, wire):
    """Or is nested too deep."""

    assert BadPayloadError is type(decode_chunks(codecs.Json(max_depth=3), [wire], eof=False).error)


@pytest.mark.parametrize("wire", [b"[1", b'"a', b'{"a":"\\'])
def test_eof_within_a_value_is_a_truncated_stream(codecs, wire):
    """A number may end there."""
    with pytest.raises(TruncatedError) as caught:
        decode_in_chunks(codecs.Json(), wire, [])

    assert wire == caught.value.partial
    assert [12] == decode_in_chunks(codecs.Json(), b"12", [1, 1])


def test_the_limit_holds_both_ways(codecs):
    """Terminated or not, white space before it not counted."""
    codec = codecs.Json(max_frame_bytes=5)
    for wire in (b"[1234]", b"[1234", b"123456", b'"abcde'):
        assert FrameTooLongError is type(decode_chunks(codec, [wire + b"       "], eof=False).error)

    assert [[123]] == decode_in_chunks(codec, b"      [123]", [1] * 99)
    with pytest.raises(LocalProtocolError):
        codec.encode([1234])


@pytest.mark.parametrize("options", [{}, {"max_frame_bytes": 20, "max_depth": 2}])
def test_the_laws_hold(codecs, options):
    """Cutting, batches, identity, refusals."""
    wires = [b'{"a":1}{"b":[[[', b"1 2 x", b'"' + b"x" * 30, b"[" * 9, b'{"a":"\\"}"}  1', b" " * 50]
    check_codec(codecs.Json(**options), [None, 5, "a", [1, "}"], {"a": [1]}], wires)
