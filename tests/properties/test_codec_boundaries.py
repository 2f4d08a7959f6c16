"""T-02: frames of every size at which something changes, at the limit and on both sides of it, for every codec."""

from penstock.codecs.resp import SimpleString
from penstock.errors import FrameTooLongError, LocalProtocolError
from penstock.testing import decode_chunks

SIZES = [0, 1, 125, 126, 127, 128, 255, 256, 65_535, 65_536]
LIMITS = [1, 126, 128, 256, 1000, 65_536]


def _bytes(size):
    return b"x" * size


def _json(size):
    return 5 if size == 1 else "x" * (size - 2)


def _msgpack(size):
    header = 2 if size <= 257 else 3 if size <= 65_538 else 5
    return 5 if size == 1 else b"x" * (size - header)


def _resp(size):
    return SimpleString(b"x" * (size - 3))


def _text(size):
    return "é" * (size // 2) + "x" * (size % 2)


def _split(size):
    return b"T", b"x" * (size - 1)


# Name, options, a message of a given size as the limit counts it, and the smallest size there is.
CODECS = [
    ("Lines", {}, _bytes, 0),
    ("Lines", {"newline": "crlf"}, _bytes, 0),
    ("Lines", {"keep_cr": True}, _bytes, 0),
    ("Lines", {"strict": True, "newline": "crlf"}, _bytes, 0),
    ("Text", {}, _text, 0),
    ("Delimited", {"delimiter": b"--"}, _bytes, 0),
    ("LengthPrefixed", {}, _bytes, 0),
    ("LengthPrefixed", {"size": 3}, _bytes, 0),
    ("LengthPrefixed", {"size": 8, "byteorder": "little", "adjustment": -8}, _bytes, 0),
    ("Varint", {}, _bytes, 0),
    ("LengthPrefixed", {"size": 3, "offset": 1, "header": "split"}, _split, 1),
    ("Varint", {"offset": 1, "header": "split"}, _split, 1),
    ("Netstring", {}, _bytes, 0),
    ("JsonLines", {}, _json, 1),
    ("Msgpack", {}, _msgpack, 1),
    ("Resp", {}, _resp, 3),
]


def cuttings(wire):
    """In one piece, and with the first or the last byte alone."""
    return [wire], [wire[:1], wire[1:]], [wire[:-1], wire[-1:]]


def passes(codec, message):
    """Whether the message is sent and comes back."""
    wire = codec.encode(message)
    given = [decode_chunks(codec, pieces) for pieces in cuttings(wire)]
    return all([message] == each.messages and each.error is None for each in given) and (
        ([message], len(wire)) == codec.decode_many(wire, 9)
    )


def is_refused(codec, roomy, message):
    """Whether the message is neither sent nor, from one who would send it, taken."""
    try:
        codec.encode(message)
    except LocalProtocolError:
        given = [decode_chunks(codec, pieces, eof=False) for pieces in cuttings(roomy.encode(message))]
        return all([] == each.messages and isinstance(each.error, FrameTooLongError) for each in given)
    return False


def test_frames_of_every_boundary_size_pass(codecs, figure):
    """T-02: up to 65,536 bytes, where a limit of as much is in force."""
    cells = [
        (name, options, size, passes(getattr(codecs, name)(**options, max_frame_bytes=65_536), message_of(size)))
        for name, options, message_of, smallest in CODECS
        for size in SIZES
        if size >= smallest
    ]
    figure(f"T-02 boundary sizes: {sum(cell[-1] for cell in cells)} of {len(cells)} green")

    assert [] == [cell for cell in cells if not cell[-1]]


def test_the_limit_itself_passes_and_one_byte_more_does_not(codecs, figure):
    """T-02: cap-1, cap and cap+1, both ways."""
    cells = []
    for name, options, message_of, smallest in CODECS:
        roomy = getattr(codecs, name)(**options, max_frame_bytes=2**20)
        for limit in LIMITS:
            codec = getattr(codecs, name)(**options, max_frame_bytes=limit)
            for size in [size for size in (limit - 1, limit, limit + 1) if size >= smallest]:
                message = message_of(size)
                green = passes(codec, message) if size <= limit else is_refused(codec, roomy, message)
                cells.append((name, options, limit, size, green))
    figure(f"T-02 limits: {sum(cell[-1] for cell in cells)} of {len(cells)} green")

    assert [] == [cell for cell in cells if not cell[-1]]


def test_every_codec_has_a_limit_by_default(codecs):
    """A line of 64 KiB or a frame of 1 MiB passes, one byte more does not."""
    lines = ("Lines", "Text", "Delimited", "JsonLines")
    for name, options, message_of, _ in CODECS:
        codec = getattr(codecs, name)(**options)
        limit = 2**16 if name in lines else 2**20
        roomy = getattr(codecs, name)(**options, max_frame_bytes=2**22)

        assert limit == codec.max_frame_bytes
        assert passes(codec, message_of(limit)), name
        assert is_refused(codec, roomy, message_of(limit + 1)), name
