"""Lines: text or bytes up to a line feed, with or without a carriage return before it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from ..errors import ConfigurationError, FrameTooLongError, LocalProtocolError
from .base import DEFAULT_MAX_LINE_BYTES, NEED_DATA, Buffer, NeedData
from .octets import BytesCodec, require_choice

Unterminated = Literal["refuse", "deliver"]

_LF = 0x0A
_CR = 0x0D


class Lines(BytesCodec):
    r"""A message for each line: LF or CRLF is accepted, LF is sent.

    A line never ends in CR: all that stand before the LF are dropped (text converted twice has two), and `encode`
    refuses a message that ends in one. So what was received can always be sent, and comes back as it was. CR elsewhere
    in a line is data. Bytes are not decoded; an empty line is an empty message.

    Args:
        newline: What `encode` ends a line with: ``lf`` or ``crlf``.
        keep_cr: A line ends at LF alone and CR before it is data. Not with ``crlf``, whose CR would then be data.
        unterminated: What a last line without LF is at EOF: ``refuse`` it as truncated, or ``deliver`` it.
        max_frame_bytes: Longest line without its LF or CRLF, in bytes; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range, or ``keep_cr`` comes with ``crlf``.
    """

    name = "lines"

    def __init__(
        self,
        *,
        newline: Literal["lf", "crlf"] = "lf",
        keep_cr: bool = False,
        unterminated: Unterminated = "refuse",
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        require_choice("newline", newline, ("lf", "crlf"))
        require_choice("unterminated", unterminated, ("refuse", "deliver"))
        if keep_cr and newline == "crlf":
            raise ConfigurationError("keep_cr does not go with newline=crlf: use the codec delimited for CRLF alone")
        self.keep_cr = keep_cr
        self.newline: Literal["lf", "crlf"] = newline
        self.unterminated: Unterminated = unterminated
        self._end = b"\r\n" if newline == "crlf" else b"\n"

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one line.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``, terminated or not.
        """
        end = buffer.find(_LF, buffer.resume or 0)
        size = end if end >= 0 else len(buffer)
        if size > self.max_frame_bytes and self._is_too_long(buffer, size):
            raise FrameTooLongError(None, self.max_frame_bytes)
        if end < 0:
            buffer.resume = size
            return NEED_DATA
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        buffer.resume = None
        return line if self.keep_cr else line.rstrip(b"\r")

    def finish(self, buffer: Buffer) -> bytes | NeedData:
        """Deliver the unterminated rest, if there is one and it was asked for.

        Raises:
            TruncatedError: There is one and it was not asked for.
        """
        if not buffer or self.unterminated == "refuse":
            return super().finish(buffer)
        line = bytes(buffer)
        buffer.clear()
        buffer.resume = None
        return line if self.keep_cr else line.rstrip(b"\r")

    def encode(self, message: bytes) -> bytes:
        """End the message with a newline.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, holds LF, or ends in CR without ``keep_cr``.
            TypeError: It is not bytes.
        """
        message = self._payload(message)
        if _LF in message:
            raise LocalProtocolError("a line cannot hold LF: it would arrive as two")
        if not self.keep_cr and message.endswith(b"\r"):
            raise LocalProtocolError("a line cannot end in CR: it would arrive without it")
        return message + self._end

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` lines, at nearly the cost of ``bytes.split``.

        Raises:
            FrameTooLongError: The first line is longer than ``max_frame_bytes``, terminated or not.
        """
        if limit < 1:
            return [], 0
        lines = data.split(b"\n", limit)
        rest = lines.pop()
        taken = len(data) - len(rest)
        # One look at the whole chunk stands for a look at each line: most chunks are within the limit and without CR.
        if len(data) > self.max_frame_bytes:
            if not lines and self._is_too_long(data, len(data)):
                raise FrameTooLongError(None, self.max_frame_bytes)
            if lines and max(map(len, lines)) > self.max_frame_bytes:
                lines, taken = self._before_too_long(lines)
        if _CR in data and not self.keep_cr:
            lines = [line.rstrip(b"\r") for line in lines]
        return lines, taken

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """End each message with a newline, at nearly the cost of ``bytes.join``.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        count = len(messages)
        if count == 0:
            return b""
        end = self._end
        data = end.join(messages) + end
        if (
            data.count(_LF) == count
            and (self.keep_cr or data.count(_CR) == (count if end == b"\r\n" else 0))
            and self._all_fit(messages, len(data) - count * len(end))
        ):
            return data
        return super().encode_many(messages)

    def _is_too_long(self, data: bytes | Buffer, size: int) -> bool:
        """Whether the line ``data[:size]`` is over the limit; one CR that may belong to its end does not count."""
        excess = size - self.max_frame_bytes
        return excess > 1 or (excess == 1 and (self.keep_cr or data[size - 1] != _CR))

    def _before_too_long(self, lines: list[bytes]) -> tuple[list[bytes], int]:
        """Return the lines before the first that is over the limit, and the bytes they took with their LF.

        Raises:
            FrameTooLongError: The first one is.
        """
        good = list(itertools.takewhile(lambda line: not self._is_too_long(line, len(line)), lines))
        if not good:
            raise FrameTooLongError(None, self.max_frame_bytes)
        return good, sum(map(len, good)) + len(good)
