"""Varint: Protocol Buffers' length prefix."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadLengthError, ConfigurationError, FrameTooLongError, LocalProtocolError, TruncatedError
from penstock.testing import check_codec, decode_chunks

# https://protobuf.dev/programming-guides/encoding/ gives 150 and 300; the others follow from the definition.
LENGTHS = [
    (0, b"\x00"),
    (1, b"\x01"),
    (127, b"\x7f"),
    (128, b"\x80\x01"),
    (150, b"\x96\x01"),
    (300, b"\xac\x02"),
    (16383, b"\xff\x7f"),
    (16384, b"\x80\x80\x01"),
]


@pytest.mark.parametrize(("length", "prefix"), LENGTHS)
def test_the_bytes_are_those_of_protocol_buffers(codecs, length, prefix):
    """Seven bits in each byte, the least significant first."""
    message = bytes(length)
    codec = codecs.Varint()

    assert prefix + message == codec.encode(message)
    assert message == codec.decode(Buffer(prefix + message))
    assert ([message] * 2, 2 * (len(prefix) + length)) == codec.decode_many((prefix + message) * 2 + prefix[:-1], 9)


def test_a_length_that_is_cut_waits(codecs):
    """Whatever its first bytes are."""

    assert NEED_DATA is codecs.Varint().decode(Buffer())
    assert NEED_DATA is codecs.Varint().decode(Buffer(b"\xff" * 9))
    assert ([], 0) == codecs.Varint().decode_many(b"\xff" * 9, 3)


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [
        (b"\x80\x00", "not in its shortest form"),
        (b"\x81\x00", "not in its shortest form"),
        (b"\xff\xff\x00", "not in its shortest form"),
        (b"\xff" * 9 + b"\x00", "not in its shortest form"),
        (b"\xff" * 10, "longer than 64 bits"),
        (b"\xff" * 10 + b"\x01", "longer than 64 bits"),
        (b"\xff" * 9 + b"\x02", "longer than 64 bits"),
        (b"\x80" * 9 + b"\x02", "longer than 64 bits"),
        (b"\x80" * 9 + b"\x7f", "longer than 64 bits"),
    ],
)
def test_a_length_that_is_not_canonical_is_refused(codecs, prefix, problem):
    """Two readers must never see two lengths."""
    with pytest.raises(BadLengthError, match=problem):
        codecs.Varint().decode(Buffer(prefix))
    with pytest.raises(BadLengthError, match=problem):
        codecs.Varint().decode_many(prefix, 3)
    assert "bad_length" == decode_chunks(codecs.Varint(), [bytes((byte,)) for byte in prefix]).reason


@pytest.mark.parametrize(
    ("prefix", "size"),
    [(b"\x81\x80\x40", 2**20 + 1), (b"\xff" * 9 + b"\x01", 2**64 - 1), (b"\xff\xff\xff\xff\x07", 2**31 - 1)],
)
def test_a_length_over_the_limit_is_refused_at_once(codecs, prefix, size):
    """Its message is not waited for."""
    with pytest.raises(FrameTooLongError) as caught:
        codecs.Varint().decode(Buffer(prefix))

    assert (size, 2**20) == (caught.value.size, caught.value.limit)


def test_the_messages_before_a_bad_length_are_taken(codecs):
    """The batch ends before it."""

    assert ([b"a", b""], 3) == codecs.Varint().decode_many(b"\x01a\x00\x80\x00", 9)
    assert ([b"a"], 2) == codecs.Varint(max_frame_bytes=5).decode_many(b"\x01a\x06abcdef", 9)


def test_what_the_other_end_would_refuse_is_not_sent(codecs):
    """The limit holds both ways."""
    with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
        codecs.Varint(max_frame_bytes=5).encode(b"hello!")
    with pytest.raises(TypeError, match="the codec varint is bytes, not str"):
        codecs.Varint().encode("text")


def test_a_datagram_needs_no_length(codecs):
    """It has one of its own."""

    assert b"\xff" == codecs.Varint().decode_datagram(b"\xff")


def test_the_laws_hold(codecs):
    """Cutting, batches, identity, refusals."""
    messages = [bytes(length) for length in (0, 1, 127, 128, 200)]
    wires = [b"\x01a\x80\x00", b"\x80\x80\x01", b"\xff" * 20, b"\x01a\xc9\x01", b"\x05abc"]
    check_codec(codecs.Varint(max_frame_bytes=200), messages, wires)


@pytest.mark.parametrize(
    ("options", "wire", "message"),
    [
        ({"offset": 1, "header": "split"}, b"T\x05hello", (b"T", b"hello")),
        ({"header": "split"}, b"\x00", (b"", b"")),
        ({"offset": 2, "header": "keep"}, b"TU\x02hi", b"TU\x02hi"),
    ],
)
def test_what_stands_before_the_length_is_given_and_sent(codecs, options, wire, message):
    """By itself, or in the whole frame."""
    codec = codecs.Varint(**options)

    assert wire == codec.encode(message)
    check_codec(codec, [message, message])


def test_what_stands_before_the_length_may_be_dropped(codecs):
    """Then nothing can be sent: nobody knows what it was."""
    codec = codecs.Varint(offset=2)

    assert [b"hi", b""] == decode_chunks(codec, [b"TU\x02hiVW\x00"]).messages
    with pytest.raises(LocalProtocolError, match="the header before the message is not known: header=split"):
        codec.encode(b"hi")


@pytest.mark.parametrize(
    ("options", "message", "meant"),
    [
        ({"offset": 1, "header": "split"}, (b"", b"x"), "a header has 1 bytes, not 0"),
        ({"header": "split", "max_frame_bytes": 3}, (b"", b"long"), "message of 4 bytes exceeds"),
        ({"header": "keep"}, b"\x05hell", "does not say so"),
        ({"header": "keep"}, b"\x80\x00", "does not say so"),
    ],
)
def test_a_frame_that_the_peer_would_refuse_is_not_sent(codecs, options, message, meant):
    """It is refused in words of its own."""
    with pytest.raises(LocalProtocolError, match=meant):
        codecs.Varint(**options).encode(message)


@pytest.mark.parametrize("message", [b"x", (b"T",), (b"T", "x"), None])
def test_a_message_to_be_split_is_a_header_and_a_body(codecs, message):
    """Anything else is no message of the codec."""
    with pytest.raises(TypeError):
        codecs.Varint(offset=1, header="split").encode(message)


def test_the_limit_counts_the_header_that_is_given(codecs):
    """As the message has it: refused on the length."""
    with pytest.raises(FrameTooLongError) as caught:
        codecs.Varint(offset=2, header="split", max_frame_bytes=5).decode(Buffer(b"TU\x04"))

    assert (6, 5) == (caught.value.size, caught.value.limit)


def test_a_datagram_of_a_header_and_a_body_needs_no_length(codecs):
    """The body stands right behind the header, which has to be there."""
    codec = codecs.Varint(offset=2, header="split")

    assert b"TUhi" == codec.encode_datagram((b"TU", b"hi"))
    assert (b"TU", b"hi") == codec.decode_datagram(b"TUhi")
    with pytest.raises(TruncatedError):
        codec.decode_datagram(b"T")


@pytest.mark.parametrize("options", [{"offset": 1025}, {"offset": -1}, {"header": "some"}])
def test_an_option_out_of_its_range_is_refused(codecs, options):
    """When the codec is made."""
    with pytest.raises(ConfigurationError):
        codecs.Varint(**options)
