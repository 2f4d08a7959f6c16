"""A frame that comes byte by byte costs O(n): counted in bytes looked at, not in seconds."""

import pytest

from penstock.codecs import NEED_DATA, Buffer
from penstock.codecs.resp import SimpleString


class CountingBuffer(Buffer):
    """A buffer that counts the bytes searched and copied by whoever reads it."""

    __slots__ = ("looked_at",)

    def __init__(self):
        super().__init__()
        self.looked_at = 0

    def find(self, sub, start=0, end=None):
        stop = len(self) if end is None else min(end, len(self))
        found = super().find(sub, start, stop)
        self.looked_at += (found if found >= 0 else stop) - min(start, stop) + 1
        return found

    def index(self, sub, start=0, end=None):
        found = self.find(sub, start, end)
        if found < 0:
            raise ValueError(sub)
        return found

    def count(self, *args):
        self.looked_at += len(self)
        return super().count(*args)

    def __getitem__(self, key):
        got = super().__getitem__(key)
        self.looked_at += 1 if isinstance(got, int) else len(got)
        return got

    def __contains__(self, item):
        self.looked_at += len(self)
        return super().__contains__(item)

    def __iter__(self):
        self.looked_at += len(self)
        return super().__iter__()

    def __bytes__(self):
        self.looked_at += len(self)
        return bytes(memoryview(self))


def nested(size):
    """An array of arrays of strings, of about ``size`` bytes as RESP or MessagePack."""
    return [[b"x" * 40] * 20 for _ in range(size // 1000)]


CASES = [
    ("Raw", {}, lambda size: b"x"),
    ("Lines", {}, lambda size: b"x" * size),
    ("Text", {}, lambda size: "x" * size),
    ("Delimited", {"delimiter": b"\r\n\r\n"}, lambda size: b"\r\n\rx" * (size // 4)),
    ("LengthPrefixed", {}, lambda size: b"x" * size),
    ("Varint", {}, lambda size: b"x" * size),
    ("Netstring", {}, lambda size: b"x" * size),
    ("JsonLines", {}, lambda size: ["x" * 10] * (size // 13)),
    ("Msgpack", {}, lambda size: b"x" * size),
    ("Msgpack", {}, nested),
    ("Msgpack", {}, lambda size: [0] * size),
    ("Resp", {}, lambda size: b"x" * size),
    ("Resp", {}, nested),
    ("Resp", {}, lambda size: SimpleString(b"x" * size)),
    ("Resp", {}, lambda size: [1] * (size // 4)),
]


def work(codec, message):
    """Bytes looked at while one frame arrives octet by octet, for each byte of it."""
    wire = codec.encode(message)
    buffer = CountingBuffer()
    for octet in wire:
        buffer.append(octet)
        given = codec.decode(buffer)
    assert given is not NEED_DATA
    return buffer.looked_at / len(wire)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options", "message_of"), CASES)
def test_the_work_for_each_byte_does_not_grow_with_the_frame(codecs, name, options, message_of):
    """Each byte of a frame four times as long costs the same, and not more than a few looks."""
    codec = getattr(codecs, name)(**options, max_frame_bytes=2**21)
    small, large = (work(codec, message_of(size)) for size in (20_000, 80_000))

    assert large < 1.1 * small
    assert large < 40


@pytest.mark.slow
def test_a_line_of_1_mib_byte_by_byte_costs_a_few_looks_at_each(codecs, figure):
    """Searched once, copied once."""
    looks = work(codecs.Lines(max_frame_bytes=2**20), b"x" * 2**20)
    figure(f"a 1 MiB line byte by byte: {looks:.2f} bytes looked at for each byte received")

    assert looks < 4
