"""Frames that all have one size."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import LocalProtocolError, TruncatedError
from .base import NEED_DATA, Buffer, NeedData
from .octets import BytesCodec, require_range


class Fixed(BytesCodec):
    """Messages that are all of one size.

    Args:
        size: Bytes of each message, 1 or more; also its ``max_frame_bytes``. A datagram holds exactly as many.

    Raises:
        ConfigurationError: ``size`` is below 1.
    """

    name = "fixed"

    def __init__(self, size: int) -> None:
        super().__init__(max_frame_bytes=require_range("size", size, 1))
        self.size = size

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take ``size`` bytes. Nothing is ever refused."""
        size = self.size
        if len(buffer) < size:
            return NEED_DATA
        message = bytes(buffer[:size])
        del buffer[:size]
        return message

    def encode(self, message: bytes) -> bytes:
        """Return the message as it is.

        Raises:
            LocalProtocolError: It is not of ``size`` bytes.
            TypeError: It is not bytes.
        """
        if type(message) is bytes and len(message) == self.size:
            return message
        message = self._octets(message)
        if len(message) != self.size:
            raise LocalProtocolError(f"message of {len(message)} bytes where each has {self.size}")
        return message

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` messages."""
        size = self.size
        taken = max(0, min(len(data) // size, limit)) * size
        return [data[at : at + size] for at in range(0, taken, size)], taken

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """Join the messages.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        if self._are_plain(messages) and set(map(len, messages)) == {self.size}:
            return b"".join(messages)
        return super().encode_many(messages)

    def decode_datagram(self, data: bytes) -> bytes:
        """Return the whole datagram.

        Raises:
            TruncatedError: It is shorter than ``size``.
            FrameTooLongError: It is longer than ``size``.
        """
        if len(data) < self.size:
            raise TruncatedError(len(data), data)
        return super().decode_datagram(data)

    def encode_datagram(self, message: bytes) -> bytes:
        """Return the message as it is.

        Raises:
            LocalProtocolError, TypeError: As `encode`.
        """
        return self.encode(message)
