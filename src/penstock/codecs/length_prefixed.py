"""Frames that begin with their length in a field of fixed size."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeVar, overload

from ..errors import BadLengthError, ConfigurationError, LocalProtocolError, RemoteProtocolError
from .base import (
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_SKIP_BYTES,
    NEED_DATA,
    Buffer,
    NeedData,
    OnOversize,
)
from .headers import MAX_OFFSET_BYTES, HeadedCodec, Header
from .octets import require_choice, require_range, too_long

M = TypeVar("M")

_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class LengthPrefixed(HeadedCodec[M]):
    """A length of fixed size before each message: 1 to 8 bytes in binary, or digits.

    A frame is ``offset`` bytes of header, the length field and the body. The field is unsigned; the body is as long as
    its value plus ``adjustment`` says.

    Args:
        size: Bytes of the length field: 1 to 8, and up to 16 of ``ascii``.
        encoding: What the length is written in: ``binary``, or decimal digits, all of them, with leading zeros: as
            ``ascii`` (``0042``) or ``bcd``, two in each byte (``00 42``).
        byteorder: ``big`` (network order) or ``little``. Digits are ``big``.
        offset: Bytes of header before the length field, 0 to 1024.
        adjustment: Added to the field's value to get the number of bytes after it: ``-4`` where a 4-byte length counts
            itself, ``2`` where two bytes follow that it does not count.
        header: ``drop``: the message is the body. ``keep``: the message is the whole frame, header and length included,
            and `encode` sends it as it is once the length in it is right. ``split``: the message is the header, of
            ``offset`` bytes, and the body, ``(header, body)``; the length between them is filled in.
        strip: How many bytes at the front of a frame are no part of the message: ``header``, all up to and with the
            length, or a number, 0 being ``header="keep"``. With any other than these, nothing can be sent.
        on_oversize: What a message over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest frame that is skipped, in bytes; a longer one ends the connection.
        max_frame_bytes: Largest message, in bytes; a longer one is refused on its length field.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "length-prefixed"

    @overload
    def __init__(
        self: LengthPrefixed[bytes],
        *,
        size: int = 4,
        encoding: Literal["binary", "ascii", "bcd"] = "binary",
        byteorder: Literal["big", "little"] = "big",
        offset: int = 0,
        adjustment: int = 0,
        header: Literal["drop", "keep"] = "drop",
        strip: int | Literal["header"] = "header",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None: ...

    @overload
    def __init__(
        self: LengthPrefixed[tuple[bytes, bytes]],
        *,
        size: int = 4,
        encoding: Literal["binary", "ascii", "bcd"] = "binary",
        byteorder: Literal["big", "little"] = "big",
        offset: int = 0,
        adjustment: int = 0,
        header: Literal["split"],
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None: ...

    def __init__(
        self,
        *,
        size: int = 4,
        encoding: Literal["binary", "ascii", "bcd"] = "binary",
        byteorder: Literal["big", "little"] = "big",
        offset: int = 0,
        adjustment: int = 0,
        header: Header = "drop",
        strip: int | Literal["header"] = "header",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        require_choice("encoding", encoding, ("binary", "ascii", "bcd"))
        require_range("size", size, 1, 16 if encoding == "ascii" else 8)
        require_choice("byteorder", byteorder, ("big", "little"))
        self._set_header(offset, header)
        if encoding != "binary" and byteorder == "little":
            raise ConfigurationError("byteorder=little is for encoding=binary: digits begin with the highest")
        if header == "keep" and strip not in ("header", 0):
            raise ConfigurationError("header=keep strips nothing: leave out one of header and strip")
        if header == "split" and strip != "header":
            raise ConfigurationError("header=split gives the header by itself: leave out strip")
        self.encoding = encoding
        self.strip = strip
        self.size = size
        self.byteorder: Literal["big", "little"] = byteorder
        self.adjustment = adjustment
        self._body_at = offset + size
        if strip == "header":
            self._message_at = 0 if header == "keep" else self._body_at
        else:
            self._message_at = require_range("strip", strip, 0, MAX_OFFSET_BYTES)
        self._kept = kept = offset if self._splits else self._body_at - self._message_at
        super().__init__(max_frame_bytes=require_range("max_frame_bytes", max_frame_bytes, max(1, kept)))
        self._min_body = max(0, -kept)
        self._max_body = max_frame_bytes - kept
        self._read, self._write, self._most = _field(size, encoding, byteorder)
        self._binary = encoding == "binary"
        self._compiled = self._binary and self._message_at in (0, self._body_at)
        # Whether there is nothing before the length, and it can say how long any message is that the cap allows.
        is_plain = not self._splits and offset == 0 and kept == 0
        self._says_all = is_plain and adjustment <= 0 and max_frame_bytes - adjustment <= self._most
        self._set_oversize(on_oversize, max_skip_bytes)

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one frame.

        Raises:
            BadLengthError: The length, with the adjustment, is below zero.
            FrameTooLongError: The message is longer than ``max_frame_bytes``. Its body is not waited for.
        """
        return self._take(buffer) if self.on_oversize == "close" else self._take_or_skip(buffer, self._take)

    def _take(self, buffer: Buffer) -> M | NeedData:
        if len(buffer) < self._body_at:
            return NEED_DATA
        (length,) = self._read(buffer, self.offset)
        body = length + self.adjustment
        if not self._min_body <= body <= self._max_body:
            raise self._refuse(body)
        end = self._body_at + body
        if len(buffer) < end:
            return NEED_DATA
        message: Any = bytes(buffer[self._message_at : end])
        if self._splits:
            message = bytes(buffer[: self.offset]), message
        del buffer[:end]
        return message  # type: ignore[no-any-return]

    def encode(self, message: M) -> bytes:
        """Put the length before the message, or before its body; with ``header="keep"``, see that it is there.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes`` or than the length field can say; the frame to be
                sent as it is holds another length; the header to be split off is of another size; or there is one
                before the length, which only ``header="keep"`` and ``header="split"`` can send.
            TypeError: It is not bytes, or not two pieces of them.
        """
        if self._splits:
            header, body = self._parts(message)
            return header + self._length_of(body) + body
        octets = self._payload(message)
        if not self._message_at:
            size = len(octets) - self._body_at
            if size < 0 or not self._says(octets, size):
                raise LocalProtocolError(f"the length field of the frame of {len(octets)} bytes does not say so")
            return octets
        if self.offset or self._message_at != self._body_at:
            raise self._refuse_unknown_header()
        return self._length_of(octets) + octets

    def _length_of(self, body: bytes) -> bytes:
        length = len(body) - self.adjustment
        if not 0 <= length <= self._most:
            raise LocalProtocolError(f"a length field of {self.size} bytes cannot say {length}")
        return self._write(length)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[M], int]:
        """Take up to ``limit`` frames.

        Raises:
            BadLengthError, FrameTooLongError: As `decode`, for the first one.
        """
        if not self._binary or self.skips:
            return super().decode_many(data, limit)
        messages: list[Any] = []
        splits = self._splits
        append, read, max_body = messages.append, self._read, self._max_body
        field, kept, body_at, adjustment = self.size, self._body_at - self._message_at, self._body_at, self.adjustment
        min_body = self._min_body
        size = len(data)
        start = body_at  # of the body, right behind its length
        for _ in range(limit):
            if start > size:
                break
            (length,) = read(data, start - field)
            body = length + adjustment
            if body > max_body or body < min_body:
                if not messages:
                    raise self._refuse(body)
                break
            end = start + body
            if end > size:
                break
            append((data[start - body_at : start - field], data[start:end]) if splits else data[start - kept : end])
            start = end + body_at
        return messages, start - body_at

    def encode_many(self, messages: Sequence[M]) -> bytes:
        """Put a length before each message.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        if self._says_all and self._are_plain(messages):
            adjustment = self.adjustment
            plain: Sequence[Any] = messages
            lengths = [len(message) - adjustment for message in plain] if adjustment else map(len, plain)
            parts = [b""] * (2 * len(messages))
            parts[::2] = map(self._write, lengths)
            parts[1::2] = plain
            return b"".join(parts)
        # A header, or something unusual: look at each.
        return super().encode_many(messages)

    def _says(self, frame: bytes, body: int) -> bool:
        """Whether the length field of a whole frame says that its body has so many bytes."""
        try:
            (length,) = self._read(frame, self.offset)
        except BadLengthError:
            return False
        return length + self.adjustment == body

    def _refuse(self, body: int) -> RemoteProtocolError:
        if body < 0:
            return BadLengthError(f"length {body - self.adjustment} is below the least, {-self.adjustment}")
        if body < self._min_body:
            return BadLengthError(f"a frame of {self._body_at + body} bytes, of which {self._message_at} are stripped")
        end = self._body_at + body
        return too_long(body + self._kept, self.max_frame_bytes, end)


_Read = Callable[[bytes | bytearray, int], tuple[int]]
_Write = Callable[[int], bytes]


def _field(size: int, encoding: str, byteorder: Literal["big", "little"]) -> tuple[_Read, _Write, int]:
    """Return what reads the integer at an offset, as ``Struct.unpack_from`` does; what writes one; the highest."""
    if encoding == "ascii":
        return _ascii_reader(size), lambda length: b"%0*d" % (size, length), 10**size - 1
    if encoding == "bcd":
        return _bcd_reader(size), lambda length: bytes.fromhex(f"{length:0{2 * size}d}"), 100**size - 1
    if size in _CODES:
        field = struct.Struct((">" if byteorder == "big" else "<") + _CODES[size])
        return field.unpack_from, field.pack, (1 << 8 * size) - 1

    def read(data: bytes | bytearray, offset: int) -> tuple[int]:
        return (int.from_bytes(data[offset : offset + size], byteorder),)

    return read, lambda length: length.to_bytes(size, byteorder), (1 << 8 * size) - 1


def _ascii_reader(size: int) -> _Read:
    def read(data: bytes | bytearray, offset: int) -> tuple[int]:
        digits = bytes(data[offset : offset + size])
        if not digits.isdigit():  # on bytes that is ASCII alone
            raise BadLengthError(f"{digits!r} is not a length: write {size} digits")
        return (int(digits),)

    return read


def _bcd_reader(size: int) -> _Read:
    def read(data: bytes | bytearray, offset: int) -> tuple[int]:
        digits = data[offset : offset + size].hex()
        if not digits.isdigit():
            raise BadLengthError(f"{digits} is not a length: each half of its {size} bytes is a decimal digit")
        return (int(digits),)

    return read
