"""MessagePack objects, one after the other, as https://github.com/msgpack/msgpack/blob/master/spec.md defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_args, overload

from ..errors import (
    BadEncodingError,
    BadFrameError,
    BadPayloadError,
    ConfigurationError,
    FrameTooLongError,
    LocalProtocolError,
    RemoteProtocolError,
)
from .base import DEFAULT_MAX_DEPTH, DEFAULT_MAX_FRAME_BYTES, HIGHEST_MAX_DEPTH, NEED_DATA, NULL, Buffer, NeedData
from .msgpack_elements import (
    ARRAYS,
    BLOBS,
    CONTAINERS,
    EXT_8,
    FIXEXT_8,
    MAPS,
    NOT_CONTAINERS,
    SIZES,
    find_bad_utf8,
    lengths,
    read_timestamp,
    single_floats,
    timestamps_aside,
    whole_microseconds,
)
from .objects import ObjectCodec, decoder_of, to_builtins
from .octets import require_range
from .refusals import NOT_THE_PEER, problem_of

M = TypeVar("M")

# How far the end of one object was looked for: where the next element begins, how many elements are still to come, and
# how many of them in each container that is open, the outermost first: below zero in a map, where an even number means
# that a key comes next.
_Progress = tuple[int, int, list[int]]

TimestampAs = Literal["datetime", "ext", "float", "ns"]


class _Options(TypedDict, total=False):
    """What may be said besides ``type``."""

    max_depth: int
    array_keys: bool
    timestamp: TimestampAs
    single_floats: bool
    ext_hook: Callable[[int, bytes], Any] | None
    default: Callable[[Any], Any] | None
    max_str_bytes: int | None
    max_bin_bytes: int | None
    max_ext_bytes: int | None
    max_array_items: int | None
    max_map_items: int | None
    max_frame_bytes: int


class Msgpack(ObjectCodec[M]):
    """A stream of MessagePack objects.

    The format has no frame around an object, so its end is found by reading its headers: each byte is looked at once,
    however the bytes arrive, and nothing is built before the object is whole. Without ``type`` a message is None, bool,
    int, float, str, bytes, list, dict, datetime (the timestamp extension) or ``msgspec.msgpack.Ext``. Of a key that
    stands twice in a map the last value counts. What ``type`` does not ask for is skipped, its strings unseen.

    A timestamp is cut to the microseconds that a datetime has, never rounded up to an instant that has not come yet;
    ``timestamp="ns"`` has all of it. A datetime without time zone names no instant: it is written as text (ISO 8601),
    and arrives as text.

    Args:
        type: What to decode into and check against, as of `JsonLines`.
        max_depth: How many arrays and maps may stand one inside the other, 1 to 512.
        array_keys: Let an array be a map's key, as a tuple. A tuple's hash has no secret in it: a peer can choose
            75,000 pairs of ints in 1 MiB that all have the same, and a dict of them takes most of a minute to make.
        timestamp: What a timestamp is decoded to: a datetime in UTC; a ``msgspec.msgpack.Ext`` of type -1, as it came;
            float seconds, or int nanoseconds, since 1970. Any but the first goes without ``type``, which says what it
            wants.
        single_floats: Write floats in 32 bits. One that is too large for that is refused.
        ext_hook: Called with the type and the bytes of each extension but timestamps; what it returns takes the place
            of the Ext, where ``type`` has ``Any``. A ValueError that it raises refuses the message; anything
            else is its own failure.
        default: Called with what cannot be written; returns what is written in its place, an Ext for instance.
        max_str_bytes: Longest string, in bytes; None for what ``max_frame_bytes`` leaves. Refused on its header, as are
            those that follow.
        max_bin_bytes: Longest ``bytes``.
        max_ext_bytes: Longest extension, without its type.
        max_array_items: Most items of an array.
        max_map_items: Most pairs of a map.
        max_frame_bytes: Largest object, in bytes. A length or a count above it is refused on its header.

    Raises:
        ConfigurationError: An option is out of its range, or nothing can be decoded into ``type``.
    """

    name = "msgpack"

    @overload
    def __init__(self: Msgpack[Any], **options: Unpack[_Options]) -> None: ...
    @overload
    def __init__(self, *, type: type[M], **options: Unpack[_Options]) -> None: ...
    @overload
    def __init__(  # a union or another special form, whose type checkers do not all see
        self: Msgpack[Any], *, type: object, **options: Unpack[_Options]
    ) -> None: ...

    def __init__(
        self,
        *,
        type: Any = Any,  # noqa: A002  # msgspec's word for it
        max_depth: int = DEFAULT_MAX_DEPTH,
        array_keys: bool = False,
        timestamp: TimestampAs = "datetime",
        single_floats: bool = False,
        ext_hook: Callable[[int, bytes], Any] | None = None,
        default: Callable[[Any], Any] | None = None,
        max_str_bytes: int | None = None,
        max_bin_bytes: int | None = None,
        max_ext_bytes: int | None = None,
        max_array_items: int | None = None,
        max_map_items: int | None = None,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        import msgspec  # noqa: PLC0415  # 37 ms that only this codec's users pay

        self.max_frame_bytes = require_range("max_frame_bytes", max_frame_bytes, 1)
        self.max_depth = require_range("max_depth", max_depth, 1, HIGHEST_MAX_DEPTH)
        self.array_keys = array_keys
        if timestamp not in get_args(TimestampAs):
            raise ConfigurationError(f"timestamp must be {', '.join(get_args(TimestampAs))}, not {timestamp!r}")
        self.timestamp = timestamp
        self.single_floats = single_floats
        self.ext_hook = ext_hook
        self.default = default
        self.max_str_bytes, self.max_bin_bytes, self.max_ext_bytes = max_str_bytes, max_bin_bytes, max_ext_bytes
        self.max_array_items, self.max_map_items = max_array_items, max_map_items
        # By the kind of an element, as `lengths` has it: the name of the option, and what it says.
        self._limits = {
            name.split("_")[1]: (name, require_range(name, value, 0))
            for name, value in {
                "max_str_bytes": max_str_bytes,
                "max_bin_bytes": max_bin_bytes,
                "max_ext_bytes": max_ext_bytes,
                "max_array_items": max_array_items,
                "max_map_items": max_map_items,
            }.items()
            if value is not None
        }
        self._compiled = timestamp == "datetime" and not single_floats and not self._limits
        self._read(type)
        self._decode_any = self._decode if ext_hook else msgspec.msgpack.decode
        self._encode = msgspec.msgpack.Encoder(enc_hook=to_builtins if default is None else self._by_default).encode

    def _read(self, type: Any) -> None:  # noqa: A002
        if type is not Any and self.timestamp != "datetime":
            raise ConfigurationError(
                f"timestamp={self.timestamp} is for messages without a type: that says what it wants"
            )
        self._decode = decoder_of("msgpack", type, **({"ext_hook": self._extension} if self.ext_hook else {}))
        self.type = type

    def _extension(self, code: int, data: memoryview) -> Any:
        assert self.ext_hook is not None
        return self.ext_hook(code, bytes(data))

    def _by_default(self, value: Any) -> Any:
        assert self.default is not None
        try:
            return to_builtins(value)
        except TypeError:
            return self.default(value)

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one object.

        Raises:
            FrameTooLongError: It has to be longer than ``max_frame_bytes``, as its headers so far say.
            BadFrameError: It holds the byte C1, which begins nothing.
            BadEncodingError: A string in it is not UTF-8.
            BadPayloadError: It is nested deeper than ``max_depth``, a map's key is an array and ``array_keys`` is not
                set, or cannot be one in Python, something in it is longer than it may be, a timestamp is malformed, or
                it is not of ``type``.
        """
        end, progress = self._find_end(buffer, 0, buffer.resume)
        if not end:
            buffer.resume = progress
            return NEED_DATA
        try:
            message = self._parse(bytes(buffer[:end]))
        except RemoteProtocolError as error:
            raise error.skipping(end)  # noqa: B904 - the same one
        del buffer[:end]
        buffer.resume = None
        return message

    def encode(self, message: object) -> bytes:
        """Write one object, as msgspec does: a tuple as an array, a datetime with time zone as the timestamp extension.

        Raises:
            LocalProtocolError: It would be refused: longer than ``max_frame_bytes``, deeper than ``max_depth``, a
                tuple as a key where ``array_keys`` is not set, an int beyond 64 bits, a float beyond the 32 bits it is
                to have, a lone surrogate, something in it longer than it may be.
            TypeError: It holds something that neither msgspec nor pydantic can write, nor ``default``.
        """
        if message is NULL:
            message = None
        try:
            data = self._encode(message)
            if self.single_floats:
                data = single_floats(data)
        except (TypeError, *NOT_THE_PEER):
            raise
        except Exception as error:  # of whatever class the library's release chooses
            raise LocalProtocolError(f"the message has no MessagePack form: {error}") from None
        if len(data) > self.max_frame_bytes:
            raise LocalProtocolError(f"object of {len(data)} bytes exceeds max_frame_bytes={self.max_frame_bytes}")
        # What could begin a container may also stand inside a string: then look for certain.
        if self._limits or self._may_be_refused(data.translate(None, NOT_CONTAINERS)):
            try:
                self._find_end(data, 0, None)
            except RemoteProtocolError as error:
                raise LocalProtocolError(f"the message would be refused: {error}") from None
        return data

    def _may_be_refused(self, containers: bytes) -> bool:
        """Whether containers that begin with these bytes may be nested too deep, or one be another's key."""
        if len(containers) > self.max_depth:
            return True
        has_both = containers.translate(None, MAPS) and containers.translate(None, ARRAYS)
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
            step = SIZES[first]
            count = -1
            is_map = False
            if not step:
                if first < 0xA0:
                    step, count, is_map = 1, (first & 0x0F) << (first < 0x90), first < 0x90
                elif first in BLOBS:
                    width, between = BLOBS[first]
                    step = 1 + width
                    if at + step > size:
                        break
                    step += between + int.from_bytes(data[at + 1 : at + step], "big")
                elif first in CONTAINERS:
                    width, each = CONTAINERS[first]
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
            if self._limits:
                self._hold_to_limits(first, step, count)
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

    def _hold_to_limits(self, first: int, step: int, count: int) -> None:
        """Refuse an element that is longer than those of its kind may be.

        Raises:
            BadPayloadError: It is.
        """
        kind, length = lengths(first, step, count)
        option, most = self._limits.get(kind, ("", length))
        if length > most:
            raise BadPayloadError(f"MessagePack {kind} of {length} {option.split('_')[2]} exceeds {option}={most}")

    def _parse(self, frame: bytes) -> M:
        if self.timestamp == "datetime" and (FIXEXT_8 in frame or EXT_8 in frame):
            frame = whole_microseconds(frame)
        try:
            message: M = self._decode(frame) if self.timestamp == "datetime" else self._decode_with_timestamps(frame)
            return message
        except (RemoteProtocolError, *NOT_THE_PEER):
            raise
        except Exception as error:  # of whatever class the library's release chooses
            if self.ext_hook is not None and not _says_no(error):
                raise
            bad = find_bad_utf8(frame)
            if bad is None:
                raise BadPayloadError(problem_of(error, self.type, self._decode_any, frame)) from None
        offset, why = bad
        raise BadEncodingError(f"MessagePack string that is not UTF-8 ({why})", offset)

    def _decode_with_timestamps(self, frame: bytes) -> Any:
        """Decode an object whose timestamps are no datetimes: msgspec, which makes them those, is shown others."""
        import msgspec  # noqa: PLC0415

        shown, are_timestamps = timestamps_aside(frame)
        if not any(are_timestamps):
            return self._decode(frame)
        each = iter(are_timestamps)

        def extension(code: int, data: memoryview) -> Any:
            if next(each):
                return self._timestamp(bytes(data))
            return msgspec.msgpack.Ext(code, bytes(data)) if self.ext_hook is None else self._extension(code, data)

        return msgspec.msgpack.Decoder(ext_hook=extension).decode(shown)

    def _timestamp(self, data: bytes) -> Any:
        import msgspec  # noqa: PLC0415

        if self.timestamp == "ext":
            return msgspec.msgpack.Ext(-1, data)
        seconds, nanoseconds = read_timestamp(data)
        return seconds * 10**9 + nanoseconds if self.timestamp == "ns" else seconds + nanoseconds / 1e9


def _says_no(error: Exception) -> bool:
    """Whether it is about the bytes, be it msgspec's word or a hook's."""
    import msgspec  # noqa: PLC0415

    return isinstance(error, msgspec.MsgspecError | ValueError | RecursionError)
