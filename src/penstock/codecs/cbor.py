"""CBOR data items, one after the other (RFC 8949, a CBOR sequence: RFC 8742). Needs the package ``cbor2``."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar, overload
from uuid import UUID

from ..errors import (
    BadFrameError,
    BadPayloadError,
    ConfigurationError,
    FrameTooLongError,
    LocalProtocolError,
    RemoteProtocolError,
)
from .base import (
    DEFAULT_MAX_DEPTH,
    DEFAULT_MAX_FRAME_BYTES,
    HIGHEST_MAX_DEPTH,
    NEED_DATA,
    NULL,
    Buffer,
    NeedData,
)
from .objects import ObjectCodec, converter_of, to_builtins
from .octets import require_range

M = TypeVar("M")

_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(2, 8)
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
# A length or count of so many bytes follows the first one.
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
# What a tag makes of its content may be a ring (28, 29), more than was sent (25, 256: references to strings), a pattern
# to be compiled (35), a parser's work (36), or hashed without a secret (258).
_REFUSED_TAGS: Final = frozenset({25, 28, 29, 35, 36, 256, 258})

# An item that is open: its major type, how many items are to come in it (below zero: until a break), how many came.
_Open = tuple[int, int, int]
# How far the end of one item was looked for: where the next begins, how many are announced and to come, whether the
# headers of all were seen, and what is open, the outermost first.
_Progress = tuple[int, int, bool, list[_Open]]


# What CBOR has types or tags for, beside what JSON has.
_NATIVES: Final = (bytes, bytearray, date, datetime, Decimal, UUID)


class Cbor(ObjectCodec[M]):
    """A stream of CBOR data items.

    As with MessagePack the end of an item is found by reading its headers, each looked at once, and nothing is built
    before the item is whole. Without ``type`` a message is what ``cbor2`` makes of it: None, bool, int, float, str,
    bytes, list, dict, datetime, and ``cbor2.CBORTag`` for a tag that it does not know. No key of a map is a container
    or has a tag. Of a key that stands twice the last value counts.

    Args:
        type: What to convert a message into and check it against, as of `JsonLines`.
        max_depth: How many arrays, maps, tags and strings in pieces may stand one inside the other, 1 to 512.
        max_frame_bytes: Largest item, in bytes. A length or a count above it is refused on its header.

    Raises:
        ConfigurationError: An option is out of its range, nothing can be decoded into ``type``, or ``cbor2`` is not
            installed.
    """

    name = "cbor"
    _compiled = False

    @overload
    def __init__(self: Cbor[Any], *, max_depth: int = ..., max_frame_bytes: int = ...) -> None: ...
    @overload
    def __init__(self, *, type: type[M], max_depth: int = ..., max_frame_bytes: int = ...) -> None: ...
    @overload
    def __init__(self: Cbor[Any], *, type: object, max_depth: int = ..., max_frame_bytes: int = ...) -> None: ...

    def __init__(
        self,
        *,
        type: Any = Any,  # noqa: A002  # msgspec's word for it
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        try:
            import cbor2  # noqa: PLC0415  # only this codec's users have it
        except ImportError:
            raise ConfigurationError("the codec cbor needs cbor2: pip install 'penstock[cbor]'") from None
        self.max_frame_bytes = require_range("max_frame_bytes", max_frame_bytes, 1)
        self.max_depth = require_range("max_depth", max_depth, 1, HIGHEST_MAX_DEPTH)
        self._decode, self._encode = cbor2.loads, cbor2.dumps
        self._read(type)

    def _read(self, type: Any) -> None:  # noqa: A002
        self._convert = converter_of(type, _NATIVES)
        self.type = type

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one item.

        Raises:
            FrameTooLongError: It has to be longer than ``max_frame_bytes``, as its headers so far say.
            BadFrameError: A header is none, or a break ends nothing.
            BadPayloadError: It is nested deeper than ``max_depth``, a key or a tag is refused, text is not UTF-8, what
                a tag says is not so, or it is not of ``type``.
        """
        end, progress = self._find_end(buffer, buffer.resume)
        if not end:
            buffer.resume = progress
            return NEED_DATA
        try:
            message: M = self._parse(bytes(buffer[:end]))
        except RemoteProtocolError as error:
            raise error.skipping(end)  # noqa: B904 - the same one
        del buffer[:end]
        buffer.resume = None
        return message

    def encode(self, message: Any) -> bytes:
        """Write one item, as ``cbor2`` does: a tuple as an array, a datetime with time zone as its tag.

        A dataclass and the like is written as a map of its fields.

        Raises:
            LocalProtocolError: It would be refused: too long, too deep, with a key or a tag that is not read.
            TypeError: It holds something that ``cbor2`` cannot write, a datetime without time zone for one.
        """
        try:
            data: bytes = self._encode(None if message is NULL else message, default=_write_fields)
        except MemoryError:
            raise
        except Exception as error:  # of whatever class the library's release chooses
            raise TypeError(f"the message has no CBOR form: {error}") from None
        if len(data) > self.max_frame_bytes:
            raise LocalProtocolError(f"item of {len(data)} bytes exceeds max_frame_bytes={self.max_frame_bytes}")
        try:
            self._find_end(data, None)
        except RemoteProtocolError as error:
            raise LocalProtocolError(f"the message would be refused: {error}") from None
        return data

    def _parse(self, frame: bytes) -> Any:
        try:
            value = self._decode(frame)
        except MemoryError:
            raise
        except Exception as error:  # of whatever class the library's release chooses
            raise BadPayloadError(f"CBOR that cannot be read: {error}") from None
        try:
            return self._convert(value)
        except ValueError as error:
            raise BadPayloadError(str(error)) from None

    def _find_end(self, data: bytes | bytearray, progress: _Progress | None) -> tuple[int, _Progress]:
        """Return where the item at the front ends, or 0 and how far the search came."""
        at, owed, done, opened = progress or (0, 0, False, [])
        size = len(data)
        while not done and at < size:
            first = data[at]
            major, info = first >> 5, first & 31
            width = _WIDTHS.get(info, 0)
            if at + 1 + width > size:
                break
            value = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else info
            inside = self._inside(first, major, info, value, opened)
            at += 1 + width
            if first == _BREAK:
                opened.pop()
            elif major in (_BYTES, _TEXT) and info != _INDEFINITE:
                at += value
            if inside:
                if len(opened) >= self.max_depth:
                    raise BadPayloadError(f"CBOR nested deeper than max_depth={self.max_depth}")
                opened.append((major, inside, 0))
                owed += max(0, inside)
            else:
                done, ended = self._close(opened)
                owed -= ended
            # Each item to come has a byte at least: a count is refused like a length, on its header.
            if at + owed > self.max_frame_bytes:
                raise FrameTooLongError(at + owed, self.max_frame_bytes)
        return at if done and at <= size else 0, (at, owed, done, opened)

    def _inside(self, first: int, major: int, info: int, value: int, opened: list[_Open]) -> int:
        """Return how many items stand inside the one that begins here, below zero: until a break.

        Raises:
            BadFrameError, BadPayloadError: None may begin here, or not this one.
        """
        outer, left, seen = opened[-1] if opened else (-1, 1, 0)
        if first == _BREAK:
            if left >= 0 or (outer == _MAP and seen % 2):
                raise BadFrameError("a break of CBOR ends nothing")
            return 0
        if 28 <= info < _INDEFINITE or (info == _INDEFINITE and major not in (_BYTES, _TEXT, _ARRAY, _MAP)):
            raise BadFrameError(f"the byte {first:02X} begins no CBOR item")
        if major == _OTHER and info == 24 and value < 32:
            raise BadFrameError("a simple value of CBOR is not in its shortest form")
        if outer in (_BYTES, _TEXT) and (major != outer or info == _INDEFINITE):
            raise BadFrameError("a string of CBOR in pieces holds something else than its pieces")
        if outer == _MAP and seen % 2 == 0 and (major in (_ARRAY, _MAP, _TAG) or info == _INDEFINITE):
            raise BadPayloadError("the key of a CBOR map is a container or has a tag")
        if major == _TAG:
            if value in _REFUSED_TAGS:
                raise BadPayloadError(f"the tag {value} of CBOR is not read")
            return 1
        if info == _INDEFINITE:
            return -1
        return value if major == _ARRAY else 2 * value if major == _MAP else 0

    @staticmethod
    def _close(opened: list[_Open]) -> tuple[bool, int]:
        """One item has ended, and with it those whose last it is.

        Returns:
            Whether the outermost has ended, and how many of those that were announced have.
        """
        ended = 0
        while opened:
            major, left, seen = opened[-1]
            ended += left > 0
            if left != 1:
                opened[-1] = major, left - 1 if left > 0 else left, seen + 1
                return False, ended
            opened.pop()
        return True, ended


def _write_fields(encoder: Any, value: Any) -> None:
    """Write what ``cbor2`` does not know: an object with fields, as a map of them."""
    import msgspec  # noqa: PLC0415

    encoder.encode(msgspec.to_builtins(value, builtin_types=_NATIVES, enc_hook=to_builtins))
