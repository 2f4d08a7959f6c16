"""What is inside a RESP value, and commands in words."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.codecs.resp import Attributed, ListedMap, ListedSet, SimpleString
from penstock.errors import BadFrameError, BadLengthError, BadPayloadError, FrameTooLongError, TruncatedError
from penstock.testing import check_batches, check_cutting, decode_chunks, decode_in_chunks


@pytest.mark.parametrize(
    "wire",
    [
        b":\r\n",
        b":x\r\n",
        b":1.0\r\n",
        b":007\r\n",
        b":1 \r\n",
        b":9223372036854775808\r\n",
        b":-9223372036854775809\r\n",
        b"#\r\n",
        b"#x\r\n",
        b"#T\r\n",
        b",\r\n",
        b",x\r\n",
        b",.5\r\n",
        b",1e\r\n",
        b",1e999\r\n",
        b",NaN\r\n",
        b",+nan\r\n",
        b",1_0\r\n",
        b",infinity\r\n",
        b"(\r\n",
        b"(1.5\r\n",
        b"(0x1\r\n",
        b"(" + b"9" * 641 + b"\r\n",
        b"=3\r\ntxt\r\n",
        b"=4\r\ntxt;\r\n",
        b"=4\r\nt\xffx:\r\n",
        b"=0\r\n\r\n",
        b"%1\r\n*0\r\n:1\r\n",
        b"%1\r\n%0\r\n:1\r\n",
        b"|1\r\n*0\r\n:1\r\n:1\r\n",
        b"%1\r\n~0\r\n:1\r\n",
        b"%1\r\n(-9223372036854775809\r\n:1\r\n",
    ],
)
def test_a_malformed_value_is_refused(codecs, wire):
    """Numbers, booleans, verbatim strings; keys without a hash, or with one that a peer can choose."""

    assert BadPayloadError is type(decode_chunks(codecs.Resp(), [wire], eof=False).error)
    assert BadPayloadError is type(decode_chunks(codecs.Resp(), [bytes((b,)) for b in wire], eof=False).error)
    with pytest.raises(BadPayloadError):
        codecs.Resp().decode_many(wire, 1)


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (b"~2\r\n*1\r\n:1\r\n%1\r\n+a\r\n:1\r\n", ListedSet([[1], {b"a": 1}])),
        (b"~1\r\n~0\r\n", ListedSet([frozenset()])),
        (b"~1\r\n|0\r\n:1\r\n", ListedSet([Attributed(1, {})])),
        (b"~1\r\n(9223372036854775808\r\n", ListedSet([2**63])),
        (b"~3\r\n:1\r\n#t\r\n,1\r\n", ListedSet([1, True, 1.0])),
        (b"~2\r\n$1\r\na\r\n+a\r\n", ListedSet([b"a", SimpleString(b"a")])),
        (b"~2\r\n:1\r\n:1\r\n", frozenset([1])),
        (b"%2\r\n:1\r\n+a\r\n#t\r\n+b\r\n", ListedMap([(1, b"a"), (True, b"b")])),
        (b"%3\r\n:0\r\n:1\r\n,0\r\n:2\r\n:0\r\n:3\r\n", ListedMap([(0, 3), (0.0, 2)])),
        (b"%3\r\n$1\r\na\r\n:1\r\n$1\r\na\r\n:2\r\n+a\r\n:3\r\n", ListedMap([(b"a", 2), (SimpleString(b"a"), 3)])),
        (b"%2\r\n:1\r\n:1\r\n:1\r\n:2\r\n", {1: 2}),
        (b"|2\r\n:1\r\n:1\r\n#t\r\n:2\r\n:9\r\n", Attributed(9, ListedMap([(1, 1), (True, 2)]))),
    ],
)
def test_what_python_would_merge_or_cannot_hash_is_listed(codecs, wire, value):
    """A set or map that Redis may send ends no connection, and 1, 1.0 and True stay three things."""
    codec = codecs.Resp(protocol=3)
    came = decode_in_chunks(codec, wire, [])

    assert [repr(value)] == list(map(repr, came))
    assert [repr(value)] == list(map(repr, decode_in_chunks(codec, codec.encode(came[0]), [])))


@pytest.mark.parametrize("wire", [b"$?\r\n", b"*?\r\n", b"~?\r\n", b"%?\r\n"])
def test_a_streamed_value_is_refused_by_its_name(codecs, wire):
    """Who meets one knows what it was."""
    with pytest.raises(BadLengthError, match="streamed values of RESP3"):
        codecs.Resp().decode(Buffer(wire))


class TestInline:
    """Commands in words, as typed into telnet."""

    @pytest.mark.parametrize(
        ("line", "command"),
        [
            (b"PING\r\n", [b"PING"]),
            (b"PING\n", [b"PING"]),
            (b"  SET \t k   v \r\n", [b"SET", b"k", b"v"]),
            (b'SET k "a b\\n\\x41\\"\\q"\r\n', [b"SET", b"k", b'a b\nA"q']),
            (b"SET k 'a b\\n\\'c'\r\n", [b"SET", b"k", b"a b\\n'c"]),
            (b"a\"b c\" d''\n", [b"ab c", b"d"]),
            (b'"" x\n', [b"", b"x"]),
            (b"a\\b\n", [b"a\\b"]),
        ],
    )
    def test_words_are_cut_as_redis_cuts_them(self, codecs, line, command):
        """White space separates, quotes hold together; in one piece, octet by octet and in a batch."""
        codec = codecs.Resp(inline=True)

        assert [command] == decode_in_chunks(codec, line, [])
        assert [command] == decode_in_chunks(codec, line, [1] * 99)
        assert ([command, [b"GET"], command], 2 * len(line) + 13) == codec.decode_many(
            line + b"*1\r\n$3\r\nGET\r\n" + line, 9
        )

    @pytest.mark.parametrize("nothing", [b"\r\n", b"\n", b" \t\r\n", b"*0\r\n", b"*-1\r\n"])
    def test_what_holds_no_word_is_passed_over(self, codecs, nothing):
        """As Redis does: before, between and after commands, and wherever the bytes are cut."""
        codec = codecs.Resp(inline=True)
        wire = nothing * 3 + b"PING\r\n" + nothing + b"*1\r\n$3\r\nGET\r\n" + nothing * 2

        assert [[b"PING"], [b"GET"]] == decode_in_chunks(codec, wire, [])
        assert [[b"PING"], [b"GET"]] == decode_in_chunks(codec, wire, [1] * 99)
        assert ([[b"PING"]], 3 * len(nothing) + 6) == codec.decode_many(wire, 1)
        assert ([], 0) == codec.decode_many(nothing * 2, 9)
        check_cutting(codec, wire, (2, 3))
        check_batches(codec, wire)

    def test_what_is_passed_over_is_not_kept(self, codecs):
        """A peer that holds the Enter key down fills no memory."""
        buffer = Buffer(b"\r\n" * 1000 + b" ")

        assert NEED_DATA is codecs.Resp(inline=True).decode(buffer)
        assert b" " == bytes(buffer)

    def test_a_blank_rest_at_eof_is_nothing(self, codecs):
        """The start of a line in which no word has come."""

        assert NEED_DATA is codecs.Resp(inline=True).finish(Buffer(b" \t"))
        with pytest.raises(TruncatedError):
            codecs.Resp(inline=True).finish(Buffer(b" PIN"))

    def test_without_inline_an_empty_array_is_a_message(self, codecs):
        """A reply may be one; and what is within another value always counts."""

        assert [[], None, [[]]] == decode_in_chunks(codecs.Resp(), b"*0\r\n*-1\r\n*1\r\n*0\r\n", [])
        assert [[[], None]] == decode_in_chunks(codecs.Resp(inline=True), b"*2\r\n*0\r\n$-1\r\n", [])

    @pytest.mark.parametrize(
        "line", [b'SET "a\r\n', b"SET 'a\n", b'SET "a"b\n', b"SET 'a'b\n", b'"\\"\n', b"'\\'\n", b'a"\n']
    )
    def test_unbalanced_quotes_are_refused(self, codecs, line):
        """So is what follows a closing quote."""
        with pytest.raises(BadPayloadError, match="unbalanced quotes"):
            codecs.Resp(inline=True).decode(Buffer(line))
        with pytest.raises(BadPayloadError, match="unbalanced quotes"):
            codecs.Resp(inline=True).decode_many(line, 1)

    def test_a_line_without_end_is_refused_at_64_kib(self, codecs):
        """As Redis does, or at ``max_frame_bytes`` when that is less."""
        with pytest.raises(FrameTooLongError) as caught:
            codecs.Resp(inline=True).decode(Buffer(b"x" * 65536))
        with pytest.raises(FrameTooLongError):
            codecs.Resp(inline=True, max_frame_bytes=10).decode_many(b"x" * 11 + b"\n", 1)

        assert 65536 == caught.value.limit
        assert ([[b"x" * 9]], 10) == codecs.Resp(inline=True, max_frame_bytes=10).decode_many(b"x" * 9 + b"\n", 1)
        assert NEED_DATA is codecs.Resp(inline=True).decode(Buffer(b"x" * 65535))

    def test_words_are_no_commands_by_default(self, codecs):
        """The first line of an HTTP request would be one."""
        with pytest.raises(BadFrameError, match="the byte 47 begins no RESP value"):
            codecs.Resp().decode(Buffer(b"GET / HTTP/1.1\r\n"))

    def test_words_are_no_values_inside_an_array(self, codecs):
        """An inline command stands alone."""

        assert "bad_frame" == decode_chunks(codecs.Resp(inline=True), [b"*1\r\nPING\r\n"], eof=False).reason
