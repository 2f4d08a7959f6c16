"""Fixed: messages of one size."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import ConfigurationError, FrameTooLongError, LocalProtocolError, TruncatedError
from penstock.testing import check_codec, decode_in_chunks


def test_the_stream_is_cut_every_size_bytes(codecs):
    """Nothing is refused and nothing is added."""
    codec = codecs.Fixed(3)

    assert [b"abc", b"def"] == decode_in_chunks(codec, b"abcdef", [1, 4, 1])
    assert ([b"abc", b"def"], 6) == codec.decode_many(b"abcdefg", 9)
    assert ([b"abc"], 3) == codec.decode_many(b"abcdefg", 1)
    assert NEED_DATA is codec.decode(Buffer(b"ab"))
    assert b"abcdef" == codec.encode(b"abc") + codec.encode_many([b"def"])


@pytest.mark.parametrize("message", [b"", b"ab", b"abcd"])
def test_a_message_of_another_size_is_not_sent(codecs, message):
    """It would shift all that follow."""
    with pytest.raises(LocalProtocolError, match="where each has 3"):
        codecs.Fixed(3).encode(message)
    with pytest.raises(LocalProtocolError, match="where each has 3"):
        codecs.Fixed(3).encode_many([b"abc", message])
    with pytest.raises(LocalProtocolError, match="where each has 3"):
        codecs.Fixed(3).encode_datagram(message)


def test_what_is_no_bytes_is_refused(codecs):
    """Alone and among others; other bytes-like objects are measured in bytes."""
    with pytest.raises(TypeError, match="the codec fixed is bytes, not str"):
        codecs.Fixed(3).encode("abc")
    with pytest.raises(TypeError):
        codecs.Fixed(3).encode_many([b"abc", "abc"])

    assert b"abcd" == codecs.Fixed(4).encode_many([memoryview(b"abcd").cast("I")])
    assert b"" == codecs.Fixed(3).encode_many([])


def test_a_rest_at_eof_is_truncation(codecs):
    """A message was begun."""
    with pytest.raises(TruncatedError):
        codecs.Fixed(3).finish(Buffer(b"ab"))


def test_a_datagram_has_exactly_the_size(codecs):
    """Shorter is truncated, longer is too long."""
    with pytest.raises(TruncatedError):
        codecs.Fixed(3).decode_datagram(b"ab")
    with pytest.raises(FrameTooLongError):
        codecs.Fixed(3).decode_datagram(b"abcd")

    assert b"abc" == codecs.Fixed(3).decode_datagram(b"abc")
    assert b"abc" == codecs.Fixed(3).encode_datagram(b"abc")


def test_the_size_is_at_least_one_byte(codecs):
    """Empty messages would never end."""
    with pytest.raises(ConfigurationError, match="size must be 1 or more, not 0"):
        codecs.Fixed(0)

    assert 3 == codecs.Fixed(3).max_frame_bytes


@pytest.mark.parametrize("size", [1, 3, 64])
def test_the_laws_hold(codecs, size):
    """Cutting, batches, identity, refusals."""
    check_codec(codecs.Fixed(size), [b"x" * size, bytes(size)])
