"""The RESP codec."""

from __future__ import annotations

from typing import Any, Final, Literal

from ...errors import FrameTooLongError, LocalProtocolError, RemoteProtocolError
from ..base import DEFAULT_MAX_DEPTH, DEFAULT_MAX_FRAME_BYTES, HIGHEST_MAX_DEPTH, NEED_DATA, Buffer, Codec, NeedData
from ..octets import require_choice, require_range
from .frames import KNOWN_TYPES, LF, find_end
from .parse import parse_value, split_inline
from .write import write_value

# As Redis limits them (PROTO_INLINE_MAX_SIZE).
MAX_INLINE_BYTES: Final = 64 * 1024

_ARRAY: Final = ord("*")
_COUNTS: Final = {b"*%d" % count: count for count in range(64)}


class Resp(Codec[Any]):
    r"""RESP2 and RESP3, the protocols of Redis: each message is one value.

    A command arrives as a list of bytes. Bulk strings are bytes, arrays are lists, sets are frozensets, maps are dicts,
    nulls None; integers, doubles, booleans and big numbers are Python's. For the rest there are `SimpleString`,
    `ErrorReply`, `VerbatimString`, `Push` and `Attributed`. Both versions are read; ``protocol`` says which is written.
    Of a key that stands twice in a map the last value counts. What Python cannot hold, or would merge, is listed: a set
    as a `ListedSet`, a map as a `ListedMap`. No key of a map is a container or a number beyond 64 bits. The streamed
    values of RESP3, which Redis has never sent, are refused.

    Args:
        protocol: 2: what RESP2 has no type for is refused by `encode`. 3: null is ``_``, and every type is written.
        inline: Whether commands are read, as a server of Redis reads them: a line that begins with no type byte is a
            command in words (``PING\r\n`` gives ``[b"PING"]``), and what holds no word, a blank line or an empty array,
            is passed over. Off by default: with it the first line of an HTTP request is a command as well.
        max_depth: How many arrays, sets, maps, pushes and attributes may stand one inside the other, 1 to 512.
        max_frame_bytes: Largest value, in bytes of RESP; a length or count above it is refused on its header.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "resp"
    message_type = object

    def __init__(
        self,
        *,
        protocol: Literal[2, 3] = 2,
        inline: bool = False,
        max_depth: int = DEFAULT_MAX_DEPTH,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        require_choice("protocol", protocol, (2, 3))
        self.max_frame_bytes = require_range("max_frame_bytes", max_frame_bytes, 1)
        self.max_depth = require_range("max_depth", max_depth, 1, HIGHEST_MAX_DEPTH)
        self.protocol: Literal[2, 3] = protocol
        self.inline = self.skips = inline

    def decode(self, buffer: Buffer) -> Any | NeedData:
        """Take one value.

        Raises:
            FrameTooLongError: It has to be longer than ``max_frame_bytes``, as its headers so far say.
            BadLengthError: A length or count is not in its canonical form.
            BadFrameError: A type byte is unknown, a terminator is missing, or a push is inside another value.
            BadPayloadError: It is nested deeper than ``max_depth``, or a number, boolean, verbatim string, map key, set
                member or inline command is malformed.
        """
        progress: Any
        while True:
            if self.inline and buffer and buffer[0] not in KNOWN_TYPES:
                end, progress = self._find_inline_end(buffer, 0, buffer.resume)
            else:
                end, progress = find_end(buffer, 0, buffer.resume, self.max_frame_bytes, self.max_depth)
            if not end:
                # Of an empty buffer there is nothing to remember: only its first byte says which of the two goes on.
                buffer.resume = progress if buffer else None
                return NEED_DATA
            frame = bytes(buffer[:end])
            message = self._parse(frame)
            del buffer[:end]
            buffer.resume = None
            if not self.inline or says_something(frame[0], message):
                return message

    def finish(self, buffer: Buffer) -> NeedData:
        """Refuse what is left, unless it is the blank beginning of a line and ``inline`` is set.

        Raises:
            TruncatedError: The stream ended in the middle of a value.
        """
        if self.inline and not buffer.strip():
            buffer.clear()
        super().finish(buffer)
        return NEED_DATA

    def encode(self, message: Any) -> bytes:
        """Write one value.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes`` or deeper than ``max_depth``, ``protocol`` has no
                type for it, a simple string holds CR or LF, a number has over 640 digits, a push is not outermost, a
                container or a number beyond 64 bits is the key of a map or a member of a set that is not listed, or a
                command in words has none.
            TypeError: It holds a value of a type that RESP does not give back: a str or a tuple, say.
        """
        data = write_value(message, resp3=self.protocol == 3, max_depth=self.max_depth)
        if len(data) > self.max_frame_bytes:
            raise LocalProtocolError(f"value of {len(data)} bytes exceeds max_frame_bytes={self.max_frame_bytes}")
        return data

    def decode_many(self, data: bytes, limit: int) -> tuple[list[Any], int]:
        """Take up to ``limit`` values, commands the fastest.

        Raises:
            RemoteProtocolError: As `decode`, for the first one.
        """
        messages, at = self._read_commands(data, limit)
        taken = at
        size = len(data)
        while len(messages) < limit and at < size:
            try:
                if self.inline and data[at] not in KNOWN_TYPES:
                    end, _ = self._find_inline_end(data, at, None)
                else:
                    end, _ = find_end(data, at, None, self.max_frame_bytes, self.max_depth)
                if not end:
                    break
                message = self._parse(data[at:end])
            except RemoteProtocolError:
                if not messages:
                    raise
                break
            if not self.inline or says_something(data[at], message):
                messages.append(message)
                taken = end
            at = end
        return messages, taken

    def _parse(self, frame: bytes) -> Any:
        if frame[0] in KNOWN_TYPES:
            return parse_value(frame, 0)[0]
        return split_inline(frame)

    def _find_inline_end(self, data: bytes | bytearray, start: int, search: int | None) -> tuple[int, int]:
        """Return where the line at ``data[start:]`` ends, its LF included, or 0 and where to go on searching."""
        last = start + min(self.max_frame_bytes, MAX_INLINE_BYTES) - 1
        line_end = data.find(LF, search or start, last + 1)
        if line_end < 0 and len(data) > last:
            raise FrameTooLongError(None, last + 1 - start)
        return line_end + 1, len(data)

    def _read_commands(self, data: bytes, limit: int) -> tuple[list[Any], int]:
        """Read the commands, arrays of bulk strings, that ``data`` begins with, and how many bytes they took.

        The quick way for what nearly all messages are: one split for all of them. It stops at the first that is
        anything else, or incomplete, or holds CRLF: that one is read the other way.
        """
        commands: list[Any] = []
        at = 0
        # What is split and not used is split again by the next call, hence not without bound.
        pieces = data.split(b"\r\n", 16 * max(0, limit))
        last = len(pieces) - 1
        first = 0
        while len(commands) < limit and first < last:
            count = _COUNTS.get(pieces[first])
            if count is None or (count == 0 and self.inline):
                break
            after = first + 1 + 2 * count
            arguments = pieces[first + 2 : after : 2]
            if after > last or pieces[first + 1 : after : 2] != [b"$%d" % len(argument) for argument in arguments]:
                break
            size = sum(map(len, pieces[first:after])) + 2 * (after - first)
            if size > self.max_frame_bytes:
                break
            commands.append(arguments)
            at += size
            first = after
        return commands, at


def says_something(first: int, message: Any) -> bool:
    """Whether what begins with the byte ``first`` is a command of one word or more, or no command at all."""
    return bool(message) or (first in KNOWN_TYPES and first != _ARRAY)
