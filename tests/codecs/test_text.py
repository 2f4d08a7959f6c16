"""Lines of text: str here, UTF-8 on the wire."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.errors import BadEncodingError, ConfigurationError, LocalProtocolError, WrongTypeError
from penstock.testing import check_codec, decode_chunks, decode_in_chunks


class TestDecoding:
    """From a stream to str."""

    @pytest.mark.parametrize(
        ("wire", "lines"),
        [
            ("hello\n", ["hello"]),
            ("hello\r\n\r\nhéllo\n", ["hello", "", "héllo"]),
            ("a\rb\n", ["a\rb"]),
            # Python's splitlines ends a line at each of these; the protocol's lines end at LF.
            ("a\u2028b\x85c\x0bd\x0ce\x1cf\n", ["a\u2028b\x85c\x0bd\x0ce\x1cf"]),
            ("\ufeffa\0b\n", ["\ufeffa\0b"]),
            ("\U0001f600\n", ["\U0001f600"]),
        ],
    )
    def test_a_line_ends_at_lf_and_nowhere_else(self, codecs, wire, lines):
        """However the bytes come: a character that was cut in two is whole again."""
        data = wire.encode()

        assert lines == decode_in_chunks(codecs.Text(), data, [])
        assert lines == decode_in_chunks(codecs.Text(), data, [1] * len(data))
        assert (lines, len(data)) == codecs.Text().decode_many(data, 100)

    def test_what_is_not_utf8_is_refused_after_the_lines_before_it(self, codecs):
        """With the place of the first bad byte in its line."""
        decoded = decode_chunks(codecs.Text(), [b"ok\ncaf\xe9\nmore\n"])

        assert (["ok"], BadEncodingError, 3) == (decoded.messages, type(decoded.error), decoded.error.offset)

    def test_a_bad_line_is_left_where_it_is(self, codecs):
        """The buffer's bytes are untouched."""
        buffer = Buffer(b"\xff\nx\n")
        with pytest.raises(BadEncodingError):
            codecs.Text().decode(buffer)

        assert b"\xff\nx\n" == bytes(buffer)

    def test_it_can_be_replaced_instead(self, codecs):
        """Each bad byte becomes U+FFFD, as `bytes.decode` has it."""
        codec = codecs.Text(errors="replace")

        assert ["caf\ufffd", "\ufffd\ufffd"] == decode_in_chunks(codec, b"caf\xe9\n\xff\xfe\n", [])

    def test_a_character_that_is_never_completed_is_refused(self, codecs):
        """The stream ends within it, and the rest was to be delivered."""
        codec = codecs.Text(unterminated="deliver")
        buffer = Buffer(b"a\xc3")

        assert NEED_DATA is codec.decode(buffer)
        with pytest.raises(BadEncodingError):
            codec.finish(buffer)


class TestEncoding:
    """From str to a stream."""

    @pytest.mark.parametrize(("newline", "wire"), [("lf", b"h\xc3\xa9\n"), ("crlf", b"h\xc3\xa9\r\n")])
    def test_a_str_is_sent_as_utf8(self, codecs, newline, wire):
        """With the newline that was asked for."""

        assert wire == codecs.Text(newline=newline).encode("hé")

    @pytest.mark.parametrize("message", ["a\nb", "a\r", "\ud800", "é" * 3])
    @pytest.mark.parametrize("errors", ["strict", "replace"])
    def test_what_would_not_arrive_as_it_is_is_refused(self, codecs, message, errors):
        """LF, CR at the end, a lone surrogate, more bytes than the limit."""
        codec = codecs.Text(errors=errors, max_frame_bytes=5)
        with pytest.raises(LocalProtocolError):
            codec.encode(message)

    @pytest.mark.parametrize("encode", ["encode", "encode_datagram"])
    def test_bytes_are_no_message(self, codecs, encode):
        """They would have to be decoded first, and by whom?"""
        with pytest.raises(WrongTypeError, match="the codec text is str, not bytes"):
            getattr(codecs.Text(), encode)(b"hello")

    def test_a_datagram_is_its_own_frame(self, codecs):
        """It may be empty, and hold line ends."""
        codec = codecs.Text()

        assert "a\nb" == codec.decode_datagram(codec.encode_datagram("a\nb"))
        assert "" == codec.decode_datagram(b"")

    def test_it_obeys_the_laws(self, codecs):
        """As every codec."""
        check_codec(codecs.Text(), ["hello", "", "é😀", "a\rb"])


def test_an_unknown_way_with_errors_is_refused():
    """``ignore`` would glue what was never together."""
    from penstock.codecs import Text

    with pytest.raises(ConfigurationError, match="errors must be one of strict, replace, not 'ignore'"):
        Text(errors="ignore")
