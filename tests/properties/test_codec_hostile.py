"""T-04: lengths that lie. Each is refused for its named reason or waited for, without memory for what was announced."""

import tracemalloc

import pytest

from penstock.testing import decode_chunks

LIMIT = 1000
LENGTHS = {
    "0": 0,
    "1": 1,
    "cap-1": LIMIT - 1,
    "cap": LIMIT,
    "cap+1": LIMIT + 1,
    "2^31-1": 2**31 - 1,
    "2^31": 2**31,
    "2^32-1": 2**32 - 1,
    "2^63-1": 2**63 - 1,
    "2^63": 2**63,
    "2^64-1": 2**64 - 1,
}
NOT_LENGTHS = ["-1", "-0", "+5", " 5", "5 ", "05", "00", "0x5", "1_0", "1e3", "5.0", "", "\xb2", "\u0665", "--1", "NaN"]


def varint(value):
    """Unsigned LEB128, without looking at the implementation."""
    groups = []
    while True:
        groups.append(value % 128 + (128 if value > 127 else 0))
        value //= 128
        if not value:
            return bytes(groups)


def announced():
    """Every length in every format that can say it: what was announced, and whether it is over the limit."""
    for label, length in LENGTHS.items():
        over = length > LIMIT
        for size in (1, 2, 3, 4, 8):
            if length < 256**size:
                for order in ("big", "little"):
                    options = {"size": size, "byteorder": order}
                    yield f"{size}-byte {order} {label}", "LengthPrefixed", options, length.to_bytes(size, order), over
        yield f"varint {label}", "Varint", {}, varint(length), over
        yield f"netstring {label}", "Netstring", {}, b"%d:" % length, over
        yield f"resp string {label}", "Resp", {}, b"$%d\r\n" % length, length + 6 + len(str(length)) > LIMIT
        yield f"resp array {label}", "Resp", {}, b"*%d\r\n" % length, 3 * length + 3 + len(str(length)) > LIMIT
        yield f"resp map {label}", "Resp", {}, b"%%%d\r\n" % length, 6 * length + 3 + len(str(length)) > LIMIT
        for first, size, each in [(0xC4, 1, 1), (0xC5, 2, 1), (0xC6, 4, 1), (0xDB, 4, 1), (0xDD, 4, 1), (0xDF, 4, 2)]:
            if length < 256**size:
                wire = bytes((first,)) + length.to_bytes(size, "big")
                yield f"msgpack {first:02X} {label}", "Msgpack", {}, wire, each * length + 1 + size > LIMIT


CASES = [
    *(
        (label, name, options, wire, "frame_too_large" if over else None)
        for label, name, options, wire, over in announced()
    ),
    *((f"netstring {text!r}", "Netstring", {}, text.encode() + b":", "bad_length") for text in NOT_LENGTHS),
    *(
        (f"resp string {text!r}", "Resp", {}, f"${text}\r\n".encode(), "bad_length")
        for text in NOT_LENGTHS
        if text != "-1"
    ),
    *(
        (f"resp array {text!r}", "Resp", {}, f"*{text}\r\n".encode(), "bad_length")
        for text in NOT_LENGTHS
        if text != "-1"
    ),
    ("varint of 11 bytes", "Varint", {}, b"\xff" * 10 + b"\x01", "bad_length"),
    ("varint of 11 bytes, small", "Varint", {}, b"\x80" * 10 + b"\x01", "bad_length"),
    ("varint of 65 bits", "Varint", {}, b"\xff" * 9 + b"\x02", "bad_length"),
    ("varint not minimal", "Varint", {}, b"\x81\x00", "bad_length"),
    ("varint zero not minimal", "Varint", {}, b"\x80\x00", "bad_length"),
    ("netstring of 5000 digits", "Netstring", {}, b"9" * 5000, "frame_too_large"),
    ("resp length of 5000 digits", "Resp", {}, b"$" + b"9" * 5000, "bad_length"),
    ("resp number of 5000 digits", "Resp", {}, b":" + b"9" * 5000, "bad_frame"),
    ("resp big number of 5000 digits", "Resp", {}, b"(" + b"9" * 5000, "bad_frame"),
    ("length below its adjustment", "LengthPrefixed", {"adjustment": -4}, b"\0\0\0\3", "bad_length"),
    ("length just over its adjustment", "LengthPrefixed", {"adjustment": -4}, b"\0\0\0\5", None),
    ("length that overflows with its adjustment", "LengthPrefixed", {"adjustment": 4}, b"\xff" * 4, "frame_too_large"),
    ("line without end", "Lines", {}, b"x" * 5000, "frame_too_large"),
    ("delimiter without end", "Delimited", {"delimiter": b"\r\n"}, b"\r" * 5000, "frame_too_large"),
    ("json without end", "JsonLines", {}, b"[" * 5000, "frame_too_large"),
    ("simple string without end", "Resp", {}, b"+" + b"x" * 5000, "frame_too_large"),
    ("msgpack that nests", "Msgpack", {}, b"\x91" * 500, "bad_payload"),
    ("msgpack of arrays of arrays", "Msgpack", {}, b"\xdc\x01\x00" * 500, "frame_too_large"),
    ("resp that nests", "Resp", {}, b"*1\r\n" * 500, "bad_payload"),
    ("resp attributes without a value", "Resp", {}, b"|0\r\n" * 500, "bad_payload"),
]


@pytest.fixture(scope="module")
def hostile(figure):
    """The most memory that any of them took, and how many there were."""
    peaks = []
    yield peaks
    figure(f"T-04 hostile lengths: {len(peaks)} cases, at most {max(peaks)} bytes allocated")


@pytest.mark.parametrize(("label", "name", "options", "wire", "reason"), CASES, ids=[case[0] for case in CASES])
def test_a_length_that_lies_is_refused_without_memory_for_it(codecs, hostile, label, name, options, wire, reason):
    """Whole, octet by octet and in a batch; at most 64 KiB are allocated on the way."""
    codec = getattr(codecs, name)(**options, max_frame_bytes=LIMIT)
    octets = [wire[at : at + 1] for at in range(len(wire))]

    def drive():
        return [
            decode_chunks(codec, pieces, eof=False, batch=batch) for pieces in ([wire], octets) for batch in (None, 9)
        ]

    drive()  # what is imported or cached on first use is no part of it
    tracemalloc.start()
    try:
        decoded = drive()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    hostile.append(peak)

    assert [reason] * 4 == [each.reason for each in decoded], label
    assert peak < 65_536
