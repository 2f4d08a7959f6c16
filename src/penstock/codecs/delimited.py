"""Frames that end with a delimiter of one byte or more, or with one of several."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from ..errors import ConfigurationError, FrameTooLongError, LocalProtocolError, TruncatedError
from .base import DEFAULT_MAX_LINE_BYTES, DEFAULT_MAX_SKIP_BYTES, NEED_DATA, Buffer, NeedData, OnOversize
from .octets import BytesCodec, require_choice, require_quiet, require_range

Unterminated = Literal["refuse", "deliver"]

MAX_DELIMITER_BYTES: Final = 256
MAX_DELIMITERS: Final = 64


class Delimited(BytesCodec):
    r"""A message up to each delimiter, of one byte or more.

    The delimiter ends a frame and is no part of the message; the first one found counts. An empty frame is an empty
    message.

    Args:
        delimiter: What ends a frame, 1 to 256 bytes; or several, of which the first one found ends it. `encode` writes
            the first of them.
        keep_delimiter: Let each message end in its delimiter, and send it as it is.
        unterminated: What a last frame without delimiter is at EOF: ``refuse`` it as truncated, or ``deliver`` it.
        on_oversize: What a message over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest message that is skipped, in bytes; a longer one ends the connection.
        quiet_s: A rest without delimiter is a message when nothing has come for that long, in seconds, and at EOF;
            until the peer sends a delimiter for the first time. A delimiter that comes after such a rest is its end,
            and begins no empty message. Not with ``skip``: what is passed over needs an end. None: never.
        max_frame_bytes: Longest message without its delimiter, in bytes; a longer one is refused as soon as it is.

    Raises:
        ConfigurationError: An option is out of its range, or a delimiter can never be met: another, which it holds
            before its end, ends the frame before.
    """

    name = "delimited"

    def __init__(
        self,
        delimiter: bytes | tuple[bytes, ...],
        *,
        keep_delimiter: bool = False,
        unterminated: Unterminated = "refuse",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        quiet_s: float | None = None,
        max_frame_bytes: int = DEFAULT_MAX_LINE_BYTES,
    ) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        self.delimiters = delimiters = _delimiters(delimiter)
        require_choice("unterminated", unterminated, ("refuse", "deliver"))
        self.delimiter = delimiters[0]
        self.keep_delimiter = keep_delimiter
        self.unterminated: Unterminated = unterminated
        self._longest = max(map(len, delimiters))
        # None of them holds another before its end, so the one that begins first also ends first; where one is the end
        # of another, the longer.
        self._pattern = re.compile(b"|".join(map(re.escape, delimiters))) if len(delimiters) > 1 else None
        # A delimiter that ends with its own beginning (``abca``) can be found across the end of a message.
        self._overlaps = any(self.delimiter.startswith(self.delimiter[at:]) for at in range(1, len(self.delimiter)))
        self._set_oversize(on_oversize, max_skip_bytes)
        self._plain = len(delimiters) == 1 and not keep_delimiter and not self.skips
        self._compiled = self._plain
        # Its frames are found by one search, and nothing is to be noted about their ends.
        self._is_simple = self._plain and quiet_s is None
        if quiet_s is not None:
            if on_oversize == "skip":
                raise ConfigurationError("quiet does not go with on_oversize=skip: what is passed over needs an end")
            self.quiet_s = require_quiet(quiet_s)
            self.skips = True  # an end that comes after its rest

    def find_end(self, buffer: Buffer) -> int:
        """Return where the first frame's delimiter begins in ``buffer``, or -1 when it has not arrived.

        For codecs that read a delimited text themselves. The search goes on where the last one stopped; who takes the
        frame sets ``buffer.resume`` to None.

        Raises:
            FrameTooLongError: The frame is longer than ``max_frame_bytes``, terminated or not.
        """
        return self._find_frame(buffer)[0]

    def _find_frame(self, buffer: Buffer) -> tuple[int, int]:
        """Return where the first frame's delimiter begins in ``buffer``, and its length; -1 when it has not arrived.

        A frame that is passed over leaves a part of a delimiter behind, one byte at least, so that it counts as begun.
        """
        while True:
            note = buffer.resume or 0
            if type(note) is Cut:
                if not self._ends_cut(buffer, note):
                    return -1, 0
                note = 0
            # Not below 0: a frame is being passed over.
            gone, start = (note.gone, note.search) if isinstance(note, Gone) else (-1, note)
            end, width = self._search(buffer, start)
            size = end if end >= 0 else len(buffer)
            if gone < 0:
                if size <= self.max_frame_bytes or not self._is_too_long(buffer, size, terminated=end >= 0):
                    if end < 0:
                        buffer.resume = max(0, size - self._longest + 1)
                    elif self.quiet_s is not None:
                        buffer.silence_counts = False
                    return end, width
                if self.on_oversize == "close":
                    raise FrameTooLongError(None, self.max_frame_bytes)
                gone = 0
            # What may be a part of the delimiter is not yet one of the frame.
            if gone + size - (0 if end >= 0 else self._longest - 1) > self.max_skip_bytes:
                raise FrameTooLongError(None, self.max_frame_bytes)
            if end < 0:
                kept = min(size, max(1, self._longest - 1))
                del buffer[: size - kept]
                buffer.resume = Gone(gone + size - kept, max(0, kept - self._longest + 1))
                return -1, 0
            del buffer[: end + width]
            buffer.resume = None
            buffer.skipped += 1

    def _ends_cut(self, buffer: Buffer, cut: Cut) -> bool:
        """Take off the front the end of what a silence has cut off, if it comes now.

        Returns:
            Whether the next frame begins at the front; False: more has to come to say that.
        """
        buffer[:0] = cut.begun
        end = next((each for each in self.delimiters if buffer.startswith(each)), b"")
        if not end and any(each.startswith(buffer) for each in self.delimiters):
            buffer.resume = cut._replace(begun=b"")
            return False
        if cut.owes_end:
            del buffer[: len(end)]
            buffer.silence_counts = buffer.silence_counts and not end
        buffer.resume = None
        return True

    def _search(self, data: bytes | bytearray, start: int) -> tuple[int, int]:
        """Return where the first delimiter in ``data[start:]`` begins, -1 for nowhere, and its length."""
        if self._pattern is None:
            return data.find(self.delimiter, start), len(self.delimiter)
        match = self._pattern.search(data, start)
        return (-1, 0) if match is None else (match.start(), match.end() - match.start())

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one frame.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``, terminated or not.
        """
        note = buffer.resume
        if self._is_simple and (note is None or type(note) is int):  # as `_find_frame` would, in fewer calls
            end = buffer.find(self.delimiter, note or 0)
            if 0 <= end <= self.max_frame_bytes:
                message = bytes(buffer[:end])
                del buffer[: end + self._longest]
                buffer.resume = None
                return message
            if end < 0 and (size := len(buffer)) <= self.max_frame_bytes:
                buffer.resume = max(0, size - self._longest + 1)
                return NEED_DATA
        end, width = self._find_frame(buffer)
        if end < 0:
            return NEED_DATA
        message = bytes(buffer[: end + width if self.keep_delimiter else end])
        del buffer[: end + width]
        buffer.resume = None
        return message

    def decode_quiet(self, buffer: Buffer) -> bytes | NeedData:
        """Take the rest as a message, without what may be the beginning of its delimiter."""
        begun = self._begun(buffer)
        message = bytes(buffer[: len(buffer) - len(begun)])
        buffer.clear()
        buffer.resume = Cut(begun, owes_end=owes_end_after(buffer, message))
        return message or NEED_DATA

    def _begun(self, rest: Buffer) -> bytes:
        """Return the longest end of ``rest`` that a delimiter begins with."""
        for size in range(min(self._longest - 1, len(rest)), 0, -1):
            end = bytes(rest[-size:])
            if any(len(delimiter) > size and delimiter.startswith(end) for delimiter in self.delimiters):
                return end
        return b""

    def finish(self, buffer: Buffer) -> bytes | NeedData:
        """Deliver the unterminated rest, if there is one and that was asked for.

        Raises:
            TruncatedError: There is one and that was not asked for.
            FrameTooLongError: With what could have become its delimiter it is longer than ``max_frame_bytes``.
        """
        gone = buffer.resume.gone if type(buffer.resume) is Gone else 0
        if not buffer or not self._delivers_rest(buffer):
            if gone:
                raise TruncatedError(gone + len(buffer), bytes(buffer))
            return super().finish(buffer)
        size = gone + len(buffer)
        if gone or (size > self.max_frame_bytes and self._is_too_long(buffer, size, terminated=True)):
            if self.on_oversize == "close" or size > self.max_skip_bytes:
                raise FrameTooLongError(size, self.max_frame_bytes)
            buffer.skipped += 1
            buffer.clear()
            buffer.resume = None
            return NEED_DATA
        message = self._last(buffer)
        buffer.clear()
        buffer.resume = None
        return message

    def _delivers_rest(self, buffer: Buffer) -> bool:
        """Say whether the unterminated rest at EOF is a message: EOF is a silence, too."""
        return self.unterminated == "deliver" or (self.quiet_s is not None and buffer.silence_counts)

    def _last(self, buffer: Buffer) -> bytes | NeedData:
        """Return the message that is the unterminated rest: as if its delimiter had come, by whose `decode` it is."""
        framed = Buffer(bytes(buffer) + self.delimiter)
        # A delimiter may overlap the end of the rest.
        if self.keep_delimiter or self._search(framed, 0)[0] != len(buffer):
            return bytes(buffer)
        return self.decode(framed)

    def encode(self, message: bytes) -> bytes:
        """Put the delimiter after the message.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, or the delimiter would be found before its end.
            TypeError: It is not bytes.
        """
        if self.keep_delimiter:
            return self._with_delimiter(self._octets(message))
        message = self._payload(message)
        data = message + self.delimiter
        end, width = self._search(data, 0)
        if end != len(message):
            raise LocalProtocolError(f"the message holds the delimiter {data[end : end + width]!r}")
        return data

    def _with_delimiter(self, message: bytes) -> bytes:
        end, width = self._search(message, 0)
        if end < 0 or end + width != len(message):
            raise LocalProtocolError("the message has no delimiter at its end, or one before: keep_delimiter is set")
        self._payload(message[:end])
        return message

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` frames, at nearly the cost of ``bytes.split``.

        Raises:
            FrameTooLongError: The first one is longer than ``max_frame_bytes``, terminated or not.
        """
        if not self._plain:
            return super().decode_many(data, limit)
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
            and self._plain
            and data.count(delimiter) == count
            and self._all_fit(messages, len(data) - count * len(delimiter))
        ):
            return data
        return super().encode_many(messages)

    def decode_datagram(self, data: bytes) -> bytes:
        """Return the whole datagram, which may be empty.

        Raises:
            FrameTooLongError: It is longer than ``max_frame_bytes``, not counting a delimiter that is kept.
        """
        if self.keep_delimiter and self._bare_size(data) <= self.max_frame_bytes:
            return data
        return super().decode_datagram(data)

    def encode_datagram(self, message: bytes) -> bytes:
        """Return the message as it is.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``, not counting a delimiter that is kept.
            TypeError: It is not bytes.
        """
        message = self._octets(message)
        if self.keep_delimiter and self._bare_size(message) <= self.max_frame_bytes:
            return message
        return super().encode_datagram(message)

    def _bare_size(self, message: bytes) -> int:
        """Return the size of a message without the delimiter at its end, if there is one."""
        return len(message) - max(len(each) if message.endswith(each) else 0 for each in self.delimiters)

    def _is_within(self, frame: bytes) -> bool:
        return len(frame) <= self.max_frame_bytes or not self._is_too_long(frame, len(frame), terminated=True)

    def _is_too_long(self, data: bytes | bytearray, size: int, *, terminated: bool) -> bool:
        """Whether a frame whose first ``size`` bytes, more than the limit, are ``data[:size]`` is over the limit.

        It is not yet when ``data`` may end in the first bytes of the delimiter, from the limit or earlier on.
        """
        if terminated:
            return True
        starts = range(max(0, size - self._longest + 1), self.max_frame_bytes + 1)
        return not any(
            delimiter.startswith(bytes(data[start:size])) for start in starts for delimiter in self.delimiters
        )


class Gone(NamedTuple):
    """Of a frame that is passed over: how many of its bytes are gone, and where the search for its end goes on."""

    gone: int
    search: int


class Cut(NamedTuple):
    """What a silence has left behind: the beginning of a delimiter, and whether one is to come that ends a message."""

    begun: bytes
    owes_end: bool


def owes_end_after(buffer: Buffer, message: bytes) -> bool:
    """Say whether a delimiter that comes next ends what a silence has cut off: this message, or the one before."""
    return bool(message) or (type(buffer.resume) is Cut and buffer.resume.owes_end)


def _delimiters(given: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the delimiters, once they are found to be some.

    Raises:
        ConfigurationError: There is none, one is too long or empty, or can never be met.
    """
    delimiters = tuple(map(bytes, (given,) if isinstance(given, bytes | bytearray | memoryview) else given))
    require_range("the number of delimiters", len(delimiters), 1, MAX_DELIMITERS)
    for delimiter in delimiters:
        require_range("the length of the delimiter", len(delimiter), 1, MAX_DELIMITER_BYTES)
    for delimiter in delimiters:
        for other in delimiters:
            if delimiter is not other and other in delimiter[:-1]:
                raise ConfigurationError(f"the delimiter {delimiter!r} is never met: {other!r} ends the frame before")
    return tuple(dict.fromkeys(delimiters))
