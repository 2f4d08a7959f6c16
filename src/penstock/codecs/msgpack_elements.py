"""The elements of MessagePack: how long each is, and what is looked for, or changed, in a whole object."""

from __future__ import annotations

import struct
from typing import Final

from ..errors import BadPayloadError


def _sizes() -> bytes:
    """Return for each first byte the size of the whole element in bytes, 0 where the first byte does not tell."""
    sizes = bytearray([1] * 256)
    sizes[0x80:0xA0] = bytes(32)  # fixmap, fixarray
    sizes[0xA0:0xC0] = range(1, 33)  # fixstr
    sizes[0xC1] = 0  # never used
    sizes[0xC4:0xCA] = bytes(6)  # bin, ext
    sizes[0xCA:0xD4] = (5, 9, 2, 3, 5, 9, 2, 3, 5, 9)  # float, uint, int
    sizes[0xD4:0xD9] = (3, 4, 6, 10, 18)  # fixext
    sizes[0xD9:0xE0] = bytes(7)  # str, array, map
    return bytes(sizes)


SIZES: Final = _sizes()
# First byte -> bytes of the length field, and bytes between it and what it measures (the type of an ext).
BLOBS: Final = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
}
# First byte -> bytes of the count, and elements for each of it.
CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
EXT_8: Final = 0xC7
FIXEXT_8: Final = 0xD7
_TIMESTAMP: Final = 0xFF  # the type -1
_STRINGS: Final = frozenset([*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB])
MAPS: Final = bytes([*range(0x80, 0x90), 0xDE, 0xDF])
ARRAYS: Final = bytes([*range(0x90, 0xA0), 0xDC, 0xDD])
NOT_CONTAINERS: Final = bytes(set(range(256)) - set(MAPS) - set(ARRAYS))
_FLOAT_32: Final = 0xCA
_FLOAT_64: Final = 0xCB
_SINGLE: Final = struct.Struct(">Bf")
_DOUBLE: Final = struct.Struct(">Bd")


def whole_microseconds(frame: bytes) -> bytes:
    """Return a whole object with the nanoseconds of its timestamps cut to microseconds, to which msgspec rounds."""
    at = 0
    made: bytearray | None = None
    while at < len(frame):
        start, end = span(frame, at)
        first = frame[at]
        if first == FIXEXT_8 and frame[at + 1] == _TIMESTAMP:
            # 30 bits of nanoseconds, 34 of seconds.
            place, shift = at + 2, 34
        elif first == EXT_8 and end - start == 13 and frame[start] == _TIMESTAMP:
            place, shift = start + 1, 0
        else:
            at = end
            continue
        width = 8 if shift else 4
        value = int.from_bytes(frame[place : place + width], "big")
        nanoseconds = value >> shift
        if nanoseconds < 10**9 and nanoseconds % 1000:  # what is more is refused as it is
            made = made or bytearray(frame)
            made[place : place + width] = (value - (nanoseconds % 1000 << shift)).to_bytes(width, "big")
        at = end
    return frame if made is None else bytes(made)


def span(frame: bytes, at: int) -> tuple[int, int]:
    """Return where what follows the header of the element at ``frame[at]`` begins, and where it ends."""
    first = frame[at]
    width, between = BLOBS.get(first) or CONTAINERS.get(first) or (0, 0)
    start = at + 1 + width
    if first in BLOBS:
        return start, start + between + int.from_bytes(frame[at + 1 : start], "big")
    return start, at + (SIZES[first] or 1 + width)


def find_bad_utf8(frame: bytes) -> tuple[int, str] | None:
    """Return where the first string of a whole object stops to be UTF-8, and why; None when all of them are."""
    at = 0
    while at < len(frame):
        first = frame[at]
        start, at = span(frame, at)
        if first in _STRINGS:
            try:
                frame[start:at].decode()
            except UnicodeDecodeError as error:
                return start + error.start, error.reason
    return None


def lengths(first: int, step: int, count: int) -> tuple[str, int]:
    """Return of what kind an element is, and how long: in bytes, in items or in pairs.

    Args:
        first: Its first byte.
        step: The bytes of the element, of a container those of its header.
        count: The elements in a container; -1 for any other.

    Returns:
        The kind is ``str``, ``bin``, ``ext``, ``array``, ``map``, or nothing for what has no length.
    """
    if count >= 0:
        return ("map", count // 2) if first in MAPS else ("array", count)
    if 0xA0 <= first < 0xC0:
        return "str", first & 0x1F
    if 0xD4 <= first <= 0xD8:
        return "ext", step - 2
    if first in BLOBS:
        width, between = BLOBS[first]
        return "ext" if between else "str" if first in _STRINGS else "bin", step - 1 - width - between
    return "", 0


def timestamps_aside(frame: bytes) -> tuple[bytes, list[bool]]:
    """Return a whole object with its timestamps as extensions of type 0, and whether each of its extensions is one."""
    at = 0
    made = bytearray(frame)
    found: list[bool] = []
    while at < len(frame):
        first = frame[at]
        start, end = span(frame, at)
        if 0xD4 <= first <= 0xD8 or 0xC7 <= first <= 0xC9:
            found.append(frame[start] == _TIMESTAMP)
            if found[-1]:
                made[start] = 0
        at = end
    return bytes(made), found


def read_timestamp(data: bytes) -> tuple[int, int]:
    """Return the seconds and nanoseconds of a timestamp, in any of its three forms.

    Raises:
        BadPayloadError: It has none of them, or a second of more than a billion nanoseconds.
    """
    if len(data) == 4:
        return int.from_bytes(data, "big"), 0
    if len(data) == 8:
        value = int.from_bytes(data, "big")
        seconds, nanoseconds = value & (1 << 34) - 1, value >> 34
    elif len(data) == 12:
        seconds, nanoseconds = int.from_bytes(data[4:], "big", signed=True), int.from_bytes(data[:4], "big")
    else:
        raise BadPayloadError(f"MessagePack timestamp of {len(data)} bytes")
    if nanoseconds >= 10**9:
        raise BadPayloadError(f"MessagePack timestamp with {nanoseconds} nanoseconds")
    return seconds, nanoseconds


def single_floats(frame: bytes) -> bytes:
    """Return a whole object with its floats of 64 bits in 32.

    Raises:
        OverflowError: One is too large for that.
    """
    at = 0
    parts: list[bytes] = []
    kept = 0
    while at < len(frame):
        _, end = span(frame, at)
        if frame[at] == _FLOAT_64:
            parts += [frame[kept:at], _SINGLE.pack(_FLOAT_32, _DOUBLE.unpack_from(frame, at)[1])]
            kept = end
        at = end
    return b"".join([*parts, frame[kept:]]) if parts else frame
