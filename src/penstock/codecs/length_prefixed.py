"""Frames that begin with their length as a binary integer of fixed size."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, Literal

from ..errors import BadLengthError, FrameTooLongError, LocalProtocolError, RemoteProtocolError
from .base import DEFAULT_MAX_FRAME_BYTES, NEED_DATA, Buffer, NeedData
from .octets import BytesCodec, require_choice, require_range

MAX_OFFSET_BYTES: Final = 1024

_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class LengthPrefixed(BytesCodec):
    """A binary length of 1, 2, 3, 4 or 8 bytes before each message.

    A frame is ``offset`` bytes of header, the length field and the body. The field is unsigned; the body is as long as
    its value plus ``adjustment`` says.

    Args:
        size: Bytes of the length field: 1, 2, 3, 4 or 8.
        byteorder: ``big`` (network order) or ``little``.
        offset: Bytes of header before the length field, 0 to 1024.
        adjustment: Added to the field's value to get the number of bytes after it: ``-4`` where a 4-byte length counts
            itself, ``2`` where two bytes follow that it does not count.
        header: ``drop``: the message is the body. ``keep``: the message is the whole frame, header and length included,
            and `encode` sends it as it is once the length in it is right.
        max_frame_bytes: Largest message, in bytes; a longer one is refused on its length field.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "length-prefixed"

    def __init__(
        self,
        *,
        size: Literal[1, 2, 3, 4, 8] = 4,
        byteorder: Literal["big", "little"] = "big",
        offset: int = 0,
        adjustment: int = 0,
        header: Literal["drop", "keep"] = "drop",
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        require_choice("size", size, (1, 2, 3, 4, 8))
        require_choice("byteorder", byteorder, ("big", "little"))
        require_choice("header", header, ("drop", "keep"))
        self.size = size
        self.byteorder: Literal["big", "little"] = byteorder
        self.offset = require_range("offset", offset, 0, MAX_OFFSET_BYTES)
        self.adjustment = adjustment
        self.header: Literal["drop", "keep"] = header
        self._body_at = offset + size
        self._message_at = 0 if header == "keep" else self._body_at
        kept = self._body_at - self._message_at
        super().__init__(max_frame_bytes=require_range("max_frame_bytes", max_frame_bytes, max(1, kept)))
        self._max_body = max_frame_bytes - kept
        self._read = _reader(size, byteorder)
        self._write = _writer(size, byteorder)
        # Whether there is nothing before the length, and it can say how long any message is that the cap allows.
        self._says_all = self._message_at == size and adjustment <= 0 and max_frame_bytes - adjustment < 1 << 8 * size

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take one frame.

        Raises:
            BadLengthError: The length, with the adjustment, is below zero.
            FrameTooLongError: The message is longer than ``max_frame_bytes``. Its body is not waited for.
        """
        if len(buffer) < self._body_at:
            return NEED_DATA
        (length,) = self._read(buffer, self.offset)
        body = length + self.adjustment
        if not 0 <= body <= self._max_body:
            raise self._refuse(body)
        end = self._body_at + body
        if len(buffer) < end:
            return NEED_DATA
        message = bytes(buffer[self._message_at : end])
        del buffer[:end]
        return message

    def encode(self, message: bytes) -> bytes:
        """Put the length before the message; with ``header="keep"``, see that it is there.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes`` or than the length field can say; the frame to be
                sent as it is holds another length; or there is a header before the length, which only
                ``header="keep"`` can send.
            TypeError: It is not bytes.
        """
        message = self._payload(message)
        body = len(message)
        if self.header == "keep":
            body -= self._body_at
            if body < 0 or self._read(message, self.offset)[0] + self.adjustment != body:
                raise LocalProtocolError(f"the length field of the frame of {len(message)} bytes does not say so")
            return message
        if self.offset:
            raise LocalProtocolError("the header before the length is not known: header=keep sends whole frames")
        length = body - self.adjustment
        if not 0 <= length < 1 << 8 * self.size:
            raise LocalProtocolError(f"a length field of {self.size} bytes cannot say {length}")
        return self._write(length) + message

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take up to ``limit`` frames.

        Raises:
            BadLengthError, FrameTooLongError: As `decode`, for the first one.
        """
        messages: list[bytes] = []
        append, read, max_body = messages.append, self._read, self._max_body
        field, kept, body_at, adjustment = self.size, self._body_at - self._message_at, self._body_at, self.adjustment
        size = len(data)
        start = body_at  # of the body, right behind its length
        for _ in range(limit):
            if start > size:
                break
            (length,) = read(data, start - field)
            body = length + adjustment
            if body > max_body or body < 0:
                if not messages:
                    raise self._refuse(body)
                break
            end = start + body
            if end > size:
                break
            append(data[start - kept : end])
            start = end + body_at
        return messages, start - body_at

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """Put a length before each message.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        if self._says_all and self._are_plain(messages):
            adjustment = self.adjustment
            lengths = [len(message) - adjustment for message in messages] if adjustment else map(len, messages)
            parts = [b""] * (2 * len(messages))
            parts[::2] = map(self._write, lengths)
            parts[1::2] = messages
            return b"".join(parts)
        # A header, or something unusual: look at each.
        return super().encode_many(messages)

    def _refuse(self, body: int) -> RemoteProtocolError:
        if body < 0:
            return BadLengthError(f"length {body - self.adjustment} is below the least, {-self.adjustment}")
        return FrameTooLongError(body + self._body_at - self._message_at, self.max_frame_bytes)


def _reader(size: int, byteorder: Literal["big", "little"]) -> Callable[[bytes | bytearray, int], tuple[int]]:
    """Return a function that reads the unsigned integer at an offset, as ``Struct.unpack_from`` does."""
    if size in _CODES:
        return _struct(size, byteorder).unpack_from

    def read(data: bytes | bytearray, offset: int) -> tuple[int]:
        return (int.from_bytes(data[offset : offset + size], byteorder),)

    return read


def _writer(size: int, byteorder: Literal["big", "little"]) -> Callable[[int], bytes]:
    """Return a function that makes ``size`` bytes of an unsigned integer that fits in them."""
    if size in _CODES:
        return _struct(size, byteorder).pack
    return lambda length: length.to_bytes(size, byteorder)


def _struct(size: int, byteorder: Literal["big", "little"]) -> struct.Struct:
    return struct.Struct((">" if byteorder == "big" else "<") + _CODES[size])
