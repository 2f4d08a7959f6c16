"""Where one RESP value ends: lengths, counts and terminators are checked here, before anything is built."""

from __future__ import annotations

from typing import Final

from ...errors import BadFrameError, BadLengthError, BadPayloadError, FrameTooLongError, RemoteProtocolError

LF: Final = 0x0A
CR: Final = 0x0D

# Signed 64 bits take 20 characters. No canonical length or count has more.
_MAX_INTEGER_CHARS: Final = 20
# %f of the largest double takes 316.
_MAX_DOUBLE_CHARS: Final = 326
# Up to here int() is never refused, whatever sys.set_int_max_str_digits says.
MAX_BIG_NUMBER_DIGITS: Final = 640

# First byte -> the most characters its line may have after it.
SCALARS: Final = {
    ord(":"): _MAX_INTEGER_CHARS,
    ord("_"): 0,
    ord("#"): 1,
    ord(","): _MAX_DOUBLE_CHARS,
    ord("("): 1 + MAX_BIG_NUMBER_DIGITS,
}
_SIMPLE: Final = b"+-"
_BLOBS: Final = b"$!="
# First byte -> elements for each of the count, and elements besides. An attribute is followed by its value.
_CONTAINERS: Final = {ord("*"): (1, 0), ord("~"): (1, 0), ord(">"): (1, 0), ord("%"): (2, 0), ord("|"): (2, 1)}
_NULLABLE: Final = b"$*"
_PUSH: Final = ord(">")

KNOWN_TYPES: Final = frozenset([*SCALARS, *_SIMPLE, *_BLOBS, *_CONTAINERS])

# The shortest element: a type byte, CR and LF.
_MIN_ELEMENT_BYTES: Final = 3

# How far the end of a value was looked for: where the next element begins, where the search for its LF goes on, how
# many bytes must be there before another look is worth it, how many elements are still to come, and how many of them in
# each container that is open.
Progress = tuple[int, int, int, int, list[int]]


def find_end(
    data: bytes | bytearray, start: int, progress: Progress | None, max_frame_bytes: int, max_depth: int
) -> tuple[int, Progress]:
    """Return where the value at ``data[start:]`` ends, or 0 and how far the search came.

    Raises:
        FrameTooLongError: It has to be longer than ``max_frame_bytes``, as what is there so far says.
        BadLengthError: A length or count is not in its canonical form.
        BadFrameError: A type byte is unknown, a terminator is missing, or a push is inside another value.
        BadPayloadError: Containers are nested deeper than ``max_depth``.
    """
    at, search, wanted, owed, open_counts = progress or (start, start, 0, 1, [])
    size = len(data)
    while owed and at < size and wanted <= size:
        first = data[at]
        if first not in KNOWN_TYPES:
            raise BadFrameError(f"the byte {first:02X} begins no RESP value")
        # Two bounds on where this line's LF may stand: its type's, and the frame's with all that is still to come.
        line_last = at + 2 + SCALARS.get(first, max_frame_bytes if first in _SIMPLE else _MAX_INTEGER_CHARS)
        frame_last = start + max_frame_bytes - (owed - 1) * _MIN_ELEMENT_BYTES - 1
        last = min(line_last, frame_last)
        line_end = data.find(LF, search, last + 1)
        if line_end < 0:
            if size > last:
                raise _unterminated(first, None if frame_last <= line_last else line_last - at, max_frame_bytes)
            return 0, (at, size, 0, owed, open_counts)
        if data[line_end - 1] != CR:
            raise BadFrameError("a line of RESP ends in LF without CR")
        line = bytes(data[at + 1 : line_end - 1])
        end = line_end + 1
        count = 0
        if first in _SIMPLE:
            if CR in line:
                raise BadFrameError("a simple string of RESP holds CR")
        elif first in _BLOBS:
            length = _read_length(line, nullable=first in _NULLABLE)
            if length >= 0:
                end += length + 2
                _check_total(end - start, owed - 1, max_frame_bytes)
                if end > size:
                    return 0, (at, at, end, owed, open_counts)
                if data[end - 2 : end] != b"\r\n":
                    raise BadFrameError("a RESP string of announced length does not end in CRLF")
        elif first in _CONTAINERS:
            if first == _PUSH and at != start:
                raise BadFrameError("a RESP push inside another value")
            length = _read_length(line, nullable=first in _NULLABLE)
            if length >= 0:
                if len(open_counts) >= max_depth:
                    raise BadPayloadError(f"RESP nested deeper than max_depth={max_depth}")
                each, besides = _CONTAINERS[first]
                count = each * length + besides
        at = search = end
        wanted = 0
        owed += count - 1
        _check_total(at - start, owed, max_frame_bytes)
        if count:
            open_counts.append(count)
        else:
            while open_counts:
                open_counts[-1] -= 1
                if open_counts[-1]:
                    break
                open_counts.pop()
    return 0 if owed else at, (at, search, wanted, owed, open_counts)


def _check_total(taken: int, owed: int, max_frame_bytes: int) -> None:
    """Refuse a frame that is over the limit when each element to come is as short as can be."""
    least = taken + owed * _MIN_ELEMENT_BYTES
    if least > max_frame_bytes:
        raise FrameTooLongError(least, max_frame_bytes)


def _read_length(line: bytes, *, nullable: bool) -> int:
    """Read a length or count: digits without a leading zero, or -1 for the null of RESP2.

    Raises:
        BadLengthError: It is neither. ``?`` begins a streamed value of RESP3, which Redis has never sent.
    """
    if line.isdigit() and (len(line) == 1 or not line.startswith(b"0")):
        return int(line)
    if nullable and line == b"-1":
        return -1
    if line == b"?":
        raise BadLengthError("streamed values of RESP3, whose length is '?', are not read")
    raise BadLengthError(f"{line!r} is not a length: write digits without a leading zero")


def _unterminated(first: int, line_chars: int | None, max_frame_bytes: int) -> RemoteProtocolError:
    if line_chars is None:
        return FrameTooLongError(None, max_frame_bytes)
    if first in SCALARS:
        return BadFrameError(f"a RESP value of the type {chr(first)!r} has no CRLF within {line_chars} bytes")
    return BadLengthError(f"a RESP length has no CRLF within {line_chars} bytes")
