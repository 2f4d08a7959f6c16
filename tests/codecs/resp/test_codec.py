"""RESP2 and RESP3: the bytes of the documentation, and what is refused."""

import math

import pytest

from penstock.codecs import NEED_DATA, Buffer, Resp
from penstock.codecs.resp import Attributed, ErrorReply, Push, SimpleString, VerbatimString
from penstock.errors import (
    ConfigurationError,
    FrameTooLongError,
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
    (b"~2\r\n:1\r\n,0.5\r\n", frozenset([1, 0.5])),
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
        assert math.isnan(codecs.Resp().decode(Buffer(b",-nan\r\n")))  # of servers before Redis 7.2

    @pytest.mark.parametrize(("wire", "message"), PUBLISHED)
    def test_every_shorter_piece_waits(self, codecs, wire, message):
        """Nothing is given away before the last byte is there."""
        for size in range(len(wire)):
            buffer = Buffer(wire[:size])

            assert NEED_DATA is codecs.Resp().decode(buffer)
            assert wire[:size] == bytes(buffer)

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
        [b"GET", b"k"],
        [[1], [b"x"], []],
    ]
    if not options:
        messages.append([])
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


def test_an_empty_buffer_leaves_no_note():
    """Only the first byte decides whether a value or an inline command begins."""
    codec = Resp(inline=True)
    buffer = Buffer()
    asked_too_early = codec.decode(buffer)
    buffer += b"PING\r\n"

    assert NEED_DATA is asked_too_early
    assert [b"PING"] == codec.decode(buffer)
