"""JSON Lines (also called NDJSON): a JSON value on each line."""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeVar, overload

from ..errors import BadEncodingError, BadPayloadError, FrameTooLongError, LocalProtocolError, RemoteProtocolError
from .base import (
    DEFAULT_MAX_DEPTH,
    DEFAULT_MAX_LINE_BYTES,
    DEFAULT_MAX_SKIP_BYTES,
    HIGHEST_MAX_DEPTH,
    NEED_DATA,
    NULL,
    Buffer,
    NeedData,
    OnOversize,
)
from .delimited import Unterminated
from .lines import Lines
from .objects import ObjectCodec, decoder_of, to_builtins
from .octets import Oversize, require_range
from .refusals import NOT_THE_PEER, problem_of

M = TypeVar("M")

_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_OPENING: Final = b"[{"
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class JsonLines(ObjectCodec[M], Oversize[M]):
    """A JSON value (RFC 8259, UTF-8) on each line.

    Without ``type`` a message is None, bool, int, float, str, list or dict. NaN and infinity are no JSON: neither read
    nor written. Of a key that stands twice in an object the last value counts. An empty line is refused.

    Args:
        type: What to decode into and check against: a ``msgspec.Struct``, a dataclass, an attrs class, a pydantic
            model, a TypedDict, ``list[int]``, a union. A handler's annotation says the same without it.
        max_depth: How many arrays and objects may stand one inside the other, 1 to 512.
        unterminated: What a last line without LF is at EOF: ``refuse`` it as truncated, or ``deliver`` it.
        on_oversize: What a line over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest line that is skipped, in bytes; a longer one ends the connection.
        max_frame_bytes: Longest line without its LF, in bytes; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range, or nothing can be decoded into ``type``.
    """

    name = "json-lines"

    @overload
    def __init__(
        self: JsonLines[Any],
        *,
        max_depth: int = ...,
        unterminated: Unterminated = ...,
        on_oversize: OnOversize = ...,
        max_skip_bytes: int = ...,
        max_frame_bytes: int = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        type: type[M],
        max_depth: int = ...,
        unterminated: Unterminated = ...,
        on_oversize: OnOversize = ...,
        max_skip_bytes: int = ...,
        max_frame_bytes: int = ...,
    ) -> None: ...
    @overload
    def __init__(  # a union or another special form, whose type checkers do not all see
        self: JsonLines[Any],
        *,
        type: object,
        max_depth: int = ...,
        unterminated: Unterminated = ...,
        on_oversize: OnOversize = ...,
        max_skip_bytes: int = ...,
        max_frame_bytes: int = ...,
    ) -> None: ...

    def __init__(
        self,
        *,
        type: Any = Any,  # noqa: A002  # msgspec's word for it
        max_depth: int = DEFAULT_MAX_DEPTH,
        unterminated: Unterminated = "refuse",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        import msgspec  # noqa: PLC0415  # 37 ms that only this codec's users pay

        # CR before the LF is white space to JSON.
        self._lines = Lines(
            keep_cr=True,
            unterminated=unterminated,
            on_oversize=on_oversize,
            max_skip_bytes=max_skip_bytes,
            max_frame_bytes=max_frame_bytes,
        )
        self.unterminated = unterminated
        self._set_oversize(on_oversize, max_skip_bytes)
        self.max_frame_bytes = max_frame_bytes
        self.max_depth = require_range("max_depth", max_depth, 1, HIGHEST_MAX_DEPTH)
        self._read(type)
        self._decode_any = msgspec.json.decode
        self._encode = msgspec.json.Encoder(enc_hook=to_builtins).encode
        self._to_builtins = msgspec.to_builtins

    def _read(self, type: Any) -> None:  # noqa: A002
        self._decode = decoder_of("json", type)
        self.type = type

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one line and decode it.

        Raises:
            FrameTooLongError: The line is longer than ``max_frame_bytes``, terminated or not.
            BadEncodingError: It is not UTF-8.
            BadPayloadError: It is not one JSON value, not of ``type``, or nested deeper than ``max_depth``.
        """
        end = self._lines.find_end(buffer)
        if end < 0:
            return NEED_DATA
        try:
            message = self._parse(bytes(buffer[:end]))
        except RemoteProtocolError as error:
            raise error.skipping(end + 1)  # noqa: B904 - the same one
        del buffer[: end + 1]
        buffer.resume = None
        return message

    def finish(self, buffer: Buffer) -> M | NeedData:
        """Decode the unterminated rest, if there is one and that was asked for.

        Raises:
            TruncatedError: There is one and that was not asked for.
            BadEncodingError, BadPayloadError: As `decode`.
        """
        line = self._lines.finish(buffer)
        # By whose `decode` it is, as if the line feed had come.
        return NEED_DATA if line is NEED_DATA else self.decode(Buffer(line + b"\n"))

    def encode(self, message: object) -> bytes:
        """Write the message as one line of compact JSON.

        `NULL` is written as None is: a handler answers with it. What JSON has no form for is written as msgspec writes
        it: a tuple as an array, a datetime or bytes as a string.

        Raises:
            LocalProtocolError: It would be refused: longer than ``max_frame_bytes``, deeper than ``max_depth``, or with
                a line feed, NaN, an infinity or a lone surrogate in it.
            TypeError: It holds something that neither msgspec nor pydantic can write.
        """
        return self._write(message) + b"\n"

    def decode_many(self, data: bytes, limit: int) -> tuple[list[M], int]:
        """Take up to ``limit`` lines and decode them.

        Raises:
            FrameTooLongError, BadEncodingError, BadPayloadError: As `decode`, for the first one.
        """
        if self.skips:
            return super().decode_many(data, limit)
        lines, taken = self._lines.decode_many(data, limit)
        messages: list[M] = []
        for index, line in enumerate(lines):
            try:
                messages.append(self._parse(line))
            except Exception:  # of a type of the user's too
                if not messages:
                    raise
                taken = sum(map(len, lines[:index])) + index
                break
        return messages, taken

    def decode_datagram(self, data: bytes) -> M:
        """Decode a datagram that is one JSON value; white space around and inside it, line feeds too, is allowed.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``.
            BadEncodingError, BadPayloadError: As `decode`.
        """
        if len(data) > self.max_frame_bytes:
            raise FrameTooLongError(len(data), self.max_frame_bytes)
        return self._parse(data)

    def encode_datagram(self, message: object) -> bytes:
        """Write the message as compact JSON, without a line feed.

        Raises:
            LocalProtocolError, TypeError: As `encode`.
        """
        return self._write(message)

    def _write(self, message: Any) -> bytes:
        if message is NULL:
            message = None
        try:
            data = self._encode(message)
        except (TypeError, *NOT_THE_PEER):
            raise
        except Exception as error:  # of whatever class the library's release chooses
            raise LocalProtocolError(f"the message has no JSON form: {error}") from None
        if len(data) > self.max_frame_bytes:
            raise LocalProtocolError(f"JSON of {len(data)} bytes exceeds max_frame_bytes={self.max_frame_bytes}")
        if b"\n" in data:  # msgspec writes none, but passes a msgspec.Raw on as it is
            raise LocalProtocolError("a line of JSON cannot hold LF")
        if self._is_too_deep(data):
            raise LocalProtocolError(f"the message is nested deeper than max_depth={self.max_depth}")
        # msgspec writes a float that is no number as null: it would arrive as None.
        if b"null" in data and _holds_non_finite(self._to_builtins(message, enc_hook=_leave_out)):
            raise LocalProtocolError("NaN and infinity have no JSON form")
        return data

    def _parse(self, line: bytes) -> M:
        if self._is_too_deep(line):
            raise BadPayloadError(f"JSON nested deeper than max_depth={self.max_depth}")
        try:
            # What a type does not ask for, msgspec skips without a look at its encoding.
            if self.type is not Any and not line.isascii():
                line.decode()
            message: M = self._decode(line)
            return message
        except NOT_THE_PEER:
            raise
        except Exception as error:  # of whatever class the library's release chooses
            bad = _find_bad_utf8(line)
            if bad is None:
                raise BadPayloadError(problem_of(error, self.type, self._decode_any, line)) from None
        offset, why = bad
        raise BadEncodingError(f"JSON that is not UTF-8 ({why})", offset)

    def _is_too_deep(self, line: bytes) -> bool:
        """Whether a parser that reads ``line`` from the left would nest deeper than ``max_depth``.

        Done before msgspec sees it: what its recursion costs in stack, and where the interpreter stops it, is not ours.
        """
        if len(line) <= self.max_depth or line.count(b"[") + line.count(b"{") <= self.max_depth:
            return False
        # Without escapes every second piece between quotation marks is outside of strings. Where the line is no JSON
        # this may go wrong, but only after the byte at which a parser stops.
        outside = b"".join(_ESCAPE.sub(b"", line).split(b'"')[::2])
        depth = 0
        for bracket in outside.translate(None, _NO_BRACKETS):
            depth += 1 if bracket in _OPENING else -1
            if depth > self.max_depth:
                return True
        return False


def _find_bad_utf8(line: bytes) -> tuple[int, str] | None:
    """Return where a line stops to be UTF-8, and why; None when it does not."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return error.start, error.reason
    return None


def _leave_out(value: object) -> object:
    """Stand in for what only the encoder knows, a msgspec.Raw: its JSON is already written."""
    import msgspec  # noqa: PLC0415  # loaded by the codec already

    return None if isinstance(value, msgspec.Raw) else to_builtins(value)


def _holds_non_finite(value: Any) -> bool:
    """Whether a NaN or an infinity is somewhere in what ``msgspec.to_builtins`` returned."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float):
            if not math.isfinite(value):
                return True
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return False
