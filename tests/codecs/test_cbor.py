"""CBOR: data items one after the other."""

import datetime as dt
import sys
from dataclasses import dataclass

import pytest

from penstock.codecs import NEED_DATA, Buffer, parse_codec
from penstock.errors import (
    BadFrameError,
    BadPayloadError,
    ConfigurationError,
    FrameTooLongError,
    LocalProtocolError,
    TruncatedError,
)
from penstock.testing import check_codec, decode_chunks, decode_in_chunks

pytest.importorskip("cbor2")

# RFC 8949, appendix A.
VECTORS = [
    ("00", 0),
    ("1bffffffffffffffff", 2**64 - 1),
    ("c249010000000000000000", 2**64),
    ("20", -1),
    ("fb3ff199999999999a", 1.1),
    ("f4", False),
    ("f6", None),
    ("c074323031332d30332d32315432303a30343a30305a", dt.datetime(2013, 3, 21, 20, 4, tzinfo=dt.UTC)),
    ("40", b""),
    ("4401020304", b"\1\2\3\4"),
    ("62c3bc", "ü"),
    ("80", []),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("5f42010243030405ff", b"\1\2\3\4\5"),
    ("7f657374726561646d696e67ff", "streaming"),
    ("9fff", []),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
    ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
]


@pytest.mark.parametrize(("wire", "item"), VECTORS)
def test_the_items_of_the_rfc(codecs, wire, item):
    """In one piece, octet by octet, and one after the other."""
    wire = bytes.fromhex(wire)

    assert [item] == decode_in_chunks(codecs.Cbor(), wire, [])
    assert [item] * 3 == decode_in_chunks(codecs.Cbor(), wire * 3, [1] * 999)
    assert [item] == decode_in_chunks(codecs.Cbor(), codecs.Cbor().encode(item), [])


@pytest.mark.parametrize(
    "wire", ["1c", "3d", "fc", "df", "1f", "ff", "f818", "a1ff", "bf01ff", "5f01ff", "7f4100ff", "5f5fffff"]
)
def test_what_is_no_item_is_refused(codecs, wire):
    """On the header that cannot be right."""

    assert BadFrameError is type(decode_chunks(codecs.Cbor(), [bytes.fromhex(wire)], eof=False).error)


@pytest.mark.parametrize(
    "wire", ["a1800000", "a1a00000", "a1c10000", "bf9fff00ff", "d90102820102", "d81c8100", "62ffff", "c0616e"]
)
def test_what_python_cannot_hold_or_a_peer_could_misuse_is_refused(codecs, wire):
    """Keys that are containers, tags that make rings or sets, text that is none, a time that is none."""

    assert BadPayloadError is type(decode_chunks(codecs.Cbor(), [bytes.fromhex(wire)], eof=False).error)


@pytest.mark.parametrize("wire", ["5a00100000", "9a00100000", "ba00080000", "7bffffffffffffffff", "9bffffffffffffffff"])
def test_what_has_to_be_too_long_is_refused_on_its_header(codecs, wire):
    """Nothing is waited for."""

    assert FrameTooLongError is type(decode_chunks(codecs.Cbor(), [bytes.fromhex(wire)], eof=False).error)


def test_a_bomb_is_refused(codecs):
    """Arrays in arrays, tags on tags."""
    for opening in (b"\x81", b"\x9f", b"\xc6"):
        assert NEED_DATA is codecs.Cbor(max_depth=5).decode(Buffer(opening * 5))
        with pytest.raises(BadPayloadError, match="nested deeper than max_depth=5"):
            codecs.Cbor(max_depth=5).decode(Buffer(opening * 6))


@pytest.mark.parametrize(
    ("message", "error"),
    [({(1,): 2}, LocalProtocolError), ({1}, LocalProtocolError), ([[[1]]], LocalProtocolError), (object(), TypeError)],
)
def test_what_would_be_refused_is_not_sent(codecs, message, error):
    """The rules hold both ways."""
    with pytest.raises(error):
        codecs.Cbor(max_depth=2).encode(message)


def test_eof_within_an_item_is_a_truncated_stream(codecs):
    """With what had come."""
    with pytest.raises(TruncatedError) as caught:
        decode_in_chunks(codecs.Cbor(), b"\x82\x01", [])

    assert b"\x82\x01" == caught.value.partial


def test_the_laws_hold(codecs):
    """Cutting, batches, identity, refusals."""
    wires = [
        b"".join(bytes.fromhex(wire) for wire, _ in VECTORS),
        b"\x9f\x9f\x9f",
        b"\x82\x01\xff",
        b"\xbf\x01\x02\x03",
    ]
    check_codec(codecs.Cbor(max_frame_bytes=60), [None, 5, "a", [1, b"x"], {"a": [1]}, 2**70], wires)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    """At the start."""
    monkeypatch.setitem(sys.modules, "cbor2", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'penstock\[cbor\]'"):
        parse_codec("cbor")


@dataclass
class Fix:
    at: dt.datetime
    raw: bytes
    metres: float | None = None


def test_a_message_is_of_its_type(codecs):
    """An object with fields travels as a map of them; what CBOR itself has a type for stays that."""
    codec = codecs.Cbor(type=Fix)
    fix = Fix(dt.datetime(2013, 3, 21, 20, 4, tzinfo=dt.UTC), b"\xff")
    wire = codec.encode(fix)

    assert [fix] == decode_in_chunks(codec, wire, [1])
    assert [{"at": fix.at, "raw": b"\xff", "metres": None}] == decode_in_chunks(codecs.Cbor(), wire, [])


def test_a_message_that_is_not_of_the_type_is_refused(codecs):
    """With the place in it."""
    with pytest.raises(BadPayloadError, match=r"Expected `bytes`, got `str` - at `\$.raw`"):
        codecs.Cbor(type=Fix).decode(
            Buffer(codecs.Cbor().encode({"at": dt.datetime(2013, 3, 21, tzinfo=dt.UTC), "raw": "ff"}))
        )


def test_what_has_no_fields_is_not_written(codecs):
    """It is the application's mistake, and says so."""
    with pytest.raises(TypeError, match="the message has no CBOR form"):
        codecs.Cbor().encode({"lock": object()})
