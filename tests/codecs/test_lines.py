"""Lines: LF or CRLF in, LF out."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadFrameError, ConfigurationError, FrameTooLongError, LocalProtocolError, TruncatedError
from penstock.testing import check_codec, chop, decode_chunks, decode_in_chunks


class TestDecoding:
    """From a stream to lines."""

    @pytest.mark.parametrize(
        ("wire", "lines"),
        [
            (b"a\n", [b"a"]),
            (b"a\r\n", [b"a"]),
            (b"a\nb\r\n\nc\n", [b"a", b"b", b"", b"c"]),
            (b"\r\n", [b""]),
            (b"a\rb\n", [b"a\rb"]),
            (b"a\r\r\n", [b"a"]),
            (b"\ra\n", [b"\ra"]),
            ("é\n".encode(), ["é".encode()]),
            (b"\0\xff\n", [b"\0\xff"]),
        ],
    )
    def test_a_line_ends_at_lf_and_loses_its_cr(self, codecs, wire, lines):
        """CR before LF belongs to the newline, any number of them; elsewhere it is data."""

        assert lines == decode_in_chunks(codecs.Lines(), wire, [])
        assert lines == decode_in_chunks(codecs.Lines(), wire, [1] * len(wire))
        assert (lines, len(wire)) == codecs.Lines().decode_many(wire, 100)

    def test_cr_can_be_kept(self, codecs):
        """With ``keep_cr`` a line is everything before LF."""

        assert [b"a\r", b"\r\r"] == decode_in_chunks(codecs.Lines(keep_cr=True), b"a\r\n\r\r\n", [])
        assert ([b"a\r", b"\r\r"], 6) == codecs.Lines(keep_cr=True).decode_many(b"a\r\n\r\r\n", 9)

    def test_an_incomplete_line_waits(self, codecs):
        """Its bytes stay, and where the search stopped is remembered."""
        buffer = Buffer(b"abc")

        assert NEED_DATA is codecs.Lines().decode(buffer)
        assert b"abc" == bytes(buffer)

    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    def test_a_line_of_the_limit_is_within_it(self, codecs, newline):
        """The newline does not count, its CR neither."""

        assert [b"hello", b"x"] == decode_in_chunks(codecs.Lines(max_frame_bytes=5), b"hello" + newline + b"x\n", [])

    @pytest.mark.parametrize("wire", [b"hello!", b"hello!\n", b"hello\rx", b"hello\r\r", b"hello\r\r\n", b"x" * 99])
    def test_a_line_over_the_limit_is_refused_terminated_or_not(self, codecs, wire):
        """As soon as it is too long, in one piece, byte by byte or in a batch."""
        for chunks in ([wire], [bytes((byte,)) for byte in wire]):
            decoded = decode_chunks(codecs.Lines(max_frame_bytes=5), chunks, eof=False)

            assert ([], FrameTooLongError) == (decoded.messages, type(decoded.error))
            assert (None, 5) == (decoded.error.size, decoded.error.limit)
        with pytest.raises(FrameTooLongError):
            codecs.Lines(max_frame_bytes=5).decode_many(wire, 3)

    @pytest.mark.parametrize("wire", [b"hello", b"hello\r"])
    def test_a_line_that_may_yet_be_within_the_limit_waits(self, codecs, wire):
        """CR may be the first half of the newline."""

        assert NEED_DATA is codecs.Lines(max_frame_bytes=5).decode(Buffer(wire))
        assert ([], 0) == codecs.Lines(max_frame_bytes=5).decode_many(wire, 3)

    def test_with_cr_kept_the_limit_has_no_slack(self, codecs):
        """CR is a byte like any other."""

        codec = codecs.Lines(keep_cr=True, max_frame_bytes=5)

        assert "frame_too_large" == decode_chunks(codec, [b"hello\r"], eof=False).reason

    def test_the_lines_before_a_too_long_one_are_taken(self, codecs):
        """The batch ends before it; the next one is refused."""
        codec = codecs.Lines(max_frame_bytes=5)

        assert ([b"ab", b"c", b"hello"], 13) == codec.decode_many(b"ab\r\nc\nhello\r\n123456\nd\n", 10)


class TestEncoding:
    """From a message to the stream."""

    def test_a_line_ends_in_lf(self, codecs):
        """The default, for an empty message too."""

        assert b"hello\n" == codecs.Lines().encode(b"hello")
        assert b"\n" == codecs.Lines().encode(b"")
        assert b"a\nb\n\n" == codecs.Lines().encode_many([b"a", b"b", b""])

    def test_a_line_can_end_in_crlf(self, codecs):
        """What telnet and many line protocols want."""
        codec = codecs.Lines(newline="crlf")

        assert b"hello\r\n" == codec.encode(b"hello")
        assert b"a\r\nb\r\n" == codec.encode_many([b"a", b"b"])

    @pytest.mark.parametrize("newline", ["lf", "crlf"])
    @pytest.mark.parametrize("message", [b"a\nb", b"\n", b"a\r", b"\r", b"a\r\n"])
    def test_what_would_not_come_back_is_refused(self, codecs, newline, message):
        """LF anywhere and CR at the end, alone and among others."""
        codec = codecs.Lines(newline=newline)
        with pytest.raises(LocalProtocolError):
            codec.encode(message)
        with pytest.raises(LocalProtocolError):
            codec.encode_many([message])
        with pytest.raises(LocalProtocolError):
            codec.encode_many([b"good", message, b"good"])

    def test_cr_inside_a_line_is_data(self, codecs):
        """A progress bar is one line, in both forms."""

        assert b"1%\r2%\n" == codecs.Lines().encode(b"1%\r2%")
        assert b"1%\r2%\nx\n" == codecs.Lines().encode_many([b"1%\r2%", b"x"])
        assert b"1%\r2%\r\nx\r\n" == codecs.Lines(newline="crlf").encode_many([b"1%\r2%", b"x"])

    def test_cr_at_the_end_is_data_where_it_is_kept(self, codecs):
        """It comes back."""

        assert b"a\r\n" == codecs.Lines(keep_cr=True).encode(b"a\r")
        assert b"a\r\n" == codecs.Lines(keep_cr=True).encode_many([b"a\r"])

    def test_what_the_other_end_would_refuse_is_not_sent(self, codecs):
        """The limit holds both ways."""
        codec = codecs.Lines(max_frame_bytes=5)
        with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
            codec.encode(b"hello!")
        with pytest.raises(LocalProtocolError, match="message of 6 bytes exceeds max_frame_bytes=5"):
            codec.encode_many([b"a", b"hello!"])

        assert b"hello\nhello\n" == codec.encode_many([b"hello", b"hello"])

    @pytest.mark.parametrize("message", ["text", 5, None])
    def test_what_is_no_bytes_is_refused(self, codecs, message):
        """Alone and among others."""
        with pytest.raises(TypeError, match="the codec lines is bytes, not"):
            codecs.Lines().encode(message)
        with pytest.raises(TypeError):
            codecs.Lines().encode_many([b"a", message])

    def test_no_messages_are_no_bytes(self, codecs):
        """Not one empty line."""

        assert b"" == codecs.Lines().encode_many([])

    def test_wide_items_do_not_slip_past_the_limit(self, codecs):
        """A memoryview of 4-byte items is measured in bytes."""
        wide = memoryview(b"12345678").cast("I")
        with pytest.raises(LocalProtocolError, match="message of 8 bytes"):
            codecs.Lines(max_frame_bytes=5).encode_many([wide, wide])


class TestEof:
    """A last line without LF."""

    def test_it_is_truncated_by_default(self, codecs):
        """The peer may have been cut off in the middle."""
        with pytest.raises(TruncatedError):
            codecs.Lines().finish(Buffer(b"abc"))

    @pytest.mark.parametrize(("rest", "line"), [(b"abc", b"abc"), (b"abc\r", b"abc"), (b"\rx\r\r", b"\rx")])
    def test_it_is_a_line_where_that_was_asked_for(self, codecs, rest, line):
        """CR at its end is dropped as ever; the buffer is empty then."""
        buffer = Buffer(rest)

        assert line == codecs.Lines(unterminated="deliver").finish(buffer)
        assert b"" == bytes(buffer)

    def test_nothing_is_no_line(self, codecs):
        """An empty rest is not an empty line."""

        assert NEED_DATA is codecs.Lines(unterminated="deliver").finish(Buffer())

    @pytest.mark.parametrize("rest", [b"\r", b"\r\r\r"])
    def test_cr_alone_is_no_line(self, codecs, rest):
        """It would be the newline of an empty line, had LF come; where CR is data, it is a line."""
        buffer = Buffer(rest)

        assert NEED_DATA is codecs.Lines(unterminated="deliver").finish(buffer)
        assert b"" == bytes(buffer)
        assert [b"a"] == decode_in_chunks(codecs.Lines(unterminated="deliver"), b"a\n" + rest, [1] * 9)
        assert rest == codecs.Lines(unterminated="deliver", keep_cr=True).finish(Buffer(rest))

    def test_it_has_the_limit_of_any_line(self, codecs):
        """``hello`` and half a newline are within five bytes."""

        assert b"hello" == codecs.Lines(unterminated="deliver", max_frame_bytes=5).finish(Buffer(b"hello\r"))


class TestStrict:
    """A line ends in one way: what one program takes for two lines, no other may take for one."""

    @pytest.mark.parametrize("chunks", [[], [1] * 40, [2] * 40])
    @pytest.mark.parametrize(
        "wire", [b"ok\r\na\nb\r\n", b"ok\r\na\rb\r\n", b"ok\r\n\n", b"ok\r\na\r\r\n", b"ok\r\n\ra"]
    )
    def test_crlf_is_the_only_end(self, codecs, wire, chunks):
        """LF or CR by itself, wherever it stands, is a bad frame; the lines before it are lines."""

        decoded = decode_chunks(codecs.Lines(strict=True, newline="crlf"), chop(wire, chunks))

        assert ([b"ok"], BadFrameError) == (decoded.messages, type(decoded.error))

    @pytest.mark.parametrize("chunks", [[], [1] * 40])
    @pytest.mark.parametrize("wire", [b"ok\na\r\n", b"ok\n\ra\n", b"ok\na\r"])
    def test_lf_is_the_only_end(self, codecs, wire, chunks):
        """Then CR is a bad frame as soon as it comes."""

        decoded = decode_chunks(codecs.Lines(strict=True), chop(wire, chunks))

        assert ([b"ok"], BadFrameError) == (decoded.messages, type(decoded.error))

    def test_a_bad_end_is_told_as_soon_as_it_is_there(self, codecs):
        """Its line need not come to an end."""
        with pytest.raises(BadFrameError):
            codecs.Lines(strict=True, newline="crlf").decode(Buffer(b"a\rb"))

        assert NEED_DATA is codecs.Lines(strict=True, newline="crlf").decode(Buffer(b"a\r"))

    def test_cr_is_not_sent(self, codecs):
        """The other end would refuse it."""
        for newline in ("lf", "crlf"):
            codec = codecs.Lines(strict=True, newline=newline)
            with pytest.raises(LocalProtocolError):
                codec.encode(b"a\rb")
            with pytest.raises(LocalProtocolError):
                codec.encode_many([b"a\rb", b"c"])


class TestOptions:
    """A wrong option is refused when the codec is made."""

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"newline": "cr"}, "newline must be one of lf, crlf, not 'cr'"),
            ({"unterminated": "drop"}, "unterminated must be one of refuse, deliver, not 'drop'"),
            ({"max_frame_bytes": 0}, "max_frame_bytes must be 1 or more, not 0"),
            ({"newline": "crlf", "keep_cr": True}, "keep_cr does not go with newline=crlf"),
            ({"strict": True, "keep_cr": True}, "strict does not go with keep_cr"),
            ({"strict": True, "unterminated": "deliver"}, "strict does not go with keep_cr, unterminated=deliver"),
            ({"strict": True, "on_oversize": "skip"}, "strict does not go with"),
            ({"strict": True, "quiet_s": 1.0}, "strict does not go with"),
        ],
    )
    def test_it_is_named(self, codecs, options, problem):
        """With what is allowed."""
        with pytest.raises(ConfigurationError) as caught:
            codecs.Lines(**options)

        assert problem in caught.value.problem


def test_a_line_has_64_kib_by_default(codecs):
    """Every peer may hold one partial line."""

    assert 65536 == codecs.Lines().max_frame_bytes


def test_a_datagram_is_a_line_without_its_newline(codecs):
    """It delimits itself: LF in it is data, and it may be empty."""

    assert b"a\nb\r\n" == codecs.Lines().decode_datagram(b"a\nb\r\n")
    assert b"a\nb" == codecs.Lines().encode_datagram(b"a\nb")
    assert b"" == codecs.Lines().decode_datagram(b"")


@pytest.mark.parametrize(
    "options", [{}, {"newline": "crlf"}, {"keep_cr": True}, {"unterminated": "deliver"}, {"max_frame_bytes": 6}]
)
def test_the_laws_hold(codecs, options):
    """Cutting, batches, identity, refusals."""
    wires = [b"a\r\nb\r\r\n\rc\nhello!\r\n", b"x" * 7, b"hello!\r", b"\r" * 20, b"a\nhello!!\nb\n", b"hello!\r\r\n"]
    check_codec(codecs.Lines(**options), [b"", b"a", b"\ra", b"hello!"], wires)
