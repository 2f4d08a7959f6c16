"""The compiled framings beside the codecs they stand for: the codec is the oracle."""

import enum
import itertools
import math
import os
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.codecs import JsonLines, LengthPrefixed, Lines, Msgpack, Raw
from penstock.codecs.base import NEED_DATA, Buffer
from penstock.codecs.registry import parse_codec
from penstock.codecs.resp import Attributed, ErrorReply, Push, SimpleString, VerbatimString
from penstock.engines.native.framing.choice import Cutter, cut_all, put
from penstock.errors import LocalProtocolError

# How many streams, and how many messages, of each codec.
EXAMPLES = int(os.environ.get("CODEC_EXAMPLES", "20"))  # make attacks: 300


class Point(msgspec.Struct):
    """A type to decode into."""

    x: int
    y: float = 0.0


class Color(enum.IntEnum):
    """An int, and more."""

    RED = 1


octets = st.binary(max_size=40)
words = st.one_of(st.text("aé\r\n😀\ud800", max_size=9), octets)
records = st.one_of(
    st.tuples(st.integers(0, 65535), st.floats()),
    st.tuples(st.integers(), st.text(max_size=2)),
    st.just((1,)),
    st.none(),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.just(Color.RED),
    st.just(Point(1)),
)
objects = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(0, 9)), inner, max_size=3),
    ),
    max_leaves=12,
)
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False),
    st.binary(max_size=12),
    st.builds(SimpleString, st.binary(max_size=8)),
    st.builds(ErrorReply, st.binary(max_size=8)),
    st.builds(VerbatimString, st.binary(max_size=8)),
    st.just(Color.RED),
    st.just("text"),
)
replies = st.recursive(
    hashable,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.builds(Push, st.lists(inner, max_size=3)),
        st.dictionaries(hashable, inner, max_size=3),
        st.frozensets(hashable, max_size=3),
        st.builds(Attributed, inner, st.dictionaries(hashable, inner, max_size=2)),
        st.tuples(inner),
    ),
    max_leaves=12,
)
commands = st.lists(st.binary(max_size=12), max_size=5)

# A spec, messages for it that it may or may not take, and pieces of bytes that mean something to it.
CASES = [
    *(
        (spec, octets, [b"\r", b"\n", b"a", b"\r\n", b"abcdefg"])
        for spec in (
            "lines",
            "lines:max=7",
            "lines:max=7,newline=crlf",
            "lines:max=7,keep-cr=yes",
            "lines:max=7,quiet=1s",
            "delimited:delimiter=ab,quiet=1s",
            "delimited:delimiter=ab",
            r"delimited:delimiter=\r\n,max=6",
            "delimited:delimiter=aba,max=9",
        )
    ),
    *((spec, octets, [b"a", b"\0"]) for spec in ("raw:max=5", "fixed:size=3")),
    *(
        (spec, words, [b"a", b"\r", b"\n", b"\r\n", b"\xc3", b"\xa9", b"\xff"])
        for spec in ("text", "text:max=5,errors=replace", "text:newline=crlf", "text:quiet=1s")
    ),
    *(
        (spec, octets, [b"\0", b"\1", b"\3", b"\x80", b"\xff", b"\xff" * 9, b"abc"])
        for spec in (
            "length-prefixed:size=1",
            "length-prefixed:size=2,byteorder=little,max=9",
            "length-prefixed:size=3,offset=1,adjustment=-4,header=keep,max=9",
            "length-prefixed:size=8,adjustment=2,max=9",
            "varint",
            "varint:max=9",
            "length-prefixed:size=2,offset=2,header=split,max=9",
            "length-prefixed:size=1,adjustment=-1,header=split,byteorder=big",
            "varint:offset=1,header=split,max=9",
            "varint:offset=2",
            "varint/json-lines",
        )
    ),
    *(
        (spec, octets, [b"0", b"00", b"1", b"3:abc,", b"12", b":", b",", b"-", b"9" * 20])
        for spec in ("netstring", "netstring:max=12")
    ),
    *(
        (spec, records, [b"\0", b"\x7f\xff"])
        for spec in ("struct:format=>Hd", "struct:format=<Hf", "struct:format=<b3s?")
    ),
    *(
        (spec, objects, [b"[", b"{", b"]", b"}", b'"', b"\\", b"\n", b"1", b":", b",", b"null", b"\xc3\xa9", b"\xff"])
        for spec in ("json-lines", "json-lines:max=20,max-depth=3", "json-lines:max-depth=1")
    ),
    *(
        (
            spec,
            objects,
            [b"\x81", b"\x92", b"\xa1", b"\xc1", b"\xc4", b"\xc7", b"\xd6", b"\xd9", b"\xdc\0", b"\xdf", b"\0"],
        )
        for spec in ("msgpack", "msgpack:max=20,max-depth=3")
    ),
    *(
        (
            spec,
            messages,
            [bytes((each,)) for each in b"$*:+-_#,(=!%~>|"] + [b"\r\n", b"\n", b"\r", b"0", b"1", b"12", b"-1", b"tx"],
        )
        for spec in (
            "resp",
            "resp:protocol=3",
            "resp:inline=yes,max=40,max-depth=3",
            "resp:protocol=3,inline=yes",
        )
        for messages in (replies, commands)
    ),
]
cases = pytest.mark.parametrize(
    ("spec", "messages", "tokens"), CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)]
)


def written(codec, message):
    """The bytes of a message, or what it is refused with."""
    try:
        return codec.encode(message)
    except (LocalProtocolError, TypeError, msgspec.ValidationError) as error:
        return type(error)


@st.composite
def streams(draw, codec, messages, tokens):
    """Whole frames, perhaps spoiled, or pieces that mean something in any order; cut anywhere."""
    frames = [
        frame
        for frame in (written(codec, each) for each in draw(st.lists(messages, max_size=6)))
        if type(frame) is bytes
    ]
    if draw(st.booleans()):
        frames += draw(st.lists(st.one_of(st.sampled_from(tokens), st.binary(max_size=3)), max_size=20))
        frames = draw(st.permutations(frames))
    stream = bytearray(b"".join(frames))
    for _ in range(draw(st.integers(0, 2)) if stream else 0):
        at = draw(st.integers(0, len(stream) - 1))
        stream[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(tokens))
        stream = stream or bytearray(b"\n")
    cuts = (
        range(len(stream)) if draw(st.integers(0, 4)) == 0 else draw(st.lists(st.integers(0, len(stream)), max_size=8))
    )
    return [bytes(stream[start:end]) for start, end in itertools.pairwise(sorted({0, len(stream), *cuts}))]


def by_codec(codec, pieces):
    """Do what `cut_all` does, with the codec itself."""
    buffer = Buffer()
    messages = []
    for piece in pieces:
        buffer += piece
        try:
            while (message := codec.decode(buffer)) is not NEED_DATA:
                messages.append(message)
        except Exception as error:
            return messages, error, bytes(buffer)
    return messages, None, bytes(buffer)


def shown(message):
    """A message as text in which NaN is NaN, 1 is not True, and the type of everything is seen."""
    if isinstance(message, list):
        return type(message).__name__, list(map(shown, message))
    if isinstance(message, dict):
        return [(shown(key), shown(value)) for key, value in message.items()]
    if isinstance(message, Attributed):
        return "attributed", shown(message.value), shown(message.attributes)
    if isinstance(message, msgspec.msgpack.Ext):
        return "ext", message.code, bytes(message.data)
    if isinstance(message, frozenset):
        return "set", sorted(map(repr, message))
    return type(message).__name__, repr(message)


def seen(result):
    """What can be told of an outcome."""
    messages, error, rest = result
    return [shown(message) for message in messages], type(error), str(error), vars(error) if error else None, rest


@pytest.fixture(scope="module")
def counts(figure):
    """What was compared."""
    counted = Counter()
    yield counted
    figure(f"compiled framings: {', '.join(f'{n} {what}' for what, n in counted.items())}, 0 differences")


@cases
def test_a_framing_cuts_as_its_codec_does(spec, messages, tokens, counts):
    """Same messages, same refusal down to its words and offset, same rest, however the bytes were cut."""
    codec = parse_codec(spec)

    @settings(max_examples=EXAMPLES)
    @given(streams(codec, messages, tokens))
    def check(pieces):
        expected = by_codec(codec, pieces)
        counts.update(streams=1, messages=len(expected[0]), refusals=expected[1] is not None)

        assert seen(expected) == seen(cut_all(codec, pieces))

    check()


@cases
def test_a_framing_writes_as_its_codec_does(spec, messages, tokens):
    """The same bytes, or it leaves the message to the codec; always that where the codec refuses it."""
    codec = parse_codec(spec)

    @settings(max_examples=EXAMPLES)
    @given(messages)
    def check(message):
        expected = written(codec, message)
        got = put(codec, message)

        assert got in (expected, None)

    check()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lines", b"hello"),
        ("text", "héllo"),
        ("raw", b"hello"),
        ("fixed:size=5", b"hello"),
        ("delimited:delimiter=ab", b"hello"),
        ("length-prefixed", b"hello"),
        ("varint", b"x" * 300),
        ("length-prefixed:size=2,offset=3,header=split", (b"abc", b"hello")),
        ("length-prefixed:size=2,byteorder=little,header=split,adjustment=-2", (b"", b"hello")),
        ("varint:offset=1,header=split", (b"T", b"x" * 300)),
        ("netstring", b"x" * 1234),
        ("lines/netstring", b"hello"),
        ("struct:format=>Hd", (1, 0.5)),
        ("json-lines", {"a": [1, None, 1.5, "null", True]}),
        ("msgpack", {"a": [1, None, 1.5, b"x", {"b": [[]] * 200}]}),
        ("resp", SimpleString(b"OK")),
        ("resp", ErrorReply(b"ERR no")),
        ("resp", b"hello"),
        ("resp", b""),
        ("resp", None),
        ("resp", -(2**63)),
        ("resp", 2**63 - 1),
        ("resp", [b"GET", b"key", [1, None, SimpleString(b"x")], []]),
        ("resp:protocol=3", None),
        ("resp:protocol=3", {b"a": True, b"b": [False]}),
    ],
)
def test_what_replies_are_made_of_needs_no_codec(spec, message):
    """It is written where it is sent from."""
    codec = parse_codec(spec)

    assert codec.encode(message) == put(codec, message)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lines:max=3", b"long"),
        ("text:max=3", "éé"),
        ("text", "\ud800"),
        ("netstring:max=3", b"long"),
        ("varint:max=3", b"long"),
        ("varint:offset=1", b"x"),
        ("lines/varint:max=3", b"long"),
        ("varint:offset=1,header=split", (b"TT", b"x")),
        ("varint:offset=1,header=split,max=3", (b"T", b"abc")),
        ("length-prefixed:size=1,offset=1,header=split", (b"T", b"x" * 256)),
        ("length-prefixed:size=1,offset=1,header=split", (b"", b"x")),
        ("json-lines:max=3", "long"),
        ("json-lines", [None, math.nan]),
        ("json-lines:max-depth=1", [[[]]]),
        ("msgpack:max-depth=1", [[[]]]),
        ("resp:max=7", b"hello"),
        ("resp:max-depth=1", [[]]),
        ("resp", SimpleString(b"a\rb")),
        ("resp", True),
        ("resp", 2**63),
    ],
)
def test_what_the_codec_refuses_is_left_to_it(spec, message):
    """It has the words for it."""
    codec = parse_codec(spec)
    with pytest.raises(LocalProtocolError):
        codec.encode(message)

    assert put(codec, message) is None


def test_a_list_that_holds_itself_is_left_to_the_codec():
    """Its depth has no end."""
    ring = []
    ring += [ring, ring]

    assert put(parse_codec("resp"), ring) is None


@pytest.mark.parametrize("kind", [JsonLines, Msgpack])
def test_a_type_of_ones_own_is_checked(kind):
    """What is not of it is refused in the codec's words; what it does not ask for has to be UTF-8 all the same."""
    codec = kind(type=Point)
    for message in (Point(1, 2.5), {"x": "1"}, {"x": 1, "z": "é"}, {"x": 1, "z": [[]]}):
        frame = kind().encode(message)
        for wire in (frame, frame.replace("é".encode(), b"\xff\xff")):
            assert seen(by_codec(codec, [wire])) == seen(cut_all(codec, [wire]))


def test_a_limit_that_no_counter_holds_is_the_codecs_to_count():
    """It is called itself then, as a user's own codec is."""
    with pytest.raises(LookupError, match="lines"):
        Cutter(Lines(max_frame_bytes=10**20))
    with pytest.raises(LookupError, match="length-prefixed"):
        Cutter(LengthPrefixed(adjustment=-(10**20)))


def test_a_subclass_of_a_codec_is_called_itself():
    """What it overrides is not known."""
    own = type("Own", (Raw,), {})
    with pytest.raises(LookupError, match="raw"):
        Cutter(own())
