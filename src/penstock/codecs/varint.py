"""Frames that begin with their length as a Protocol Buffers varint: what ``writeDelimitedTo`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import BadLengthError, FrameTooLongError
from .base import (
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_SKIP_BYTES,
    NEED_DATA,
    Buffer,
    NeedData,
    OnOversize,
)
from .octets import BytesCodec, too_long

# 64 bits in groups of seven. https://protobuf.dev/programming-guides/encoding/#varints
MAX_VARINT_BYTES: Final = 10


def read_varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Read the unsigned varint at ``data[at:]``, and where it ends; the end is 0 when it has not wholly arrived.

    A value has one form only: what could be said in fewer bytes is refused, so that no two readers can disagree.

    Raises:
        BadLengthError: It takes more than 10 bytes or 64 bits, or more bytes than it needs.
    """
    value = 0
    for index, byte in enumerate(data[at : at + MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if byte == 0 and index:
                raise BadLengthError(f"varint of {index + 1} bytes is not in its shortest form")
            if value >= 1 << 64:
                break
            return value, at + index + 1
    else:
        if len(data) - at < MAX_VARINT_BYTES:
            return 0, 0
    raise BadLengthError("varint is longer than 64 bits")


def write_varint(value: int) -> bytes:
    """Write ``value``, 0 to 2**64 - 1, in its shortest form."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_SHORT: Final = tuple(bytes((size,)) for size in range(128))


class Varint(BytesCodec):
    """A Protocol Buffers varint before each message: its length, 7 bits in each byte.

    Args:
        on_oversize: What a message over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest frame that is skipped, in bytes; a longer one ends the connection.
        max_frame_bytes: Largest message, in bytes; a longer one is refused on its length.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "varint"

    def __init__(
        self,
        *,
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        super().__init__(max_frame_bytes=max_frame_bytes)
        self._set_oversize(on_oversize, max_skip_bytes)

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one frame.

        Raises:
            BadLengthError: The varint is over 10 bytes or 64 bits, or not in its shortest form.
            FrameTooLongError: The length is over ``max_frame_bytes``. The message is not waited for.
        """
        return self._take(buffer) if self.on_oversize == "close" else self._take_or_skip(buffer, self._take)

    def _take(self, buffer: Buffer) -> bytes | NeedData:
        size, start = read_varint(buffer, 0)
        if size > self.max_frame_bytes:
            raise too_long(size, self.max_frame_bytes, start + size)
        end = start + size
        if not start or len(buffer) < end:
            return NEED_DATA
        message = bytes(buffer[start:end])
        del buffer[:end]
        return message

    def encode(self, message: bytes) -> bytes:
        """Put the length before the message.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``.
            TypeError: It is not bytes.
        """
        message = self._payload(message)
        return write_varint(len(message)) + message

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` frames.

        Raises:
            BadLengthError, FrameTooLongError: As `decode`, for the first one.
        """
        if self.skips:
            return super().decode_many(data, limit)
        messages: list[bytes] = []
        available = len(data)
        at = 0
        while len(messages) < limit and at < available:
            size = data[at]
            start = at + 1
            try:
                if size > 0x7F:
                    size, start = read_varint(data, at)
                if size > self.max_frame_bytes:
                    raise too_long(size, self.max_frame_bytes, start - at + size)
            except (BadLengthError, FrameTooLongError):
                if not messages:
                    raise
                break
            end = start + size
            if not start or end > available:
                break
            messages.append(data[start:end])
            at = end
        return messages, at

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """Put a length before each message.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        if not self._are_plain(messages):
            return super().encode_many(messages)
        return b"".join(
            [
                (_SHORT[len(message)] if len(message) < 128 else write_varint(len(message))) + message
                for message in messages
            ]
        )
