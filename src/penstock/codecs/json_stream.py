"""JSON values one after the other, with or without white space between them: no newline ends one."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from ..errors import BadFrameError, BadPayloadError, FrameTooLongError, TruncatedError
from .base import DEFAULT_MAX_DEPTH, DEFAULT_MAX_LINE_BYTES, NEED_DATA, Buffer, NeedData
from .json_lines import JsonLines
from .objects import ObjectCodec

_SPACE: Final = b" \t\r\n"
_NOT_SPACE: Final = re.compile(rb"[^ \t\r\n]")
_SCALAR_END: Final = re.compile(rb"[ \t\r\n]")
_OUTSIDE: Final = re.compile(rb"[\"{}\[\]]")  # what counts outside of strings
_INSIDE: Final = re.compile(rb"[\"\\]")  # and within them
_BEGINS: Final = frozenset(b'{["-0123456789tfn')
_QUOTE, _BACKSLASH = b'"\\'
_OPENING: Final = frozenset(b"{[")
_SCALARS: Final = frozenset(b"-0123456789tfn")


class _Progress(NamedTuple):
    """How far the end of a value was looked for."""

    at: int
    depth: int
    in_string: bool


class Json(ObjectCodec[Any]):
    """JSON values (RFC 8259, UTF-8) one after the other, with or without white space between them.

    An object, array or string ends where it ends; a number, ``true``, ``false`` or ``null`` at white space, or at EOF.
    Messages are those of `JsonLines`, and as there NaN and infinity are no JSON, and the last of two equal keys counts.

    Args:
        type: What to decode into and check against, as of `JsonLines`.
        max_depth: How many arrays and objects may stand one inside the other, 1 to 512.
        max_frame_bytes: Longest value, in bytes; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range, or nothing can be decoded into ``type``.
    """

    name = "json"
    skips = True
    _compiled = False

    def __init__(
        self,
        *,
        type: Any = Any,  # noqa: A002  # msgspec's word for it
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        self._values: JsonLines[Any] = JsonLines(type=type, max_depth=max_depth, max_frame_bytes=max_frame_bytes)
        self.type = type
        self.max_depth = max_depth
        self.max_frame_bytes = max_frame_bytes

    def _read(self, type: Any) -> None:  # noqa: A002
        self._values = self._values.for_type(type)
        self.type = type

    def decode(self, buffer: Buffer) -> Any | NeedData:
        """Take one value.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``, whole or not.
            BadFrameError: What is there begins no value.
            BadEncodingError: It is not UTF-8.
            BadPayloadError: It is not JSON, not of ``type``, or nested deeper than ``max_depth``.
        """
        if buffer.resume is None:
            first = _NOT_SPACE.search(buffer)
            del buffer[: first.start() if first else len(buffer)]
            if not buffer:
                return NEED_DATA
            if buffer[0] not in _BEGINS:
                raise BadFrameError(f"the byte {buffer[0]:02X} begins no JSON value")
        end = self._find_end(buffer)
        if end < 0:
            return NEED_DATA
        message = self._values.decode_datagram(bytes(buffer[:end]))
        del buffer[:end]
        buffer.resume = None
        return message

    def finish(self, buffer: Buffer) -> Any | NeedData:
        """Decode a number or word that EOF ends.

        Raises:
            TruncatedError: The stream ended within an object, array or string.
            BadPayloadError: As `decode`.
        """
        if not buffer.strip(_SPACE):
            return NEED_DATA
        if buffer[0] not in _SCALARS:
            raise TruncatedError(len(buffer), bytes(buffer))
        message = self._values.decode_datagram(bytes(buffer))
        buffer.clear()
        buffer.resume = None
        return message

    def encode(self, message: Any) -> bytes:
        """Write the message as compact JSON, and a newline after what does not show its end.

        Raises:
            LocalProtocolError, TypeError: As `JsonLines.encode`.
        """
        data = self._values.encode_datagram(message)
        return data + b"\n" if data.lstrip(_SPACE)[0] in _SCALARS else data

    def decode_datagram(self, data: bytes) -> Any:
        """Decode a datagram that is one JSON value.

        Raises:
            FrameTooLongError, BadEncodingError, BadPayloadError: As `decode`.
        """
        return self._values.decode_datagram(data)

    def encode_datagram(self, message: Any) -> bytes:
        """Write the message as compact JSON.

        Raises:
            LocalProtocolError, TypeError: As `encode`.
        """
        return self._values.encode_datagram(message)

    def _find_end(self, buffer: Buffer) -> int:
        """Return where the value at the front ends, -1 when that has not arrived."""
        at, depth, in_string = buffer.resume or _Progress(0, 0, False)
        size = len(buffer)
        end = -1
        if buffer[0] in _SCALARS:
            found = _SCALAR_END.search(buffer, at)
            end, at = (found.start(), at) if found else (-1, size)
        else:
            while end < 0:
                found = (_INSIDE if in_string else _OUTSIDE).search(buffer, at)
                if found is None:
                    at = size
                    break
                byte = buffer[found.start()]
                if byte == _BACKSLASH:
                    if found.end() == size:  # what it escapes has not come
                        at = found.start()
                        break
                    at = found.end() + 1
                    continue
                at = found.end()
                if byte == _QUOTE:
                    in_string = not in_string
                else:
                    depth += 1 if byte in _OPENING else -1
                    if depth > self.max_depth and at <= self.max_frame_bytes:
                        raise BadPayloadError(f"JSON nested deeper than max_depth={self.max_depth}")
                if depth <= 0 and not in_string:
                    end = at
        if (end if end >= 0 else size) > self.max_frame_bytes:
            raise FrameTooLongError(None, self.max_frame_bytes)
        if end < 0:
            buffer.resume = _Progress(at, depth, in_string)
        return end
