"""MessagePack objects, one after the other, as https://github.com/msgpack/msgpack/blob/master/spec.md defines them."""

from __future__ import annotations

from typing import Any, Final, TypeVar, overload

from ..errors import (
    BadEncodingError,
    BadFrameError,
    BadPayloadError,
    FrameTooLongError,
    LocalProtocolError,
    RemoteProtocolError,
)
from .base import DEFAULT_MAX_DEPTH, DEFAULT_MAX_FRAME_BYTES, HIGHEST_MAX_DEPTH, NEED_DATA, NULL, Buffer, NeedData
from .objects import ObjectCodec, decoder_of, to_builtins
from .octets import require_range
from .refusals import NOT_THE_PEER, problem_of

M = TypeVar("M")

# How far the end of one object was looked for: where the next element begins, how many elements are still to come, and
# how many of them in each container that is open, the outermost first: below zero in a map, where an even number means
# that a key comes next.
_Progress = tuple[int, int, list[int]]


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


_SIZES: Final = _sizes()
# First byte -> bytes of the length field, and bytes between it and what it measures (the type of an ext).
_BLOBS: Final = {
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
_CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
_EXT_8: Final = 0xC7
_FIXEXT_8: Final = 0xD7
_TIMESTAMP: Final = 0xFF  # the type -1
_STRINGS: Final = frozenset([*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB])
_MAPS: Final = bytes([*range(0x80, 0x90), 0xDE, 0xDF])
_ARRAYS: Final = bytes([*range(0x90, 0xA0), 0xDC, 0xDD])
_NOT_CONTAINERS: Final = bytes(set(range(256)) - set(_MAPS) - set(_ARRAYS))


class Msgpack(ObjectCodec[M]):
    """A stream of MessagePack objects.

    The format has no frame around an object, so its end is found by reading its headers: each byte is looked at once,
    however the bytes arrive, and nothing is built before the object is whole. Without ``type`` a message is None, bool,
    int, float, str, bytes, list, dict, datetime (the timestamp extension) or ``msgspec.msgpack.Ext``. Of a key that
    stands twice in a map the last value counts. What ``type`` does not ask for is skipped, its strings unseen.

    A timestamp is cut to the microseconds that a datetime has, never rounded up to an instant that has not come yet. A
    datetime without time zone names no instant: it is written as text (ISO 8601), and arrives as text.

    Args:
        type: What to decode into and check against, as of `JsonLines`.
        max_depth: How many arrays and maps may stand one inside the other, 1 to 512.
        array_keys: Let an array be a map's key, as a tuple. A tuple's hash has no secret in it: a peer can choose
            75,000 pairs of ints in 1 MiB that all have the same, and a dict of them takes most of a minute to make.
        max_frame_bytes: Largest object, in bytes. A length or a count above it is refused on its header.

    Raises:
        ConfigurationError: An option is out of its range, or nothing can be decoded into ``type``.
    """

    name = "msgpack"

    @overload
    def __init__(
        self: Msgpack[Any], *, max_depth: int = ..., array_keys: bool = ..., max_frame_bytes: int = ...
    ) -> None: ...
    @overload
    def __init__(
        self, *, type: type[M], max_depth: int = ..., array_keys: bool = ..., max_frame_bytes: int = ...
    ) -> None: ...
    @overload
    def __init__(  # a union or another special form, whose type checkers do not all see
        self: Msgpack[Any], *, type: object, max_depth: int = ..., array_keys: bool = ..., max_frame_bytes: int = ...
    ) -> None: ...

    def __init__(
        self,
        *,
        type: Any = Any,  # noqa: A002  # msgspec's word for it
        max_depth: int = DEFAULT_MAX_DEPTH,
        array_keys: bool = False,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        import msgspec  # noqa: PLC0415  # 37 ms that only this codec's users pay

        self.max_frame_bytes = require_range("max_frame_bytes", max_frame_bytes, 1)
        self.max_depth = require_range("max_depth", max_depth, 1, HIGHEST_MAX_DEPTH)
        self.array_keys = array_keys
        self._read(type)
        self._decode_any = msgspec.msgpack.decode
        self._encode = msgspec.msgpack.Encoder(enc_hook=to_builtins).encode

    def _read(self, type: Any) -> None:  # noqa: A002
        self._decode = decoder_of("msgpack", type)
        self.type = type

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one object.

        Raises:
            FrameTooLongError: It has to be longer than ``max_frame_bytes``, as its headers so far say.
            BadFrameError: It holds the byte C1, which begins nothing.
            BadEncodingError: A string in it is not UTF-8.
            BadPayloadError: It is nested deeper than ``max_depth``, a map's key is an array and ``array_keys`` is not
                set, or cannot be one in Python, a timestamp is malformed, or it is not of ``type``.
        """
        end, progress = self._find_end(buffer, 0, buffer.resume)
        if not end:
            buffer.resume = progress
            return NEED_DATA
        message = self._parse(bytes(buffer[:end]))
        del buffer[:end]
        buffer.resume = None
        return message

    def encode(self, message: object) -> bytes:
        """Write one object, as msgspec does: a tuple as an array, a datetime with time zone as the timestamp extension.

        Raises:
            LocalProtocolError: It would be refused: longer than ``max_frame_bytes``, deeper than ``max_depth``, a
                tuple as a key where ``array_keys`` is not set, an int beyond 64 bits, a lone surrogate.
            TypeError: It holds something that neither msgspec nor pydantic can write.
        """
        if message is NULL:
            message = None
        try:
            data = self._encode(message)
        except (TypeError, *NOT_THE_PEER):
            raise
        except Exception as error:  # of whatever class the library's release chooses
            raise LocalProtocolError(f"the message has no MessagePack form: {error}") from None
        if len(data) > self.max_frame_bytes:
            raise LocalProtocolError(f"object of {len(data)} bytes exceeds max_frame_bytes={self.max_frame_bytes}")
        # What could begin a container may also stand inside a string: then look for certain.
        if self._may_be_refused(data.translate(None, _NOT_CONTAINERS)):
            try:
                self._find_end(data, 0, None)
            except RemoteProtocolError as error:
                raise LocalProtocolError(f"the message would be refused: {error}") from None
        return data

    def _may_be_refused(self, containers: bytes) -> bool:
        """Whether containers that begin with these bytes may be nested too deep, or one be another's key."""
        if len(containers) > self.max_depth:
            return True
        has_both = containers.translate(None, _MAPS) and containers.translate(None, _ARRAYS)
        return not self.array_keys and bool(has_both)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[M], int]:
        """Take up to ``limit`` objects.

        Raises:
            RemoteProtocolError: As `decode`, for the first one.
        """
        messages: list[M] = []
        at = 0
        while len(messages) < limit:
            try:
                end, _ = self._find_end(data, at, None)
                if not end:
                    break
                messages.append(self._parse(data[at:end]))
            except Exception:  # of a type of the user's too
                if not messages:
                    raise
                break
            at = end
        return messages, at

    def _find_end(self, data: bytes | bytearray, start: int, progress: _Progress | None) -> tuple[int, _Progress]:
        """Return where the object at ``data[start:]`` ends, or 0 and how far the search came.

        Raises:
            FrameTooLongError, BadFrameError, BadPayloadError: As `decode`, on the first header that cannot be right.
        """
        at, owed, open_counts = progress or (start, 1, [])
        size = len(data)
        while owed and at < size:
            first = data[at]
            step = _SIZES[first]
            count = -1
            is_map = False
            if not step:
                if first < 0xA0:
                    step, count, is_map = 1, (first & 0x0F) << (first < 0x90), first < 0x90
                elif first in _BLOBS:
                    width, between = _BLOBS[first]
                    step = 1 + width
                    if at + step > size:
                        break
                    step += between + int.from_bytes(data[at + 1 : at + step], "big")
                elif first in _CONTAINERS:
                    width, each = _CONTAINERS[first]
                    step = 1 + width
                    if at + step > size:
                        break
                    count, is_map = each * int.from_bytes(data[at + 1 : at + step], "big"), each == 2
                else:
                    raise BadFrameError("the byte C1 begins no MessagePack element")
                if count >= 0 and len(open_counts) >= self.max_depth:
                    raise BadPayloadError(f"MessagePack nested deeper than max_depth={self.max_depth}")
                is_array = count >= 0 and not is_map
                if is_array and not self.array_keys and open_counts and open_counts[-1] < 0 and not open_counts[-1] & 1:
                    raise BadPayloadError("a MessagePack array is the key of a map, and array_keys is not set")
            at += step
            owed -= 1
            if count > 0:
                owed += count
                open_counts.append(-count if is_map else count)
            else:
                while open_counts:
                    open_counts[-1] += 1 if open_counts[-1] < 0 else -1
                    if open_counts[-1]:
                        break
                    open_counts.pop()
            # Each element to come has a byte at least: a count is refused like a length, on its header.
            if at + owed - start > self.max_frame_bytes:
                raise FrameTooLongError(at + owed - start, self.max_frame_bytes)
        return 0 if owed or at > size else at, (at, owed, open_counts)

    def _parse(self, frame: bytes) -> M:
        if _FIXEXT_8 in frame or _EXT_8 in frame:
            frame = whole_microseconds(frame)
        try:
            message: M = self._decode(frame)
            return message
        except NOT_THE_PEER:
            raise
        except Exception as error:  # of whatever class the library's release chooses
            bad = _find_bad_utf8(frame)
            if bad is None:
                raise BadPayloadError(problem_of(error, self.type, self._decode_any, frame)) from None
        offset, why = bad
        raise BadEncodingError(f"MessagePack string that is not UTF-8 ({why})", offset)


def whole_microseconds(frame: bytes) -> bytes:
    """Return a whole object with the nanoseconds of its timestamps cut to microseconds, to which msgspec rounds."""
    at = 0
    made: bytearray | None = None
    while at < len(frame):
        start, end = _span(frame, at)
        first = frame[at]
        if first == _FIXEXT_8 and frame[at + 1] == _TIMESTAMP:
            # 30 bits of nanoseconds, 34 of seconds.
            place, shift = at + 2, 34
        elif first == _EXT_8 and end - start == 13 and frame[start] == _TIMESTAMP:
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


def _span(frame: bytes, at: int) -> tuple[int, int]:
    """Return where what follows the header of the element at ``frame[at]`` begins, and where it ends."""
    first = frame[at]
    width, between = _BLOBS.get(first) or _CONTAINERS.get(first) or (0, 0)
    start = at + 1 + width
    if first in _BLOBS:
        return start, start + between + int.from_bytes(frame[at + 1 : start], "big")
    return start, at + (_SIZES[first] or 1 + width)


def _find_bad_utf8(frame: bytes) -> tuple[int, str] | None:
    """Return where the first string of a whole object stops to be UTF-8, and why; None when all of them are."""
    at = 0
    while at < len(frame):
        first = frame[at]
        start, at = _span(frame, at)
        if first in _STRINGS:
            try:
                frame[start:at].decode()
            except UnicodeDecodeError as error:
                return start + error.start, error.reason
    return None
