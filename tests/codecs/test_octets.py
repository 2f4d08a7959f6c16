"""A frame over the limit is passed over, where that was asked for and its end is known."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadFrameError, FrameTooLongError, TruncatedError
from penstock.testing import check_batches, check_cutting, check_refusals, decode_in_chunks

# A codec, its options, a good frame and its message, a frame over the limit of 4.
CODECS = [
    ("Lines", {}, b"ab\n", b"ab", b"x" * 50 + b"\n"),
    ("Lines", {}, b"ab\r\n", b"ab", b"x" * 50 + b"\r\n"),
    ("Text", {}, b"ab\n", "ab", b"x" * 50 + b"\n"),
    ("Delimited", {"delimiter": b"\r\n"}, b"ab\r\n", b"ab", b"x\r" * 25 + b"\r\n"),
    ("Delimited", {"delimiter": (b"> ", b"# ")}, b"ab# ", b"ab", b"x>" * 25 + b"# "),
    ("LengthPrefixed", {"size": 2}, b"\0\2ab", b"ab", b"\0\x32" + b"x" * 50),
    ("LengthPrefixed", {"size": 3, "encoding": "ascii"}, b"002ab", b"ab", b"050" + b"x" * 50),
    ("Varint", {}, b"\2ab", b"ab", b"\x32" + b"x" * 50),
    ("Netstring", {}, b"2:ab,", b"ab", b"50:" + b"x" * 50 + b","),
    ("JsonLines", {}, b"12\n", 12, b"1" * 50 + b"\n"),
]
each_codec = pytest.mark.parametrize(("name", "options", "good", "message", "bad"), CODECS)


def made(codecs, name, options, **more):
    return getattr(codecs, name)(**options, max_frame_bytes=4, on_oversize="skip", **more)


@each_codec
def test_it_is_passed_over_and_counted(codecs, name, options, good, message, bad):
    """However the bytes are cut; what follows is as ever."""
    codec = made(codecs, name, options)
    wire = bad + good + bad * 2 + good + good + bad

    for sizes in ([], [1] * 999, [7, 2] * 99, [len(bad) - 1] * 9):
        assert [message] * 3 == decode_in_chunks(codec, wire, sizes)
    buffer = Buffer()
    for at in range(0, len(wire), 3):
        buffer += wire[at : at + 3]
        while codec.decode(buffer) is not NEED_DATA:
            pass
    assert (4, b"") == (buffer.skipped, bytes(buffer))
    check_cutting(codec, wire, (3, 1))
    check_batches(codec, wire)
    check_refusals(codec, wire)


@each_codec
def test_nothing_of_it_is_kept(codecs, name, options, good, message, bad):
    """But a byte or two: it counts as begun, for the peer's time to send a message."""
    codec = made(codecs, name, options)
    buffer = Buffer(bad[:40])

    assert NEED_DATA is codec.decode(buffer)
    assert 1 <= len(buffer) <= 2


@each_codec
def test_how_much_is_passed_over_is_bounded(codecs, name, options, good, message, bad):
    """A frame that is longer than that ends the connection, in one piece or in many."""
    codec = made(codecs, name, options, max_skip_bytes=45)
    for sizes in ([], [1] * 999):
        with pytest.raises(FrameTooLongError):
            decode_in_chunks(codec, good + bad + good, sizes)
    check_cutting(codec, good + bad + good, (5,))


@each_codec
def test_without_being_asked_for_it_closes(codecs, name, options, good, message, bad):
    """The default."""
    with pytest.raises(FrameTooLongError):
        decode_in_chunks(getattr(codecs, name)(**options, max_frame_bytes=4), good + bad, [])


@each_codec
def test_eof_within_it_is_a_truncated_stream(codecs, name, options, good, message, bad):
    """The error tells how much had come, though it was not kept."""
    with pytest.raises(TruncatedError):
        decode_in_chunks(made(codecs, name, options), good + bad[:30], [1] * 99)


@pytest.mark.parametrize("name", ["Lines", "JsonLines"])
def test_where_eof_ends_a_line_it_ends_one_that_is_passed_over(codecs, name):
    """``unterminated=deliver``: there is nothing to deliver."""
    codec = made(codecs, name, {"unterminated": "deliver"})

    assert [] == decode_in_chunks(codec, b"1" * 30, [1] * 99)
    assert [] == decode_in_chunks(codec, b"1" * 30, [])


def test_a_netstring_that_is_passed_over_has_its_comma(codecs):
    """An end of frame that is known is one that is looked at."""
    with pytest.raises(BadFrameError, match="a comma ends a netstring"):
        decode_in_chunks(made(codecs, "Netstring", {}), b"9:123456789x", [])
