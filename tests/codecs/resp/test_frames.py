"""Where a RESP value ends, and what can never be one."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadFrameError, BadLengthError, BadPayloadError, FrameTooLongError
from penstock.testing import decode_chunks, decode_in_chunks


@pytest.mark.parametrize("first", ["$", "*", "!", "=", "%", "~", ">", "|"])
@pytest.mark.parametrize(
    "length", ["", "-2", "+5", " 5", "5 ", "05", "00", "-0", "--1", "1_0", "0x5", "?", "\u0665", "1.0"]
)
def test_a_length_that_is_not_canonical_is_refused(codecs, first, length):
    """Digits without leading zero and sign, and in two places -1; the streamed ``?`` is not read."""
    wire = f"{first}{length}\r\n".encode()

    assert "bad_length" == decode_chunks(codecs.Resp(), [wire], eof=False).reason
    with pytest.raises(BadLengthError):
        codecs.Resp().decode_many(wire, 1)


@pytest.mark.parametrize("first", ["!", "=", "%", "~", ">", "|"])
def test_null_is_a_string_or_an_array(codecs, first):
    """Nothing else has the length -1."""

    assert "bad_length" == decode_chunks(codecs.Resp(), [f"{first}-1\r\n".encode()], eof=False).reason


@pytest.mark.parametrize("first", [b"$", b"*", b"%"])
def test_a_length_that_does_not_end_is_refused(codecs, first):
    """No number of 64 bits has 21 characters."""

    assert NEED_DATA is codecs.Resp().decode(Buffer(first + b"1" * 20 + b"\r"))
    assert "bad_length" == decode_chunks(codecs.Resp(), [first + b"1" * 22], eof=False).reason
    assert "bad_length" == decode_chunks(codecs.Resp(), [first + b"1" * 21 + b"\r\n"], eof=False).reason


@pytest.mark.parametrize(
    ("wire", "size"),
    [
        (b"$95\r\n", 102),
        (b"$18446744073709551615\r\n", 2**64 - 1 + 25),
        (b"$2147483648\r\n", 2**31 + 15),
        (b"=95\r\n", 102),
        (b"*33\r\n", 104),
        (b"%17\r\n", 107),
        (b"|16\r\n", 104),
        (b"~33\r\n", 104),
        (b"*4294967295\r\n", 13 + 3 * (2**32 - 1)),
        (b"*2\r\n$88\r\n", 102),
        (b"*2\r\n*31\r\n", 105),
    ],
)
def test_what_has_to_be_too_long_is_refused_on_its_header(codecs, wire, size):
    """Each element to come has three bytes at least, so that a count is as good as a length."""
    with pytest.raises(FrameTooLongError) as caught:
        codecs.Resp(max_frame_bytes=100).decode(Buffer(wire))

    assert (size, 100) == (caught.value.size, caught.value.limit)


@pytest.mark.parametrize(
    "wire",
    [
        b"$93\r\n" + bytes(93) + b"\r\n",
        b"+" + b"x" * 97 + b"\r\n",
        b"*31\r\n" + b"_\r\n" * 30 + b":12\r\n",
        b"*2\r\n$86\r\n" + bytes(86) + b"\r\n_\r\n",
        b"*2\r\n+" + b"x" * 90 + b"\r\n_\r\n",
    ],
)
def test_what_is_exactly_as_long_as_allowed_is_taken(codecs, wire):
    """The limit is of the whole value, headers included."""
    codec = codecs.Resp(max_frame_bytes=100)

    assert 1 == len(decode_in_chunks(codec, wire, []))
    assert 1 == len(decode_in_chunks(codec, wire, [1] * 100))
    assert 100 == len(wire) == codec.decode_many(wire, 1)[1]
    assert "frame_too_large" == decode_chunks(codecs.Resp(max_frame_bytes=99), [wire], eof=False).reason


@pytest.mark.parametrize("wire", [b"+" + b"x" * 98, b"-" + b"x" * 98 + b"\r", b"*2\r\n+" + b"x" * 91])
def test_a_simple_string_that_does_not_end_is_refused(codecs, wire):
    """At the limit of the frame, with what it still owes."""
    codec = codecs.Resp(max_frame_bytes=100)

    assert "frame_too_large" == decode_chunks(codec, [wire + b"x"], eof=False).reason
    assert "frame_too_large" == decode_chunks(codec, [bytes((b,)) for b in wire + b"x"], eof=False).reason
    assert NEED_DATA is codec.decode(Buffer(wire[:-1]))


@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\n",
        b"\r\n",
        b"\0",
        b"GET / HTTP/1.1\r\n",
        b"*1\r\nx",
        b";4\r\n",
        b".\r\n",  # unknown types
        b"+OK\n",
        b"$5\nhello\r\n",
        b"$\n",
        b"+\n",  # LF without CR
        b"+a\rb\r\n",
        b"-a\r\r\n",
        b"$1\r\nab\r",
        b"$1\r\na\r\r",
        b"$1\r\na\n\n",
        b"$0\r\n-1",  # CR or LF elsewhere
        b":" + b"1" * 22,
        b"_xxx",
        b"#txx",
        b"," + b"1" * 328,
        b"(" + b"1" * 643,  # no end in sight
        b"*1\r\n>1\r\n",
        b"|1\r\n:1\r\n:1\r\n>1\r\n",
        b"|0\r\n>0\r\n",
    ],  # a push that is not outermost
)
def test_a_broken_frame_is_refused(codecs, wire):
    """In one piece, octet by octet and in a batch."""

    assert BadFrameError is type(decode_chunks(codecs.Resp(), [wire], eof=False).error)
    assert BadFrameError is type(decode_chunks(codecs.Resp(), [bytes((b,)) for b in wire], eof=False).error)
    with pytest.raises(BadFrameError):
        codecs.Resp().decode_many(wire, 1)


@pytest.mark.parametrize("opening", [b"*1\r\n", b"%1\r\n:1\r\n", b"|0\r\n", b"*2\r\n:1\r\n", b"|1\r\n:1\r\n"])
def test_a_bomb_is_refused(codecs, opening):
    """100,000 levels are a bad payload like any other, not a crash or a RecursionError."""
    codec = codecs.Resp(max_frame_bytes=2**22)

    assert "bad_payload" == decode_chunks(codec, [opening * 100_000]).reason


@pytest.mark.parametrize("opening", [b"*1\r\n", b"%1\r\n:1\r\n", b"|0\r\n"])
def test_exactly_max_depth_is_allowed(codecs, opening):
    """An empty container has a depth like any other."""
    codec = codecs.Resp(max_depth=3)

    assert NEED_DATA is not codec.decode(Buffer(opening * 2 + b"*0\r\n"))
    assert NEED_DATA is not codec.decode(Buffer(opening * 3 + b"_\r\n"))
    with pytest.raises(BadPayloadError, match="nested deeper than max_depth=3"):
        codec.decode(Buffer(opening * 3 + b"*0\r\n"))
