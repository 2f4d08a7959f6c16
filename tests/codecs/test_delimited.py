"""Delimited: any delimiter of one byte or more."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import ConfigurationError, FrameTooLongError, LocalProtocolError, TruncatedError
from penstock.testing import check_codec, decode_chunks, decode_in_chunks


class TestDecoding:
    """From a stream to messages."""

    @pytest.mark.parametrize(
        ("delimiter", "wire", "messages"),
        [
            (b"\0", b"a\0\0b\0", [b"a", b"", b"b"]),
            (b"\r\n", b"a\nb\rc\r\n", [b"a\nb\rc"]),
            (b"\r\n\r\n", b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", [b"GET / HTTP/1.0\r\nHost: x"]),
            (b"aa", b"aaaa", [b"", b""]),
            (b"aab", b"aaab", [b"a"]),
            (b"aba", b"xababa", [b"x"]),
        ],
    )
    def test_a_message_ends_where_the_delimiter_is_first_found(self, codecs, delimiter, wire, messages):
        """Whole or cut anywhere, also within the delimiter."""
        codec = codecs.Delimited(delimiter)
        sizes = [[], [1] * len(wire)]

        assert [messages, messages] == [decode_chunks(codec, _cut(wire, cuts), eof=False).messages for cuts in sizes]

    def test_what_follows_stays(self, codecs):
        """Only the frame and its delimiter leave the buffer."""
        buffer = Buffer(b"one--two")

        assert b"one" == codecs.Delimited(b"--").decode(buffer)
        assert b"two" == bytes(buffer)

    @pytest.mark.parametrize("wire", [b"hello!", b"hello\r!", b"hello\r\r", b"hello!\r\n", b"hell\r\r\r\n"])
    def test_a_message_over_the_limit_is_refused_at_the_first_byte_that_shows_it(self, codecs, wire):
        """Terminated or not, in one piece or byte by byte."""
        codec = codecs.Delimited(b"\r\n", max_frame_bytes=5)

        assert FrameTooLongError is type(decode_chunks(codec, [wire], eof=False).error)
        assert FrameTooLongError is type(decode_chunks(codec, _cut(wire, [1] * 99), eof=False).error)
        with pytest.raises(FrameTooLongError) as caught:
            codec.decode_many(wire, 2)

        assert (None, 5) == (caught.value.size, caught.value.limit)

    @pytest.mark.parametrize("wire", [b"hello", b"hello\r", b"\r\r\r\r\r\r"])
    def test_half_a_delimiter_after_the_limit_is_waited_for(self, codecs, wire):
        """It may become whole."""
        codec = codecs.Delimited(b"\r\n", max_frame_bytes=5)

        assert NEED_DATA is codec.decode(Buffer(wire))
        assert ([], 0) == codec.decode_many(wire, 2)
        assert [b"hello"] == decode_in_chunks(codec, b"hello\r\n", [6])

    def test_every_start_of_the_delimiter_is_waited_for(self, codecs):
        """A delimiter that repeats itself may begin at several places."""
        codec = codecs.Delimited(b"aab", max_frame_bytes=2)

        assert [b"xa"] == decode_in_chunks(codec, b"xaaab", [4])
        assert "frame_too_large" == decode_chunks(codec, [b"xaaaa"], eof=False).reason

    def test_the_messages_before_a_too_long_one_are_taken(self, codecs):
        """The batch ends before it."""
        codec = codecs.Delimited(b"--", max_frame_bytes=5)

        assert ([b"ab", b"", b"hello"], 13) == codec.decode_many(b"ab----hello--123456--d--", 10)


class TestEncoding:
    """From messages to the stream."""

    def test_the_delimiter_follows_each_message(self, codecs):
        """An empty one too."""
        codec = codecs.Delimited(b"\r\n")

        assert b"a\r\n" == codec.encode(b"a")
        assert b"a\r\n\r\nb\r\n" == codec.encode_many([b"a", b"", b"b"])
        assert b"" == codec.encode_many([])

    @pytest.mark.parametrize(
        ("delimiter", "message"),
        [(b"\r\n", b"a\r\nb"), (b"\r\n", b"\r\n"), (b"aba", b"xab"), (b"aa", b"a"), (b"aa", b"xaa")],
    )
    def test_a_message_that_would_arrive_as_another_is_refused(self, codecs, delimiter, message):
        """It holds the delimiter, or makes one together with the delimiter that follows."""
        with pytest.raises(LocalProtocolError, match="holds the delimiter"):
            codecs.Delimited(delimiter).encode(message)
        with pytest.raises(LocalProtocolError, match="holds the delimiter"):
            codecs.Delimited(delimiter).encode_many([b"x", message, b"x"])

    def test_a_delimiter_that_overlaps_itself_can_be_sent_in_batches(self, codecs):
        """The messages that do not make a second one pass."""

        assert b"xaba" + b"baba" == codecs.Delimited(b"aba").encode_many([b"x", b"b"])

    def test_half_a_delimiter_at_the_end_is_data(self, codecs):
        """It comes back."""

        assert b"a\r\r\n" == codecs.Delimited(b"\r\n").encode(b"a\r")
        assert b"a\r\r\n" == codecs.Delimited(b"\r\n").encode_many([b"a\r"])

    def test_what_the_other_end_would_refuse_is_not_sent(self, codecs):
        """The limit holds both ways."""
        codec = codecs.Delimited(b"--", max_frame_bytes=5)
        with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
            codec.encode(b"hello!")
        with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
            codec.encode_many([b"hello!"])

    def test_what_is_no_bytes_is_refused(self, codecs):
        """Text has to be encoded first."""
        with pytest.raises(TypeError, match="the codec delimited is bytes, not str"):
            codecs.Delimited(b"-").encode("text")
        with pytest.raises(TypeError):
            codecs.Delimited(b"-").encode_many(["text"])


class TestEof:
    """A last message without delimiter."""

    def test_it_is_truncated_by_default(self, codecs):
        """Half a delimiter too."""
        with pytest.raises(TruncatedError):
            codecs.Delimited(b"--").finish(Buffer(b"abc-"))

    def test_it_is_a_message_where_that_was_asked_for(self, codecs):
        """With what could have become its delimiter."""
        buffer = Buffer(b"abc-")

        assert b"abc-" == codecs.Delimited(b"--", unterminated="deliver").finish(buffer)
        assert (b"", None) == (bytes(buffer), buffer.resume)
        assert NEED_DATA is codecs.Delimited(b"--", unterminated="deliver").finish(buffer)

    def test_it_has_the_limit_of_any_message(self, codecs):
        """What could have become the delimiter counts now."""
        codec = codecs.Delimited(b"--", unterminated="deliver", max_frame_bytes=3)
        with pytest.raises(FrameTooLongError) as caught:
            codec.finish(Buffer(b"abc-"))

        assert (4, 3) == (caught.value.size, caught.value.limit)
        assert b"ab-" == codec.finish(Buffer(b"ab-"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": b""}, "the length of the delimiter must be 1 to 256, not 0"),
        ({"delimiter": b"x" * 257}, "the length of the delimiter must be 1 to 256, not 257"),
        ({"delimiter": b"-", "unterminated": "no"}, "unterminated must be one of refuse, deliver, not 'no'"),
        ({"delimiter": b"-", "max_frame_bytes": 0}, "max_frame_bytes must be 1 or more, not 0"),
    ],
)
def test_a_wrong_option_is_refused_when_the_codec_is_made(codecs, options, problem):
    """With what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        codecs.Delimited(**options)

    assert problem == caught.value.problem


def test_a_datagram_needs_no_delimiter(codecs):
    """It delimits itself."""

    assert b"a--b" == codecs.Delimited(b"--").decode_datagram(b"a--b")
    assert b"" == codecs.Delimited(b"--").encode_datagram(b"")


@pytest.mark.parametrize("delimiter", [b"\0", b"--", b"aab", b"aba", b"\r\n\r\n"])
@pytest.mark.parametrize("unterminated", ["refuse", "deliver"])
def test_the_laws_hold(codecs, delimiter, unterminated):
    """Cutting, batches, identity, refusals."""
    codec = codecs.Delimited(delimiter, unterminated=unterminated, max_frame_bytes=6)
    wires = [b"x" * 7, b"abcdef" + delimiter[:-1], b"a" * 30, delimiter * 3 + b"abcdefg" + delimiter, b"aababaab"]
    check_codec(codec, [b"", b"b", b"xb", b"abcdef"], wires)


def _cut(wire, sizes):
    at = 0
    for size in sizes:
        yield wire[at : at + size]
        at += size
    yield wire[at:]


class TestSeveral:
    """Whichever delimiter comes first ends the frame."""

    def test_a_prompt_of_one_kind_or_another(self, codecs):
        """As routers have them."""
        codec = codecs.Delimited((b"> ", b"# "))
        wire = b"router> router# >\n> "

        assert [b"router", b"router", b">\n"] == decode_in_chunks(codec, wire, [1] * 99)
        assert ([b"router", b"router", b">\n"], len(wire)) == codec.decode_many(wire, 9)
        assert b"show> " == codec.encode(b"show")

    def test_of_two_that_end_together_the_longer_counts(self, codecs):
        """Whatever their order."""
        for delimiter in ((b"\n", b"\r\n"), (b"\r\n", b"\n")):
            codec = codecs.Delimited(delimiter)

            assert [b"a", b"b\r", b"c"] == decode_in_chunks(codec, b"a\nb\r\r\nc\r\n", [])
            with pytest.raises(LocalProtocolError, match="holds the delimiter"):
                codec.encode(b"a\r" if delimiter[0] == b"\n" else b"a\n")

    @pytest.mark.parametrize(
        ("delimiter", "problem"),
        [
            ((b"\r", b"\r\n"), "the delimiter b'\\r\\n' is never met: b'\\r' ends the frame before"),
            ((b"abc", b"b"), "the delimiter b'abc' is never met: b'b' ends the frame before"),
            ((), "the number of delimiters must be 1 to 64, not 0"),
            ((b"a", b""), "the length of the delimiter must be 1 to 256, not 0"),
        ],
    )
    def test_one_that_can_never_be_met_is_refused(self, codecs, delimiter, problem):
        """When the codec is made."""
        with pytest.raises(ConfigurationError) as caught:
            codecs.Delimited(delimiter)

        assert problem == caught.value.problem

    def test_the_laws_hold(self, codecs):
        """Cutting, batches, identity, refusals."""
        wires = [b"a> b# c>", b"a> b#" + b"x" * 99, b"> > # ", b"ab>\n#  "]
        check_codec(codecs.Delimited((b"> ", b"# "), max_frame_bytes=8), [b"", b"a", b">"], wires)


class TestKept:
    """The delimiter belongs to the message."""

    def test_it_comes_and_goes_with_it(self, codecs):
        """Each with its own, where there are several."""
        codec = codecs.Delimited((b"> ", b"# "), keep_delimiter=True)

        assert [b"a> ", b"b# "] == decode_in_chunks(codec, b"a> b# ", [1] * 9)
        assert b"b# " == codec.encode(b"b# ")

    @pytest.mark.parametrize("message", [b"", b"a", b"a> b# ", b"a> b", b"> > "])
    def test_a_message_without_it_or_with_two_is_refused(self, codecs, message):
        """It would arrive as none, or as two."""
        with pytest.raises(LocalProtocolError, match="keep_delimiter is set"):
            codecs.Delimited((b"> ", b"# "), keep_delimiter=True).encode(message)

    def test_it_does_not_count(self, codecs):
        """The limit is that of what stands before it."""
        codec = codecs.Delimited(b"\r\n", keep_delimiter=True, max_frame_bytes=3)

        assert [b"abc\r\n"] == decode_in_chunks(codec, b"abc\r\n", [])
        assert b"abc\r\n" == codec.encode(b"abc\r\n")
        assert b"abc\r\n" == codec.decode_datagram(codec.encode_datagram(b"abc\r\n"))
        with pytest.raises(LocalProtocolError, match="exceeds max_frame_bytes=3"):
            codec.encode(b"abcd\r\n")


def test_the_error_at_eof_has_the_bytes_that_came(codecs):
    """What a device said last is often why it stopped."""
    with pytest.raises(TruncatedError) as caught:
        codecs.Delimited(b"> ").finish(Buffer(b"% Error"))

    assert (7, b"% Error") == (caught.value.pending, caught.value.partial)
