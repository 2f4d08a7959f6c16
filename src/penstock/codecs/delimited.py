"""Frames that end with a delimiter of one byte or more."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, Literal

from ..errors import FrameTooLongError, LocalProtocolError
from .base import DEFAULT_MAX_LINE_BYTES, NEED_DATA, Buffer, NeedData
from .octets import BytesCodec, require_choice, require_range

Unterminated = Literal["refuse", "deliver"]

MAX_DELIMITER_BYTES: Final = 256


class Delimited(BytesCodec):
    r"""A message up to each delimiter, of one byte or more.

    The delimiter ends a frame and is no part of the message; the first one found counts. An empty frame is an empty
    message.

    Args:
        delimiter: What ends a frame, 1 to 256 bytes.
        unterminated: What a last frame without delimiter is at EOF: ``refuse`` it as truncated, or ``deliver`` it.
        max_frame_bytes: Longest message without its delimiter, in bytes; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "delimited"

    def __init__(
        self,
        delimiter: bytes,
        *,
        unterminated: Unterminated = "refuse",
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        require_range("the length of the delimiter", len(delimiter), 1, MAX_DELIMITER_BYTES)
        require_choice("unterminated", unterminated, ("refuse", "deliver"))
        self.delimiter = bytes(delimiter)
        self.unterminated: Unterminated = unterminated
        # A delimiter that ends with its own beginning (``abca``) can be found across the end of a message.
        self._overlaps = any(delimiter.startswith(delimiter[at:]) for at in range(1, len(delimiter)))

    def find_end(self, buffer: Buffer) -> int:
        """Return where the first frame's delimiter begins in ``buffer``, or -1 when it has not arrived.

        For codecs that read a delimited text themselves. The search goes on where the last one stopped; who takes the
        frame sets ``buffer.resume`` to None.

        Raises:
            FrameTooLongError: The frame is longer than ``max_frame_bytes``, terminated or not.
        """
        end = buffer.find(self.delimiter, buffer.resume or 0)
        size = end if end >= 0 else len(buffer)
        if size > self.max_frame_bytes and self._is_too_long(buffer, size, terminated=end >= 0):
            raise FrameTooLongError(None, self.max_frame_bytes)
        if end < 0:
            buffer.resume = max(0, size - len(self.delimiter) + 1)
        return end

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one frame.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``, terminated or not.
        """
        end = self.find_end(buffer)
        if end < 0:
            return NEED_DATA
        message = bytes(buffer[:end])
        del buffer[: end + len(self.delimiter)]
        buffer.resume = None
        return message

    def finish(self, buffer: Buffer) -> bytes | NeedData:
        """Deliver the unterminated rest, if there is one and that was asked for.

        Raises:
            TruncatedError: There is one and that was not asked for.
            FrameTooLongError: With what could have become its delimiter it is longer than ``max_frame_bytes``.
        """
        if not buffer or self.unterminated == "refuse":
            return super().finish(buffer)
        if len(buffer) > self.max_frame_bytes and self._is_too_long(buffer, len(buffer), terminated=True):
            raise FrameTooLongError(len(buffer), self.max_frame_bytes)
        message = self._last(buffer)
        buffer.clear()
        buffer.resume = None
        return message

    def _last(self, buffer: Buffer) -> bytes | NeedData:
        """Return the message that is the unterminated rest: as if its delimiter had come, by whose `decode` it is."""
        framed = Buffer(bytes(buffer) + self.delimiter)
        if framed.find(self.delimiter) != len(buffer):  # across the end of the rest, which a delimiter may overlap
            return bytes(buffer)
        return self.decode(framed)

    def encode(self, message: bytes) -> bytes:
        """Put the delimiter after the message.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, or the delimiter would be found before its end.
            TypeError: It is not bytes.
        """
        message = self._payload(message)
        data = message + self.delimiter
        if data.find(self.delimiter) != len(message):
            raise LocalProtocolError(f"the message holds the delimiter {self.delimiter!r}")
        return data

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` frames, at nearly the cost of ``bytes.split``.

        Raises:
            FrameTooLongError: The first one is longer than ``max_frame_bytes``, terminated or not.
        """
        if limit < 1:
            return [], 0
        frames = data.split(self.delimiter, limit)
        taken = len(data) - len(frames.pop())
        # One look at the whole chunk stands for a look at each frame: most chunks are within the limit.
        if len(data) > self.max_frame_bytes:
            if frames:
                if max(map(len, frames)) > self.max_frame_bytes:
                    frames = list(itertools.takewhile(self._is_within, frames))
                    taken = sum(map(len, frames)) + len(frames) * len(self.delimiter)
            elif not self._is_too_long(data, len(data), terminated=False):
                return [], 0
            if not frames:
                raise FrameTooLongError(None, self.max_frame_bytes)
        return frames, taken

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """Put the delimiter after each message, at nearly the cost of ``bytes.join``.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        count = len(messages)
        if count == 0:
            return b""
        delimiter = self.delimiter
        data = delimiter.join(messages) + delimiter
        # Delimiters that cannot overlap and are as many as the messages are those put in, and no other.
        if (
            not self._overlaps
            and data.count(delimiter) == count
            and self._all_fit(messages, len(data) - count * len(delimiter))
        ):
            return data
        return super().encode_many(messages)

    def _is_within(self, frame: bytes) -> bool:
        return len(frame) <= self.max_frame_bytes or not self._is_too_long(frame, len(frame), terminated=True)

    def _is_too_long(self, data: bytes | bytearray, size: int, *, terminated: bool) -> bool:
        """Whether a frame whose first ``size`` bytes, more than the limit, are ``data[:size]`` is over the limit.

        It is not yet when ``data`` may end in the first bytes of the delimiter, from the limit or earlier on.
        """
        if terminated:
            return True
        starts = range(max(0, size - len(self.delimiter) + 1), self.max_frame_bytes + 1)
        return not any(self.delimiter.startswith(bytes(data[start:size])) for start in starts)
