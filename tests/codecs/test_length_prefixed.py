"""Length-prefixed: a binary length before each message."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadLengthError, ConfigurationError, FrameTooLongError, LocalProtocolError, TruncatedError
from penstock.testing import check_codec, decode_chunks, decode_in_chunks

WIRES = [
    ({}, b"hi", b"\0\0\0\2hi"),
    ({"size": 1}, b"hi", b"\2hi"),
    ({"size": 2}, b"hi", b"\0\2hi"),
    ({"size": 3}, b"hi", b"\0\0\2hi"),
    ({"size": 4}, b"hi", b"\0\0\0\2hi"),
    ({"size": 8}, b"hi", b"\0\0\0\0\0\0\0\2hi"),
    ({"size": 1, "byteorder": "little"}, b"hi", b"\2hi"),
    ({"size": 2, "byteorder": "little"}, b"hi", b"\2\0hi"),
    ({"size": 3, "byteorder": "little"}, b"hi", b"\2\0\0hi"),
    ({"size": 4, "byteorder": "little"}, b"hi", b"\2\0\0\0hi"),
    ({"size": 8, "byteorder": "little"}, b"hi", b"\2\0\0\0\0\0\0\0hi"),
    ({"size": 2, "adjustment": -2}, b"hi", b"\0\4hi"),  # the length counts itself
    ({"size": 2, "adjustment": 3}, b"Thi!!", b"\0\2Thi!!"),  # three bytes more than the length counts
    ({"size": 2, "offset": 1, "header": "keep"}, b"T\0\2hi", b"T\0\2hi"),
    ({"size": 2, "offset": 1, "header": "keep", "adjustment": -3}, b"T\0\5hi", b"T\0\5hi"),
    ({"size": 2, "header": "keep"}, b"\0\2hi", b"\0\2hi"),
    ({"size": 2, "offset": 1, "header": "keep"}, b"T\0\0", b"T\0\0"),
    ({"size": 2, "offset": 1, "header": "split"}, (b"T", b"hi"), b"T\0\2hi"),
    ({"size": 2, "offset": 1, "header": "split", "adjustment": -3}, (b"T", b"hi"), b"T\0\5hi"),
    ({"size": 3, "encoding": "ascii", "header": "split"}, (b"", b""), b"000"),
]


@pytest.mark.parametrize(("options", "message", "wire"), WIRES)
def test_the_bytes_are_those_of_the_format(codecs, options, message, wire):
    """Both ways, alone and in batches."""
    codec = codecs.LengthPrefixed(**options)

    assert wire == codec.encode(message)
    assert wire * 3 == codec.encode_many([message] * 3)
    assert message == codec.decode(Buffer(wire))
    assert ([message] * 3, 3 * len(wire)) == codec.decode_many(wire * 3 + wire[:-1], 9)


@pytest.mark.parametrize(("options", "message", "wire"), WIRES)
def test_the_laws_hold(codecs, options, message, wire):
    """Cutting, batches, identity, refusals."""
    codec = codecs.LengthPrefixed(max_frame_bytes=200, **options)
    check_codec(codec, [message] * 3, [wire * 40, b"\xff" * 40, b"\0" * 40])


def test_a_header_before_the_length_is_dropped_by_default(codecs):
    """The message is what follows the length."""

    assert [b"hi", b""] == decode_in_chunks(codecs.LengthPrefixed(size=1, offset=2), b"ab\2hicd\0", [1] * 8)


def test_a_dropped_header_cannot_be_written(codecs):
    """The codec does not know it: said when it is tried, not sent as zeros."""
    with pytest.raises(LocalProtocolError, match="header=keep sends whole frames"):
        codecs.LengthPrefixed(offset=2).encode(b"hi")
    with pytest.raises(LocalProtocolError, match="header=keep sends whole frames"):
        codecs.LengthPrefixed(offset=2).encode_many([b"hi", b"ho"])


@pytest.mark.parametrize("frame", [b"", b"T\0", b"T\0\1hi", b"T\0\3hi"])
def test_a_whole_frame_whose_length_is_wrong_is_not_sent(codecs, frame):
    """The other end would cut the stream elsewhere."""
    codec = codecs.LengthPrefixed(size=2, offset=1, header="keep")
    with pytest.raises(LocalProtocolError, match="does not say so"):
        codec.encode(frame)
    with pytest.raises(LocalProtocolError, match="does not say so"):
        codec.encode_many([frame])


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_header_that_is_cut_waits(codecs, size):
    """Untouched."""
    buffer = Buffer(b"\xff" * size)

    assert NEED_DATA is codecs.LengthPrefixed().decode(buffer)
    assert b"\xff" * size == bytes(buffer)


def test_an_oversized_frame_is_refused_on_its_header(codecs):
    """Four bytes are enough: the body is never waited for, and the top bit is not a sign."""
    with pytest.raises(FrameTooLongError) as caught:
        codecs.LengthPrefixed(max_frame_bytes=100).decode(Buffer(b"\xff\xff\xff\xff"))

    assert (2**32 - 1, 100) == (caught.value.size, caught.value.limit)


def test_the_limit_is_of_the_message(codecs):
    """With the header kept the header counts."""
    keep = codecs.LengthPrefixed(size=1, header="keep", max_frame_bytes=3)

    assert [b"\2hi"] == decode_in_chunks(keep, b"\2hi", [])
    with pytest.raises(FrameTooLongError) as caught:
        keep.decode(Buffer(b"\3"))
    assert (4, 3) == (caught.value.size, caught.value.limit)
    with pytest.raises(LocalProtocolError, match="message of 4 bytes exceeds"):
        keep.encode(b"\3hi!")


def test_a_length_below_zero_is_refused(codecs):
    """A length that should count itself and is too small for that; the message names the least."""
    with pytest.raises(BadLengthError, match="length 1 is below the least, 2"):
        codecs.LengthPrefixed(size=2, adjustment=-2).decode(Buffer(b"\0\1"))


def test_what_the_field_cannot_say_is_not_sent(codecs):
    """Neither above its range nor below zero."""
    with pytest.raises(LocalProtocolError, match="a length field of 1 bytes cannot say 256"):
        codecs.LengthPrefixed(size=1).encode(bytes(256))
    with pytest.raises(LocalProtocolError, match="a length field of 1 bytes cannot say 256"):
        codecs.LengthPrefixed(size=1).encode_many([b"", bytes(256)])
    with pytest.raises(LocalProtocolError, match="cannot say -1"):
        codecs.LengthPrefixed(size=1, adjustment=3).encode(b"hi")
    with pytest.raises(LocalProtocolError, match="cannot say -1"):
        codecs.LengthPrefixed(size=1, adjustment=3).encode_many([b"hi"])

    assert b"\xff" + bytes(255) == codecs.LengthPrefixed(size=1).encode(bytes(255))


def test_what_the_other_end_would_refuse_is_not_sent(codecs):
    """The limit holds both ways."""
    codec = codecs.LengthPrefixed(max_frame_bytes=5)
    with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
        codec.encode(b"hello!")
    with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
        codec.encode_many([b"hello", b"hello!"])

    assert b"\0\0\0\5hello" * 2 == codec.encode_many([b"hello", b"hello"])


def test_what_is_no_bytes_is_refused(codecs):
    """Alone and among others; a memoryview is measured in bytes."""
    codec = codecs.LengthPrefixed(size=1)
    with pytest.raises(TypeError, match="the codec length-prefixed is bytes, not str"):
        codec.encode("text")
    with pytest.raises(TypeError):
        codec.encode_many([b"a", "text"])

    assert b"\4abcd\0" == codec.encode_many([memoryview(b"abcd").cast("I"), b""])
    assert b"" == codec.encode_many([])


def test_eof_within_a_frame_is_truncation(codecs):
    """Header or body."""
    with pytest.raises(TruncatedError):
        codecs.LengthPrefixed().finish(Buffer(b"\0\0"))


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ({"size": 5}, b"\0\0\0\0\5hello"),
        ({"size": 6, "byteorder": "little"}, b"\5\0\0\0\0\0hello"),
        ({"size": 7}, b"\0\0\0\0\0\0\5hello"),
        ({"size": 4, "encoding": "ascii"}, b"0005hello"),
        ({"size": 2, "encoding": "bcd"}, b"\0\5hello"),
        ({"size": 2, "encoding": "bcd", "adjustment": -12}, b"\0\x17hello"),
        ({"size": 16, "encoding": "ascii"}, b"0000000000000005hello"),
    ],
)
def test_lengths_of_other_sizes_and_in_digits(codecs, options, wire):
    """As ISO 8583 and its kin have them; both ways."""
    codec = codecs.LengthPrefixed(**options)

    assert wire == codec.encode(b"hello")
    assert [b"hello", b"hello"] == decode_in_chunks(codec, wire * 2, [1] * 99)
    assert ([b"hello", b"hello"], 2 * len(wire)) == codec.decode_many(wire * 2 + wire[:3], 9)


@pytest.mark.parametrize(
    ("options", "wire"),
    [
        ({"size": 4, "encoding": "ascii"}, b" 005hello"),
        ({"size": 4, "encoding": "ascii"}, b"+005hello"),
        ({"size": 4, "encoding": "ascii"}, b"0x05hello"),
        ({"size": 2, "encoding": "bcd"}, b"\0\x0ahello-more-of-it"),
        ({"size": 1, "strip": 4}, b"\2ab"),
    ],
)
def test_what_is_no_length_is_refused(codecs, options, wire):
    """Digits and nothing else; and a frame has as many bytes as are stripped."""
    codec = codecs.LengthPrefixed(**options)

    assert "bad_length" == decode_chunks(codec, [wire], eof=False).reason
    good = {"ascii": b"0001x", "bcd": b"\0\1x"}.get(options.get("encoding"), b"\3abc")
    decoded = decode_chunks(codec, [good + wire], batch=9, eof=False)
    assert (1, "bad_length") == (len(decoded.messages), decoded.reason)


@pytest.mark.parametrize(
    ("strip", "message"), [("header", b"hello"), (0, b"T\x05hello"), (1, b"\x05hello"), (2, b"hello"), (4, b"llo")]
)
def test_any_number_of_bytes_is_stripped(codecs, strip, message):
    """Of the front of the frame: of the header, of its length, and of the body."""
    codec = codecs.LengthPrefixed(size=1, offset=1, strip=strip, max_frame_bytes=7)

    assert [message, message] == decode_in_chunks(codec, b"T\x05hello" * 2, [3] * 9)
    assert ([message, message], 14) == codec.decode_many(b"T\x05hello" * 2, 9)
    if strip == 0:
        assert message == codec.encode(message)
    else:
        with pytest.raises(LocalProtocolError, match="the header before the message is not known"):
            codec.encode(message)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": 9}, "size must be 1 to 8, not 9"),
        ({"size": 17, "encoding": "ascii"}, "size must be 1 to 16, not 17"),
        ({"encoding": "ebcdic"}, "encoding must be one of binary, ascii, bcd, not 'ebcdic'"),
        (
            {"encoding": "bcd", "byteorder": "little"},
            "byteorder=little is for encoding=binary: digits begin with the highest",
        ),
        ({"header": "split", "strip": 2}, "header=split gives the header by itself: leave out strip"),
        ({"header": "keep", "strip": 2}, "header=keep strips nothing: leave out one of header and strip"),
        ({"strip": -1}, "strip must be 0 to 1024, not -1"),
        ({"on_oversize": "drop"}, "on_oversize must be one of close, skip, not 'drop'"),
        ({"max_skip_bytes": 0}, "max_skip_bytes must be 1 or more, not 0"),
        ({"byteorder": "middle"}, "byteorder must be one of big, little, not 'middle'"),
        ({"header": "maybe"}, "header must be one of drop, keep, split, not 'maybe'"),
        ({"offset": -1}, "offset must be 0 to 1024, not -1"),
        ({"offset": 1025}, "offset must be 0 to 1024, not 1025"),
        ({"max_frame_bytes": 0}, "max_frame_bytes must be 1 or more, not 0"),
        ({"header": "keep", "max_frame_bytes": 3}, "max_frame_bytes must be 4 or more, not 3"),
    ],
)
def test_a_wrong_option_is_refused_when_the_codec_is_made(codecs, options, problem):
    """With what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        codecs.LengthPrefixed(**options)

    assert problem == caught.value.problem


def test_a_datagram_needs_no_length(codecs):
    """It has one of its own (RFC 1035 section 4.2 does the same)."""

    assert b"hi" == codecs.LengthPrefixed().decode_datagram(b"hi")
    assert b"hi" == codecs.LengthPrefixed().encode_datagram(b"hi")


@pytest.mark.parametrize("message", [b"x", (b"T",), (b"T", "x"), None])
def test_a_message_to_be_split_is_a_header_and_a_body(codecs, message):
    """Anything else is no message of the codec."""
    with pytest.raises(TypeError):
        codecs.LengthPrefixed(offset=1, header="split").encode(message)


def test_the_limit_counts_the_header_that_is_given(codecs):
    """As the message has it: refused on the length."""
    with pytest.raises(FrameTooLongError) as caught:
        codecs.LengthPrefixed(size=1, offset=2, header="split", max_frame_bytes=5).decode(Buffer(b"TU\x04"))

    assert (6, 5) == (caught.value.size, caught.value.limit)


def test_a_datagram_of_a_header_and_a_body_needs_no_length(codecs):
    """The body stands right behind the header, which has to be there."""
    codec = codecs.LengthPrefixed(offset=2, header="split")

    assert b"TUhi" == codec.encode_datagram((b"TU", b"hi"))
    assert (b"TU", b"hi") == codec.decode_datagram(b"TUhi")
    with pytest.raises(TruncatedError):
        codec.decode_datagram(b"T")
