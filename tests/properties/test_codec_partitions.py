"""T-01: any split gives the same messages, exhaustively.

Vectors of up to 16 bytes are cut in all 2**(n-1) ways; longer ones in one and two places everywhere, octet by octet,
into pieces of 997 bytes and in 200 random ways.
"""

import itertools
import random

import pytest

from penstock.testing import chop, decode_chunks

# A spec, and vectors of at most 16 bytes for it: right, wrong, cut off.
SHORT = {
    ("Raw", ()): [b"hello\r\nwor"],
    ("Lines", ()): [b"ab\ncd\r\n\n\r\r\n", b"a\rb\n\xc3\xa9\r\nx", b"\r\r\n\r\n\r\r\r\n"],
    ("Lines", (("max_frame_bytes", 3),)): [
        b"abc\nabc\r\nx\n",
        b"abc\r\r\n\n",
        b"a\nbcde\nf\n",
        b"abcd\r\n",
        b"ab\nabc\rd",
    ],
    ("Lines", (("strict", True), ("newline", "crlf"), ("max_frame_bytes", 3))): [
        b"ab\r\nabc\r\nx\n",
        b"a\rb\r\nx",
        b"abc\r\n\r\r\n",
        b"abcd\n",
        b"abc\n",
        b"abcd\rx",
        b"abc\rx",
    ],
    ("Lines", (("strict", True), ("max_frame_bytes", 3))): [b"ab\nabc\nx\r\n", b"abc\r", b"abcd\r", b"a\r\n"],
    ("Lines", (("keep_cr", True), ("max_frame_bytes", 3))): [b"ab\r\nabc\r\nx\n", b"\r\n\r\r\n\n"],
    ("Lines", (("unterminated", "deliver"), ("max_frame_bytes", 3))): [b"ab\nabc\r", b"abc\nabcd"],
    ("Delimited", (("delimiter", b"\r\n\r\n"),)): [b"a\r\n\r\n\r\n\r\nb\r\n", b"\r\r\n\r\n\r\n\r\r"],
    ("Delimited", (("delimiter", b"aab"), ("max_frame_bytes", 3))): [b"xaaabaabxxaab", b"aaaaab", b"aaaaaab"],
    ("Delimited", (("delimiter", b"aba"), ("max_frame_bytes", 3))): [b"xababaabaaba", b"abababab", b"xxxabaxxxxaba"],
    ("LengthPrefixed", ()): [b"\0\0\0\2hi\0\0\0\0\0\0\0", b"\0\0\0\1a\xff\xff\xff\xff"],
    ("LengthPrefixed", (("size", 2), ("max_frame_bytes", 3))): [b"\0\3abc\0\0\0\1x", b"\0\1a\0\4abcd"],
    ("LengthPrefixed", (("size", 3), ("byteorder", "little"))): [b"\2\0\0hi\0\0\0\1\0\0"],
    ("LengthPrefixed", (("size", 1), ("offset", 1), ("adjustment", -2), ("header", "keep"))): [
        b"T\4hiT\2T\3x",
        b"T\2T\1",
    ],
    ("Varint", ()): [b"\2hi\0\1a\x80\x01abc", b"\1a\x80\x00", b"\1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"],
    ("Varint", (("max_frame_bytes", 3),)): [b"\3abc\0\1a\4abcd"],
    ("LengthPrefixed", (("size", 1), ("offset", 2), ("header", "split"), ("max_frame_bytes", 4))): [
        b"TU\2hiVW\0X",
        b"TU\1aVW\3x",
    ],
    ("Varint", (("offset", 1), ("header", "split"), ("max_frame_bytes", 4))): [
        b"T\2hiU\0V\3ab",
        b"T\0U\4",
        b"T\x80\0",
    ],
    ("Varint", (("offset", 2), ("header", "keep"), ("max_frame_bytes", 5))): [b"TU\2hiUV\0V", b"TU\3"],
    ("Netstring", ()): [b"2:hi,0:,3:abc,", b"1:a,01:a,", b"1:a,2:hi;", b"1:a,:,", b"0:,12:hello wo"],
    ("Netstring", (("max_frame_bytes", 3),)): [b"3:abc,4:abcd,", b"1:a,10"],
    ("Fixed", (("size", 3),)): [b"abcdefghijk"],
    ("Struct", (("format", ">Hb"),)): [b"\0\1\xff\xff\xff\1\0\0"],
    ("JsonLines", ()): [b'{"a":[1]}\n2\r\n', b'"\xc3\xa9"\nnull\n\n', b'1\n"\xff"\n2\n', b"[1\n]\n"],
    ("JsonLines", (("max_depth", 2), ("max_frame_bytes", 8))): [b"[[1]]\n[[[1]]]\n", b'"[[["\n[1,2,3,4]\n'],
    ("Msgpack", ()): [b"\x82\xa1a\x01\xa1b\x92\xc0\xc3", b"\x01\xc4\x02ab\xca\0\0\0\0\xc1", b"\xdc\0\2\1\xa1\xff\2"],
    ("Msgpack", (("max_depth", 2), ("max_frame_bytes", 6))): [b"\x91\x91\1\x91\x91\x91\1", b"\xa5abcde\xa6abcdef"],
    ("Resp", ()): [
        b"*1\r\n$2\r\nhi\r\n:1\r\n",
        b"+OK\r\n-E x\r\n$-1\r",
        b"*2\r\n_\r\n:x\r\n:1",
        b"$1\r\na\r\r$1",
        b"*01\r\n",
    ],
    ("Resp", (("inline", True), ("max_frame_bytes", 9))): [
        b'GET "a b\r\n',
        b"PING\r\n\r\n:1\r\n",
        b"+abcdef\r\n+abcdefg\r\n"[:16],
    ],
    ("Resp", (("protocol", 3), ("max_depth", 2))): [
        b"|0\r\n%1\r\n#t\r\n,1\r",
        b">1\r\n(12\r\n>0\r\n",
        b"*1\r\n*1\r\n*1\r\n",
    ],
}

HELLO = [b"hello", b"", b"\xc3\xa9", b"world " * 3]
VALUES = [None, 1, -2.5, "é", [1, [2, {"a": None}]], {"key": "value" * 4}]
LONG = {
    ("Raw", ()): HELLO,
    ("Lines", ()): HELLO,
    ("Lines", (("newline", "crlf"),)): HELLO,
    ("Text", ()): ["hello", "", "é😀", "world " * 3],
    ("Delimited", (("delimiter", b"\r\n\r\n"),)): HELLO,
    ("LengthPrefixed", ()): HELLO,
    ("LengthPrefixed", (("size", 8), ("byteorder", "little"))): HELLO,
    ("Varint", ()): [*HELLO, bytes(130)],
    ("Netstring", ()): HELLO,
    ("Fixed", (("size", 7),)): [b"1234567"] * 9,
    ("Struct", (("format", "<Hq"),)): [(n, -n) for n in range(7)],
    ("JsonLines", ()): VALUES,
    ("Msgpack", ()): [*VALUES, b"\xc1" * 20, list(range(20))],
    ("Resp", ()): [[b"SET", b"key", b"v" * 12], [b"GET", b"key"], None, 5, b"", [[b"x"], None]],
    ("Resp", (("protocol", 3),)): [{b"a": 1.5}, True, 2**70, frozenset([b"x"]), [[b"x"], None]],
}


def outcome(codec, pieces):
    """What is given, what is refused, what is left: all of it, types included."""
    decoded = decode_chunks(codec, pieces, eof=False)
    messages = b"".join(decoded.messages) if codec.name == "raw" else repr(decoded.messages)
    # How many bytes had arrived when a bad one was seen depends on the cutting, and is of no use to anybody.
    return messages, decoded.reason, decoded.pending if decoded.error is None else b""


def partitions(wire):
    """All ways to cut ``wire``, each as the list of its pieces."""
    places = range(1, len(wire))
    for chosen in itertools.product((False, True), repeat=len(wire) - 1):
        ends = [place for place, cut in zip(places, chosen, strict=True) if cut]
        yield [wire[start:end] for start, end in itertools.pairwise([0, *ends, len(wire)])]


@pytest.mark.slow
def test_every_partition_of_short_vectors_gives_the_same(codecs, figure):
    """All 2**(n-1) partitions of each."""
    vectors = [
        (getattr(codecs, name)(**dict(options)), wire) for (name, options), wires in SHORT.items() for wire in wires
    ]
    count = 0
    differences = []
    for codec, wire in vectors:
        assert len(wire) <= 16
        whole = outcome(codec, [wire])
        for pieces in partitions(wire):
            count += 1
            if outcome(codec, pieces) != whole:
                differences.append((codec.name, pieces))
    figure(f"T-01 all partitions: {len(vectors)} vectors, {count} partitions, {len(differences)} differences")

    assert [] == differences
    assert len(vectors) >= 40


@pytest.mark.combination
def test_every_cut_and_pair_of_cuts_of_long_vectors_gives_the_same(codecs, figure):
    """And octet by octet, in pieces of 997 bytes, and in 200 random ways."""
    chance = random.Random(20_261_121)
    count = 0
    differences = []
    for (name, options), messages in LONG.items():
        codec = getattr(codecs, name)(**dict(options))
        wire = codec.encode_many(messages)
        cuttings = [[wire[:at], wire[at:]] for at in range(1, len(wire))]
        for one, two in itertools.combinations(range(1, min(len(wire), 64)), 2):
            cuttings.append([wire[:one], wire[one:two], wire[two:]])
        stream = wire * 40
        cuttings.append([stream[at : at + 1] for at in range(len(stream))])
        cuttings.append(list(chop(stream, itertools.repeat(997))))
        sizes = [[chance.randint(1, 2 ** chance.randint(1, 10)) for _ in range(400)] for _ in range(200)]
        cuttings += [list(chop(stream, some)) for some in sizes]
        for pieces in cuttings:
            count += 1
            times = 40 if sum(map(len, pieces)) == len(stream) else 1
            if outcome(codec, pieces) != outcome(codec, [wire * times]):
                differences.append((name, pieces))
        given = decode_chunks(codec, [wire]).messages
        assert given == messages or name == "Raw"
    figure(f"T-01 long vectors: {len(LONG)} vectors, {count} cuttings, {len(differences)} differences")

    assert [] == differences
