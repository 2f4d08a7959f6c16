"""RESP2 and RESP3: the bytes of the documentation, and what is refused."""

import enum
import math

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.codecs.resp import Attributed, ErrorReply, Push, SimpleString, VerbatimString
from penstock.errors import (
    BadFrameError,
    BadLengthError,
    BadPayloadError,
    ConfigurationError,
    FrameTooLongError,
    LocalProtocolError,
    RemoteProtocolError,
    TruncatedError,
)
from penstock.testing import check_codec, decode_chunks, decode_in_chunks

BIG = 3492890328409238509324850943850943825024385

# https://redis.io/docs/latest/develop/reference/protocol-spec/, and for pushes and attributes
# https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md: what is read, and written by protocol 3.
PUBLISHED = [
    (b"+OK\r\n", SimpleString(b"OK")),
    (b"-Error message\r\n", ErrorReply(b"Error message")),
    (b"-WRONGTYPE Operation against a key\r\n", ErrorReply(b"WRONGTYPE Operation against a key")),
    (b":0\r\n", 0),
    (b":1000\r\n", 1000),
    (b":-42\r\n", -42),
    (b"$5\r\nhello\r\n", b"hello"),
    (b"$0\r\n\r\n", b""),
    (b"*0\r\n", []),
    (b"*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n", [b"hello", b"world"]),
    (b"*3\r\n:1\r\n:2\r\n:3\r\n", [1, 2, 3]),
    (b"*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n$5\r\nhello\r\n", [1, 2, 3, 4, b"hello"]),
    (
        b"*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Hello\r\n-World\r\n",
        [[1, 2, 3], [SimpleString(b"Hello"), ErrorReply(b"World")]],
    ),
    (b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n", [b"LLEN", b"mylist"]),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.23\r\n", 1.23),
    (b",inf\r\n", math.inf),
    (b",-inf\r\n", -math.inf),
    (b"(%d\r\n" % BIG, BIG),
    (b"=15\r\ntxt:Some string\r\n", VerbatimString(b"Some string", "txt")),
    (b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", {SimpleString(b"first"): 1, SimpleString(b"second"): 2}),
    (b"~1\r\n+orange\r\n", frozenset([SimpleString(b"orange")])),
    (
        b">4\r\n+pubsub\r\n+message\r\n+somechannel\r\n+this is the message\r\n",
        Push(map(SimpleString, [b"pubsub", b"message", b"somechannel", b"this is the message"])),
    ),
    (
        b"|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9543892\r\n",
        Attributed([2039123, 9543892], {SimpleString(b"key-popularity"): {b"a": 0.1923, b"b": 0.0012}}),
    ),
    (b"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n", [1, 2, Attributed(3, {SimpleString(b"ttl"): 3600})]),
    (b"!24\r\nSYNTAX invalid\r\n syntax!\r\n", ErrorReply(b"SYNTAX invalid\r\n syntax!")),
    (b"|0\r\n:1\r\n", Attributed(1, {})),
    (b">0\r\n", Push()),
    (b"%0\r\n", {}),
    (b"~0\r\n", frozenset()),
]

# Read, and written otherwise.
READ_ONLY = [
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nworld\r\n", [b"hello", None, b"world"]),
    (b"!21\r\nSYNTAX invalid syntax\r\n", ErrorReply(b"SYNTAX invalid syntax")),
    (b",10\r\n", 10.0),
    (b",1.\r\n", 1.0),
    (b",+1E-2\r\n", 0.01),
    (b",+inf\r\n", math.inf),
    (b":+5\r\n", 5),
    (b":-0\r\n", 0),
    (b"(5\r\n", 5),
    (b"(-%d\r\n" % BIG, -BIG),
    (b":9223372036854775807\r\n", 2**63 - 1),
    (b":-9223372036854775808\r\n", -(2**63)),
    (b"~2\r\n:1\r\n:1\r\n", frozenset([1])),
    (b"%2\r\n:1\r\n:1\r\n:1\r\n:2\r\n", {1: 2}),
    (b"~1\r\n~1\r\n:1\r\n", frozenset([frozenset([1])])),
    (b"+\r\n", SimpleString(b"")),
]


def same(one, other):
    """Whether two values are equal in type as well, all the way down."""
    if type(one) is not type(other) or one != other:
        return False
    match one:
        case list():
            return all(map(same, one, other))
        case dict():
            return all(same(*pair) for pair in zip(one.items(), other.items(), strict=True))
        case Attributed():
            return same(one.value, other.value) and same(one.attributes, other.attributes)
    return True


class TestDecoding:
    """From a stream to values."""

    @pytest.mark.parametrize(("wire", "message"), PUBLISHED + READ_ONLY)
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_the_bytes_are_those_of_the_documentation(self, codecs, protocol, wire, message):
        """Both versions are read, whichever is written; in one piece, octet by octet and in batches."""
        codec = codecs.Resp(protocol=protocol)

        assert same([message, message], decode_in_chunks(codec, wire * 2, []))
        assert same([message, message], decode_in_chunks(codec, wire * 2, [1] * 2 * len(wire)))
        messages, taken = codec.decode_many(wire * 2 + wire[:-1], 9)
        assert same([message, message], messages)
        assert 2 * len(wire) == taken

    def test_not_a_number_is_a_double(self, codecs):
        """It equals nothing, itself neither."""

        assert math.isnan(codecs.Resp().decode(Buffer(b",nan\r\n")))

    @pytest.mark.parametrize(("wire", "message"), PUBLISHED)
    def test_every_shorter_piece_waits(self, codecs, wire, message):
        """Nothing is given away before the last byte is there."""
        for size in range(len(wire)):
            buffer = Buffer(wire[:size])

            assert NEED_DATA is codecs.Resp().decode(buffer)
            assert wire[:size] == bytes(buffer)

    @pytest.mark.parametrize("first", ["$", "*", "!", "=", "%", "~", ">", "|"])
    @pytest.mark.parametrize(
        "length", ["", "-2", "+5", " 5", "5 ", "05", "00", "-0", "--1", "1_0", "0x5", "?", "\u0665", "1.0"]
    )
    def test_a_length_that_is_not_canonical_is_refused(self, codecs, first, length):
        """Digits without leading zero and sign, and in two places -1; the streamed ``?`` is not read."""
        wire = f"{first}{length}\r\n".encode()

        assert "bad_length" == decode_chunks(codecs.Resp(), [wire], eof=False).reason
        with pytest.raises(BadLengthError):
            codecs.Resp().decode_many(wire, 1)

    @pytest.mark.parametrize("first", ["!", "=", "%", "~", ">", "|"])
    def test_null_is_a_string_or_an_array(self, codecs, first):
        """Nothing else has the length -1."""

        assert "bad_length" == decode_chunks(codecs.Resp(), [f"{first}-1\r\n".encode()], eof=False).reason

    @pytest.mark.parametrize("first", [b"$", b"*", b"%"])
    def test_a_length_that_does_not_end_is_refused(self, codecs, first):
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
    def test_what_has_to_be_too_long_is_refused_on_its_header(self, codecs, wire, size):
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
    def test_what_is_exactly_as_long_as_allowed_is_taken(self, codecs, wire):
        """The limit is of the whole value, headers included."""
        codec = codecs.Resp(max_frame_bytes=100)

        assert 1 == len(decode_in_chunks(codec, wire, []))
        assert 1 == len(decode_in_chunks(codec, wire, [1] * 100))
        assert 100 == len(wire) == codec.decode_many(wire, 1)[1]
        assert "frame_too_large" == decode_chunks(codecs.Resp(max_frame_bytes=99), [wire], eof=False).reason

    @pytest.mark.parametrize("wire", [b"+" + b"x" * 98, b"-" + b"x" * 98 + b"\r", b"*2\r\n+" + b"x" * 91])
    def test_a_simple_string_that_does_not_end_is_refused(self, codecs, wire):
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
    def test_a_broken_frame_is_refused(self, codecs, wire):
        """In one piece, octet by octet and in a batch."""

        assert BadFrameError is type(decode_chunks(codecs.Resp(), [wire], eof=False).error)
        assert BadFrameError is type(decode_chunks(codecs.Resp(), [bytes((b,)) for b in wire], eof=False).error)
        with pytest.raises(BadFrameError):
            codecs.Resp().decode_many(wire, 1)

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
            b",-nan\r\n",
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
            b"~1\r\n*0\r\n",
            b"|1\r\n*0\r\n:1\r\n:1\r\n",
            b"~1\r\n|0\r\n:1\r\n",
        ],
    )
    def test_a_malformed_value_is_refused(self, codecs, wire):
        """Numbers, booleans, verbatim strings; keys and members that Python cannot hash."""

        assert BadPayloadError is type(decode_chunks(codecs.Resp(), [wire], eof=False).error)
        assert BadPayloadError is type(decode_chunks(codecs.Resp(), [bytes((b,)) for b in wire], eof=False).error)
        with pytest.raises(BadPayloadError):
            codecs.Resp().decode_many(wire, 1)

    @pytest.mark.parametrize("opening", [b"*1\r\n", b"%1\r\n:1\r\n", b"|0\r\n", b"*2\r\n:1\r\n", b"|1\r\n:1\r\n"])
    def test_a_bomb_is_refused(self, codecs, opening):
        """100,000 levels are a bad payload like any other, not a crash or a RecursionError."""
        codec = codecs.Resp(max_frame_bytes=2**22)

        assert "bad_payload" == decode_chunks(codec, [opening * 100_000]).reason

    @pytest.mark.parametrize("opening", [b"*1\r\n", b"%1\r\n:1\r\n", b"|0\r\n"])
    def test_exactly_max_depth_is_allowed(self, codecs, opening):
        """An empty container has a depth like any other."""
        codec = codecs.Resp(max_depth=3)

        assert NEED_DATA is not codec.decode(Buffer(opening * 2 + b"*0\r\n"))
        assert NEED_DATA is not codec.decode(Buffer(opening * 3 + b"_\r\n"))
        with pytest.raises(BadPayloadError, match="nested deeper than max_depth=3"):
            codec.decode(Buffer(opening * 3 + b"*0\r\n"))

    def test_the_deepest_depth_there_is_can_be_read_and_written(self, codecs):
        """512 levels are under every interpreter's recursion limit."""
        codec = codecs.Resp(max_depth=512)
        wire = b"*1\r\n" * 512 + b"_\r\n"

        assert wire.replace(b"_", b"$-1") == codec.encode(codec.decode(Buffer(wire)))

    def test_a_bad_value_after_good_ones_is_left_for_the_next_call(self, codecs):
        """Commands or other values, the good ones are not lost with it."""

        assert ([[b"PING"], 1], 18) == codecs.Resp().decode_many(b"*1\r\n$4\r\nPING\r\n:1\r\nx", 9)
        assert ([[b"PING"]], 14) == codecs.Resp().decode_many(b"*1\r\n$4\r\nPING\r\n:x\r\n", 9)

    def test_a_command_in_a_batch_has_the_limit_of_any_value(self, codecs):
        """The quick way for commands is no way around it."""
        wire = b"*1\r\n$4\r\nPING\r\n"

        assert ([[b"PING"]], 14) == codecs.Resp(max_frame_bytes=14).decode_many(wire, 9)
        with pytest.raises(FrameTooLongError):
            codecs.Resp(max_frame_bytes=13).decode_many(wire, 9)


class TestEncoding:
    """From values to the stream."""

    @pytest.mark.parametrize(("wire", "message"), PUBLISHED)
    def test_the_bytes_are_those_of_the_documentation(self, codecs, wire, message):
        """Written by protocol 3, alone and in batches."""

        assert wire == codecs.Resp(protocol=3).encode(message)
        assert wire * 2 == codecs.Resp(protocol=3).encode_many([message, message])

    def test_null_is_a_null_string_in_resp2(self, codecs):
        """Every client of RESP2 reads it."""

        assert b"$-1\r\n" == codecs.Resp().encode(None)
        assert b"*1\r\n$-1\r\n" == codecs.Resp().encode([None])

    @pytest.mark.parametrize(
        "message",
        [
            True,
            1.5,
            2**63,
            -(2**63) - 1,
            {},
            frozenset(),
            set(),
            Push(),
            VerbatimString(b""),
            Attributed(1, {}),
            ErrorReply(b"a\r\nb"),
            [True],
        ],
    )
    def test_what_resp2_has_no_type_for_is_not_sent(self, codecs, message):
        """It says which protocol has."""
        with pytest.raises(LocalProtocolError, match=r"RESP2 has no .*: protocol=3 has"):
            codecs.Resp(protocol=2).encode(message)

        assert codecs.Resp(protocol=3).encode(message)

    @pytest.mark.parametrize("message", ["text", ("a",), [b"a", "text"], {b"a": ("b",)}, object(), 1j])
    def test_what_would_come_back_as_something_else_is_refused(self, codecs, message):
        """Text has to be encoded, a tuple made a list."""
        with pytest.raises(TypeError, match="RESP has no"):
            codecs.Resp(protocol=3).encode(message)

    @pytest.mark.parametrize(
        ("message", "problem"),
        [
            (SimpleString(b"a\rb"), "cannot hold CR or LF"),
            (SimpleString(b"a\n"), "cannot hold CR or LF"),
            ([Push()], "push inside another value"),
            (Attributed(Push(), {}), "push inside another value"),
            (10**640, "640 digits at most"),
            (-(10**640), "640 digits at most"),
            (VerbatimString(b"", "text"), "three ASCII characters, not 'text'"),
            (VerbatimString(b"", "txé"), "three ASCII characters, not 'txé'"),
            ([[[[1]]]], "nested deeper than max_depth=3"),
            ({b"a": {b"b": {b"c": {}}}}, "nested deeper than max_depth=3"),
        ],
    )
    def test_what_the_other_end_would_refuse_is_not_sent(self, codecs, message, problem):
        """The rules hold both ways."""
        with pytest.raises(LocalProtocolError, match=problem):
            codecs.Resp(protocol=3, max_depth=3).encode(message)

    def test_the_largest_numbers_come_back(self, codecs):
        """640 digits, either sign."""
        codec = codecs.Resp(protocol=3)
        numbers = [10**640 - 1, 1 - 10**640, 2**63, -(2**63) - 1, 2**63 - 1, -(2**63)]

        assert numbers == decode_in_chunks(codec, codec.encode_many(numbers), [])

    def test_the_limit_holds_both_ways(self, codecs):
        """In bytes of the whole value."""
        codec = codecs.Resp(max_frame_bytes=11)
        with pytest.raises(LocalProtocolError, match="value of 12 bytes exceeds max_frame_bytes=11"):
            codec.encode(b"hello!")

        assert b"$5\r\nhello\r\n" == codec.encode(b"hello")

    def test_what_derives_from_a_type_is_written_as_it(self, codecs):
        """An IntEnum as its number, a bytearray as bytes."""
        codec = codecs.Resp(protocol=3)

        assert b"*3\r\n:7\r\n$1\r\na\r\n$1\r\nb\r\n" == codec.encode(
            [enum.IntEnum("n", {"SEVEN": 7}).SEVEN, bytearray(b"a"), memoryview(b"b")]
        )


class TestInline:
    """Commands in words, as typed into telnet."""

    @pytest.mark.parametrize(
        ("line", "command"),
        [
            (b"PING\r\n", [b"PING"]),
            (b"PING\n", [b"PING"]),
            (b"  SET \t k   v \r\n", [b"SET", b"k", b"v"]),
            (b"\r\n", []),
            (b"  \n", []),
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


def test_an_error_has_a_code(codecs):
    """Its first word."""

    assert b"WRONGTYPE" == codecs.Resp().decode(Buffer(b"-WRONGTYPE Operation\r\n")).code
    assert b"ERR" == ErrorReply(b"ERR").code


def test_eof_within_a_value_is_truncation(codecs):
    """Values that are whole were delivered."""
    decoded = decode_chunks(codecs.Resp(), [b":1\r\n*1\r\n"])

    assert ([1], TruncatedError) == (decoded.messages, type(decoded.error))


def test_a_datagram_is_one_value(codecs):
    """Neither less nor more."""
    with pytest.raises(TruncatedError):
        codecs.Resp().decode_datagram(b"*1\r\n")
    with pytest.raises(RemoteProtocolError, match="4 bytes follow"):
        codecs.Resp().decode_datagram(b":1\r\n:2\r\n")

    assert 1 == codecs.Resp().decode_datagram(b":1\r\n")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"protocol": 4}, "protocol must be one of 2, 3, not 4"),
        ({"max_depth": 0}, "max_depth must be 1 to 512, not 0"),
        ({"max_depth": 513}, "max_depth must be 1 to 512, not 513"),
        ({"max_frame_bytes": 0}, "max_frame_bytes must be 1 or more, not 0"),
    ],
)
def test_a_wrong_option_is_refused_when_the_codec_is_made(codecs, options, problem):
    """With what is allowed."""
    with pytest.raises(ConfigurationError) as caught:
        codecs.Resp(**options)

    assert problem == caught.value.problem


@pytest.mark.parametrize("options", [{}, {"inline": True}, {"max_frame_bytes": 60, "max_depth": 2}])
@pytest.mark.parametrize("protocol", [2, 3])
def test_the_laws_hold(codecs, protocol, options):
    """Cutting, batches, identity, refusals."""
    messages = [
        None,
        0,
        -5,
        b"",
        b"a\r\nb",
        SimpleString(b"OK"),
        ErrorReply(b"ERR x"),
        [],
        [b"GET", b"k"],
        [[1], [b"x"]],
    ]
    if protocol == 3:
        messages += [
            True,
            1.5,
            2**70,
            {b"a": [1]},
            frozenset([1, b"x"]),
            Push([1]),
            VerbatimString(b"x"),
            Attributed(1, {}),
        ]
    wires = [
        b"".join(wire for wire, _ in PUBLISHED),
        b"*1\r\n*1\r\n*1\r\n:1\r\n",
        b"*9\r\n:1\r\n+x\n",
        b"$5\r\nhelloXX",
    ]
    wires += [
        b"PING\r\n*1\r\n$4\r\nPING\r\n\r\nGET 'k\r\n",
        b"+" + b"x" * 70,
        b"*1\r\n>0\r\n",
        b":1\r\n:x\r\n",
        b"$99\r\n",
    ]
    check_codec(codecs.Resp(protocol=protocol, **options), messages, wires)
