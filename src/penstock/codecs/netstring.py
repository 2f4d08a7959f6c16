"""Netstrings: ``5:hello,``, as https://cr.yp.to/proto/netstrings.txt defines them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BadFrameError, BadLengthError, RemoteProtocolError
from .base import (
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_SKIP_BYTES,
    NEED_DATA,
    Buffer,
    NeedData,
    OnOversize,
)
from .octets import BytesCodec, too_long

_COLON = 0x3A
_COMMA = 0x2C


class Netstring(BytesCodec):
    """A netstring for each message: ``5:hello,``.

    Only the canonical form is read: ASCII digits without a leading zero or sign.

    Args:
        on_oversize: What a message over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest frame that is skipped, in bytes; a longer one ends the connection.
        max_frame_bytes: Largest message, in bytes; a longer one is refused on its length.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "netstring"

    def __init__(
        self,
        *,
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        self._set_oversize(on_oversize, max_skip_bytes)
        self._max_digits = len(str(max(max_frame_bytes, max_skip_bytes if on_oversize == "skip" else 0)))

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one frame.

        Raises:
            BadLengthError: The length is not one or more digits, or has a leading zero.
            FrameTooLongError: It is over ``max_frame_bytes``, or has more digits. The message is not waited for.
            BadFrameError: No comma follows the message.
        """
        return self._take(buffer) if self.on_oversize == "close" else self._take_or_skip(buffer, self._take)

    def _take(self, buffer: Buffer) -> bytes | NeedData:
        size, start = self._read_length(buffer, 0)
        end = start + size
        if not start or len(buffer) <= end:
            return NEED_DATA
        if buffer[end] != _COMMA:
            raise _no_comma(buffer[end])
        message = bytes(buffer[start:end])
        del buffer[: end + 1]
        return message

    def encode(self, message: bytes) -> bytes:
        """Put the length before the message and a comma after it.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``.
            TypeError: It is not bytes.
        """
        message = self._payload(message)
        return b"%d:%b," % (len(message), message)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` frames.

        Raises:
            BadLengthError, FrameTooLongError, BadFrameError: As `decode`, for the first one.
        """
        if self.skips:
            return super().decode_many(data, limit)
        messages: list[bytes] = []
        available = len(data)
        at = 0
        while len(messages) < limit:
            try:
                size, start = self._read_length(data, at)
                end = start + size
                if not start or available <= end:
                    break
                if data[end] != _COMMA:
                    raise _no_comma(data[end])
            except RemoteProtocolError:
                if not messages:
                    raise
                break
            messages.append(data[start:end])
            at = end + 1
        return messages, at

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """Put a length before each message and a comma after it.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        if not self._are_plain(messages):
            return super().encode_many(messages)
        return b"".join([b"%d:%b," % (len(message), message) for message in messages])

    def _read_length(self, data: bytes | bytearray, at: int) -> tuple[int, int]:
        """Read the length at ``data[at:]``, and where the message begins: 0 when the colon has not arrived.

        Raises:
            BadLengthError, FrameTooLongError: As `decode`.
        """
        # One byte more than a good length has: the colon, or what refuses it.
        colon = data.find(_COLON, at, at + self._max_digits + 1)
        digits = data[at : colon if colon >= 0 else at + self._max_digits + 1]
        if not digits and colon < 0:
            return 0, 0
        # isdigit on bytes is ASCII alone. int() by itself would read a sign, spaces and underscores.
        if not digits.isdigit() or (len(digits) > 1 and digits.startswith(b"0")):
            raise BadLengthError(f"{bytes(digits)!r} is not a length: write digits without a leading zero")
        if colon < 0 and len(digits) <= self._max_digits:
            return 0, 0
        size = int(digits)
        if size > self.max_frame_bytes:
            raise too_long(size, self.max_frame_bytes, None if colon < 0 else colon + 1 - at + size + 1)
        return size, colon + 1

    def _look_at_end(self, last: int) -> None:
        if last != _COMMA:
            raise _no_comma(last)


def _no_comma(byte: int) -> BadFrameError:
    return BadFrameError(f"a comma ends a netstring, not {bytes((byte,))!r}")
