"""The laws of every codec, over all messages and all bytes: one table of codecs, one test for each law."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import penstock.codecs
from penstock.codecs.resp import Attributed, ErrorReply, ListedMap, ListedSet, Push, SimpleString, VerbatimString
from penstock.errors import LocalProtocolError
from penstock.testing import (
    check_batches,
    check_cutting,
    check_refusals,
    check_round_trip,
    check_silence,
    decode_chunks,
)

# How many examples of each codec each law is tried on; identity on three times as many.
EXAMPLES = int(os.environ.get("CODEC_EXAMPLES", "8"))  # make attacks: 300

Options = dict[str, Any]


def exact(value):
    """A value with its types, all the way down: True is not 1 here, and a simple string is not a bulk string."""
    match value:
        case list() | tuple():
            inside: object = [exact(item) for item in value]
        case dict():
            inside = [(exact(key), exact(item)) for key, item in value.items()]
        case frozenset() | set():
            inside = sorted(repr(exact(item)) for item in value)
        case msgspec.msgpack.Ext():
            inside = (value.code, bytes(value.data))
        case Attributed():
            inside = (exact(value.value), exact(value.attributes))
        case _:
            inside = repr(value)
    return (type(value).__name__, inside)


@dataclass(frozen=True)
class Case:
    """A codec: all ways to make it, what may be sent with it, what its bytes look like, what of messages counts."""

    name: str
    options: st.SearchStrategy[Options]
    messages: Callable[[Options], st.SearchStrategy[Any]]
    tokens: list[bytes]
    view: Callable[[list[Any]], object] = exact


def texts(alphabet):
    return st.lists(st.sampled_from(alphabet), max_size=12).map(bytes)


MAX = st.integers(1, 40)
UNTERMINATED = st.sampled_from(["refuse", "deliver"])
SKIP = {"on_oversize": st.just("skip"), "max_skip_bytes": st.integers(1, 60)}
NUMBERS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, st.integers(), st.text(max_size=6)),
    lambda inside: st.one_of(st.lists(inside, max_size=3), st.dictionaries(st.text(max_size=3), inside, max_size=3)),
    max_leaves=6,
)
KEYS = st.one_of(st.none(), NUMBERS, st.text(max_size=3), st.binary(max_size=3))
MSGPACK = st.recursive(
    st.one_of(st.none(), NUMBERS, st.integers(2**63, 2**64 - 1), st.text(max_size=40), st.binary(max_size=40)),
    lambda inside: st.one_of(st.lists(inside, max_size=20), st.dictionaries(KEYS, inside, max_size=3)),
    max_leaves=8,
)
RESP2 = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.binary(max_size=12),
        texts(b"OK \xff").map(SimpleString),
        texts(b"ERR \xff").map(ErrorReply),
    ),
    lambda inside: st.lists(inside, max_size=3),
    max_leaves=6,
)
RESP3_KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=12),
    texts(b"OK \xff").map(SimpleString),
    st.binary(max_size=6).map(ErrorReply),
    st.builds(VerbatimString, st.binary(max_size=6), st.sampled_from(["txt", "mkd"])),
)
RESP3_NESTED = st.recursive(
    RESP3_KEYS | st.integers(-(10**640) + 1, 10**640 - 1),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3),
        st.dictionaries(RESP3_KEYS, inside, max_size=2),
        st.frozensets(RESP3_KEYS, max_size=3),
        st.lists(st.lists(inside, max_size=2), min_size=1, max_size=2).map(ListedSet),
        st.builds(lambda one, two: ListedMap([(1, one), (True, two)]), inside, inside),
        st.builds(Attributed, inside, st.dictionaries(RESP3_KEYS, inside, max_size=2)),
    ),
    max_leaves=6,
)
RESP3 = st.one_of(RESP3_NESTED, st.lists(RESP3_NESTED, max_size=3).map(Push))


def _answered(options, values):
    """What is sent and comes back: where commands are read, one that holds no word is passed over."""
    return values.filter(lambda value: type(value) is not list or value) if options["inline"] else values


def _split(options):
    """A header and a body."""
    header = st.binary(min_size=options["offset"], max_size=options["offset"])
    return st.tuples(header, st.binary(max_size=12))


STRUCTS = {
    ">Hb": st.tuples(st.integers(0, 65535), st.integers(-128, 127)),
    "<q?d": st.tuples(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False)),
    "!3s2xf": st.tuples(st.binary(min_size=3, max_size=3), st.floats(width=32, allow_nan=False)),
    ">5pc": st.tuples(st.binary(max_size=4), st.binary(min_size=1, max_size=1)),
}

CASES = [
    Case(
        "Raw",
        st.fixed_dictionaries({"max_frame_bytes": st.integers(12, 40)}),
        lambda _: texts(b"\r\nab\0\xff"),
        [b"a", b"\n"],
        b"".join,
    ),
    Case(
        "Lines",
        st.one_of(
            st.fixed_dictionaries(
                {"newline": st.sampled_from(["lf", "crlf"]), "unterminated": UNTERMINATED, "max_frame_bytes": MAX}
            ),
            st.fixed_dictionaries({"keep_cr": st.booleans(), "unterminated": UNTERMINATED, "max_frame_bytes": MAX}),
        ),
        lambda _: texts(b"\rabc\0\xff"),
        [b"\n", b"\r\n", b"\r", b"a", b"hello", b"hello\n"],
    ),
    Case(
        "Lines",
        st.fixed_dictionaries(
            {"strict": st.just(True), "newline": st.sampled_from(["lf", "crlf"]), "max_frame_bytes": MAX}
        ),
        lambda _: texts(b"abc\0\xff"),
        [b"\n", b"\r\n", b"\r", b"a", b"hello", b"hello\n"],
    ),
    Case(
        "Text",
        st.fixed_dictionaries(
            {
                "errors": st.sampled_from(["strict", "replace"]),
                "newline": st.sampled_from(["lf", "crlf"]),
                "unterminated": UNTERMINATED,
                "max_frame_bytes": MAX,
            }
        ),
        lambda _: st.text("\raé\u2028\ufffd😀\0", max_size=12),
        [b"\n", b"\r\n", b"\r", b"a", b"\xc3\xa9", b"\xc3", b"\xf0\x9f\x98\x80", b"\x98\n", b"\xff"],
    ),
    Case(
        "Delimited",
        st.fixed_dictionaries(
            {
                "delimiter": st.one_of(
                    st.binary(min_size=1, max_size=3), st.sampled_from([b"\r\n", b"aa", b"aab", b"aba"])
                ),
                "unterminated": UNTERMINATED,
                "max_frame_bytes": MAX,
            }
        ),
        lambda _: texts(b"abc\r\n"),
        [b"\n", b"\r\n", b"\r", b"a", b"b", b"aa", b"ab", b"c"],
    ),
    Case(
        "LengthPrefixed",
        st.fixed_dictionaries(
            {
                "size": st.integers(1, 8),
                "byteorder": st.sampled_from(["big", "little"]),
                "adjustment": st.integers(-9, 3),
                "max_frame_bytes": st.integers(12, 40),
            }
        ),
        lambda _: st.binary(max_size=44),
        [b"\0", b"\0\0\0", b"\1", b"\2", b"\x0c", b"\x28", b"\xff", b"a"],
    ),
    Case(
        "LengthPrefixed",
        st.fixed_dictionaries(
            {
                "size": st.sampled_from([1, 2]),
                "offset": st.integers(0, 3),
                "header": st.just("keep"),
                "adjustment": st.just(0),
            }
        ),
        lambda o: st.binary(max_size=12).flatmap(
            lambda body: st.binary(min_size=o["offset"], max_size=o["offset"]).map(
                lambda header: header + len(body).to_bytes(o["size"], "big") + body
            )
        ),
        [b"\0", b"\1", b"\2", b"\x0c", b"\xff", b"a"],
    ),
    Case(
        "LengthPrefixed",
        st.one_of(
            st.fixed_dictionaries(
                {
                    "header": st.just("split"),
                    "size": st.integers(1, 3),
                    "offset": st.integers(0, 3),
                    "byteorder": st.sampled_from(["big", "little"]),
                    "adjustment": st.integers(-3, 2),
                    "max_frame_bytes": st.integers(8, 20),
                }
            ),
            st.fixed_dictionaries(
                {"header": st.just("split"), "offset": st.integers(0, 3), "size": st.just(1), **SKIP}
            ),
        ),
        _split,
        [b"\0", b"\1", b"\2", b"\x0c", b"\xff", b"a"],
    ),
    Case(
        "Varint",
        st.one_of(
            st.fixed_dictionaries(
                {"header": st.just("split"), "offset": st.integers(0, 3), "max_frame_bytes": st.integers(4, 20)}
            ),
            st.fixed_dictionaries({"header": st.just("split"), "offset": st.integers(0, 3), **SKIP}),
        ),
        _split,
        [b"\0", b"\1a", b"\x80", b"\x80\x01", b"\xff", b"\x20", b"abcabcabc"],
    ),
    Case(
        "Varint",
        st.fixed_dictionaries({"header": st.just("keep"), "offset": st.integers(0, 3)}),
        lambda o: st.tuples(st.binary(min_size=o["offset"], max_size=o["offset"]), st.binary(max_size=12)).map(
            lambda parts: parts[0] + bytes((len(parts[1]),)) + parts[1]
        ),
        [b"\0", b"\1a", b"\x80", b"\x80\x01", b"\xff", b"\x20", b"abcabcabc"],
    ),
    Case(
        "LengthPrefixed",
        st.one_of(
            st.fixed_dictionaries(
                {"encoding": st.just("ascii"), "size": st.integers(1, 4), "adjustment": st.integers(-9, 0)}
            ),
            st.fixed_dictionaries({"encoding": st.just("bcd"), "size": st.integers(1, 3)}),
            st.fixed_dictionaries({"size": st.integers(5, 7), "byteorder": st.sampled_from(["big", "little"])}),
            st.fixed_dictionaries({"size": st.just(1), "max_frame_bytes": st.integers(1, 9), **SKIP}),
        ),
        lambda _: st.binary(max_size=12),
        [b"0", b"1", b"9", b"a", b"\0", b"\x12", b"\x0a", b"\xff", b"\1\2"],
    ),
    Case(
        "Delimited",
        st.fixed_dictionaries(
            {
                "delimiter": st.sampled_from([(b"> ", b"# "), (b"\n", b"\r\n"), (b"aab", b"b"), (b"ab", b"ca", b"\n")]),
                "keep_delimiter": st.booleans(),
                "unterminated": UNTERMINATED,
                "max_frame_bytes": MAX,
            }
        ),
        lambda o: texts(b"abc\r\n> #").map(lambda text: text + (o["delimiter"][-1] if o["keep_delimiter"] else b"")),
        [b"\n", b"\r\n", b"\r", b"a", b"b", b"aa", b"ab", b"> ", b"# ", b">", b"ca"],
    ),
    Case(
        "Delimited",
        st.fixed_dictionaries(
            {
                "delimiter": st.sampled_from([b"\n", b"\r\n", b"aba", (b"> ", b"#")]),
                "unterminated": UNTERMINATED,
                "max_frame_bytes": st.integers(1, 9),
                **SKIP,
            }
        ),
        lambda _: texts(b"abc\r\n> #"),
        [b"\n", b"\r\n", b"\r", b"a", b"abcabcabc", b"ab", b"> ", b"#", b">"],
    ),
    Case(
        "Lines",
        st.fixed_dictionaries({"unterminated": UNTERMINATED, "max_frame_bytes": st.integers(1, 9), **SKIP}),
        lambda _: texts(b"\rabc\0\xff"),
        [b"\n", b"\r\n", b"\r", b"a", b"hellohello", b"hello\n"],
    ),
    Case(
        "Netstring",
        st.fixed_dictionaries({"max_frame_bytes": st.integers(1, 9), **SKIP}),
        lambda _: st.binary(max_size=12),
        [b"0:,", b"1:a,", b"2:ab", b"11:", b"abcabcabcab", b"0", b"10", b"9", b":", b",", b"-"],
    ),
    Case(
        "JsonLines",
        st.fixed_dictionaries({"unterminated": UNTERMINATED, "max_frame_bytes": st.integers(1, 9), **SKIP}),
        lambda _: st.one_of(st.integers(0, 9), JSON),  # of which few are as short as that
        [b'{"a":', b"}", b"[", b"]", b'"', b"1", b"111111", b"null", b"\n", b"1\n", b" ", b"\xff"],
    ),
    Case(
        "Varint",
        st.fixed_dictionaries({"max_frame_bytes": st.integers(1, 20), **SKIP}),
        lambda _: st.binary(max_size=30),
        [b"\0", b"\1a", b"\x80", b"\x80\x01", b"\xff", b"\x20", b"abcabcabc"],
    ),
    Case(
        "Varint",
        st.fixed_dictionaries({"max_frame_bytes": st.integers(1, 200)}),
        lambda _: st.binary(max_size=150),
        [b"\0", b"\1a", b"\x80", b"\x80\x01", b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"],
    ),
    Case(
        "Netstring",
        st.fixed_dictionaries({"max_frame_bytes": st.integers(1, 120)}),
        lambda _: st.binary(max_size=110),
        [b"0:,", b"1:a,", b"2:ab", b"3:", b"0", b"10", b"9", b":", b",", b"-"],
    ),
    Case(
        "Fixed",
        st.fixed_dictionaries({"size": st.integers(1, 9)}),
        lambda o: st.binary(min_size=o["size"], max_size=o["size"]),
        [b"a", b"hello"],
    ),
    Case(
        "Struct",
        st.fixed_dictionaries({"format": st.sampled_from(sorted(STRUCTS))}),
        lambda o: STRUCTS[o["format"]],
        [b"\0", b"\xff", b"\x7f\xf8\0\0", b"a"],
    ),
    Case(
        "JsonLines",
        st.fixed_dictionaries(
            {"max_depth": st.integers(1, 4), "unterminated": UNTERMINATED, "max_frame_bytes": st.integers(1, 200)}
        ),
        lambda _: JSON,
        [
            b'{"a":',
            b"}",
            b"[",
            b"]",
            b"[[",
            b"]]",
            b",",
            b'"',
            b'"x"',
            b"\\",
            b'\\"',
            b"1",
            b"1.5",
            b"null",
            b"\n",
            b"1\n",
            b"\r\n",
            b" ",
            b"\xff",
            b"\xc3\xa9",
        ],
    ),
    Case(
        "Json",
        st.fixed_dictionaries({"max_depth": st.integers(1, 4), "max_frame_bytes": st.integers(1, 60)}),
        lambda _: JSON,
        [
            b'{"a":',
            b"}",
            b"[",
            b"]",
            b"[[",
            b'"',
            b'"x"',
            b"\\",
            b'\\"',
            b"1",
            b"-",
            b"true",
            b"null",
            b"\n",
            b" ",
            b"\xff",
            b"x",
        ],
    ),
    Case(
        "Cbor",
        st.fixed_dictionaries({"max_depth": st.integers(1, 4), "max_frame_bytes": st.integers(1, 200)}),
        lambda _: MSGPACK,
        [
            bytes((first,))
            for first in (0, 0x17, 0x18, 0x41, 0x5F, 0x61, 0x7F, 0x80, 0x81, 0x9F, 0xA1, 0xBF, 0xC1, 0xF6, 0xFF)
        ],
    ),
    Case(
        "Msgpack",
        st.fixed_dictionaries({"max_depth": st.integers(1, 4), "max_frame_bytes": st.integers(1, 200)}),
        lambda _: MSGPACK,
        [bytes((first,)) for first in [0, 0x7F, *range(0x80, 0x84), 0x91, 0x92, 0xA0, 0xA1, *range(0xC0, 0xE0), 0xFF]],
    ),
    Case(
        "Resp",
        st.fixed_dictionaries(
            {"protocol": st.just(2), "inline": st.booleans(), "max_depth": st.integers(1, 4), "max_frame_bytes": MAX}
        ),
        lambda o: _answered(o, RESP2),
        [
            b"*1\r\n",
            b"*2\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"$-1\r\n",
            b"$1\r\na\r\n",
            b"$2\r\n",
            b":1\r\n",
            b"+OK\r\n",
            b"-E\r\n",
            b"PING",
            b" ",
            b"'",
            b'"',
            b"\r\n",
            b"\n",
            b"*",
            b"$",
            b"9",
            b"01",
        ],
    ),
    Case(
        "Resp",
        st.fixed_dictionaries(
            {
                "protocol": st.just(3),
                "inline": st.booleans(),
                "max_depth": st.integers(1, 4),
                "max_frame_bytes": st.just(2000),
            }
        ),
        lambda o: _answered(o, RESP3),
        [
            b"*1\r\n",
            b"~1\r\n",
            b"~2\r\n",
            b"%1\r\n",
            b"|0\r\n",
            b"|1\r\n",
            b">1\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",1.5\r\n",
            b",inf\r\n",
            b"(12\r\n",
            b"=5\r\ntxt:a\r\n",
            b"!1\r\nE\r\n",
            b":1\r\n",
            b"$1\r\na\r\n",
            b"x",
            b"\r\n",
            b"%",
            b"\r",
        ],
    ),
]


def sendable(codec, messages):
    """Those of the messages that the codec does not refuse to send."""
    accepted = []
    for message in messages:
        try:
            codec.encode(message)
        except LocalProtocolError:
            continue
        accepted.append(message)
    return accepted


def codecs_with_messages(case, module):
    """A codec made in some way, and some messages it can send."""

    def messages(options):
        codec = getattr(module, case.name)(**options)
        candidates = st.lists(case.messages(options), max_size=6)
        return st.tuples(st.just(codec), candidates.map(lambda candidates: sendable(codec, candidates)))

    return case.options.flatmap(messages)


def codecs_with_wires(case, module):
    """A codec made in some way, and bytes that are right, nearly right, made of the codec's tokens, or anything."""
    junk = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(case.tokens), max_size=20).map(b"".join))

    def spliced(codec_and_messages, new, at, cut):
        codec, messages = codec_and_messages
        wire = codec.encode_many(messages)
        return codec, wire[:at] + new + wire[at + cut :]

    return st.builds(
        spliced,
        codecs_with_messages(case, module),
        st.one_of(st.just(b""), junk),
        st.integers(0, 80),
        st.integers(0, 6),
    )


QUIET = {"quiet_s": st.just(1.0), "unterminated": UNTERMINATED, "max_frame_bytes": st.integers(12, 40)}
ENDS = [b"\n", b"\r\n", b"\r", b"a", b"hello", b"hello\n"]
# Those that silence may end, beside their other ends or alone.
QUIET_CASES = [
    Case(
        "Gap",
        st.fixed_dictionaries({"max_frame_bytes": st.integers(12, 40)}),
        lambda _: texts(b"\rab\n").filter(bool),
        ENDS,
    ),
    Case(
        "Lines",
        st.fixed_dictionaries({"keep_cr": st.booleans(), **QUIET}),
        lambda _: texts(b"\rabc\0\xff"),
        ENDS,
    ),
    Case(
        "Text",
        st.fixed_dictionaries({"errors": st.sampled_from(["strict", "replace"]), **QUIET}),
        lambda _: st.text("\raé\0", max_size=5),
        [*ENDS, b"\xc3\xa9", b"\xc3"],
    ),
    Case(
        "Delimited",
        st.fixed_dictionaries(
            {"delimiter": st.sampled_from([b"\n", b"\r\n", b"aab", b"aba", (b"> ", b"#")]), **QUIET},
        ),
        lambda _: texts(b"abc\r\n> #"),
        [*ENDS, b"ab", b"aba", b"> ", b"#", b">"],
    ),
]

each_codec = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def identities(figure):
    """How many messages came back for each codec."""
    counts = Counter()
    yield counts
    figure(f"T-03 identity: {len(counts)} codecs, {counts.total()} messages, 0 differences")


@pytest.mark.slow
@each_codec
def test_what_is_encoded_comes_back(codecs, case, identities):
    """T-03: for every message that can be sent, decoding gives an equal one, in streams, batches and datagrams."""

    @settings(max_examples=3 * EXAMPLES)
    @given(codecs_with_messages(case, codecs))
    def law(example):
        codec, messages = example
        identities[case.name] += len(messages)
        check_round_trip(codec, messages, view=case.view)

    law()

    assert identities[case.name] > EXAMPLES


@pytest.mark.slow
@each_codec
def test_where_the_network_cuts_the_bytes_does_not_matter(codecs, case):
    """Every cutting of the same bytes gives the same messages and then the same error, or none."""

    @settings(max_examples=EXAMPLES)
    @given(codecs_with_wires(case, codecs), st.lists(st.integers(1, 9), min_size=1, max_size=4))
    def law(example, sizes):
        check_cutting(*example, sizes, view=case.view)

    law()


@pytest.mark.slow
@each_codec
def test_a_batch_is_what_decoding_one_by_one_gives(codecs, case):
    """For every limit, right bytes or wrong."""

    @settings(max_examples=EXAMPLES)
    @given(codecs_with_wires(case, codecs))
    def law(example):
        check_batches(*example, view=case.view)

    law()


@pytest.mark.slow
@each_codec
def test_no_bytes_raise_anything_but_a_refusal_or_are_hoarded(codecs, case):
    """RemoteProtocolError is all; the buffer is as it was; no more is held than the limit and one read."""

    @settings(max_examples=EXAMPLES)
    @given(codecs_with_wires(case, codecs))
    def law(example):
        check_refusals(*example)

    law()


@pytest.mark.slow
@pytest.mark.parametrize("case", QUIET_CASES, ids=lambda case: case.name)
def test_every_law_holds_for_codecs_that_take_silence_for_an_end(case):
    """And a silence ends a message wherever it falls, however the bytes around it are cut. None of them is compiled."""

    @settings(max_examples=EXAMPLES)
    @given(
        codecs_with_messages(case, penstock.codecs),
        codecs_with_wires(case, penstock.codecs),
        st.lists(st.integers(1, 9), min_size=1, max_size=4),
    )
    def law(with_messages, with_wire, sizes):
        check_round_trip(*with_messages)
        check_cutting(*with_wire, sizes)
        check_batches(*with_wire)
        check_refusals(*with_wire)
        check_silence(*with_wire)

    law()


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name in ("Lines", "Netstring", "Varint", "Fixed", "Struct")]
)
def test_what_was_received_can_be_sent(codecs, case):
    """Whatever a peer sends, an echo of it is never refused, and decodes to the same."""

    @settings(max_examples=EXAMPLES)
    @given(codecs_with_wires(case, codecs))
    def law(example):
        codec, wire = example
        received = decode_chunks(codec, [wire]).messages

        assert case.view(received) == case.view(decode_chunks(codec, map(codec.encode, received)).messages)

    law()
