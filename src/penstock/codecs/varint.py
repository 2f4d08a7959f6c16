"""Frames that begin with their length as a Protocol Buffers varint: what ``writeDelimitedTo`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeVar, overload

from ..errors import BadLengthError, FrameTooLongError, LocalProtocolError
from .base import (
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_MAX_SKIP_BYTES,
    NEED_DATA,
    Buffer,
    NeedData,
    OnOversize,
)
from .headers import HeadedCodec, Header
from .octets import require_range, too_long

M = TypeVar("M")

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


class Varint(HeadedCodec[M]):
    """A Protocol Buffers varint before each message: its length, 7 bits in each byte.

    A frame is ``offset`` bytes of header, the varint and as many bytes of body as it says.

    Args:
        offset: Bytes of header before the length, 0 to 1024.
        header: ``drop``: the message is the body. ``keep``: it is the whole frame, header and length included, which
            `encode` sends as it is once the length in it is right. ``split``: the message is the header and the body,
            ``(header, body)``; the length between them is filled in.
        on_oversize: What a message over ``max_frame_bytes`` does: ``close`` the connection, or be ``skip``ped.
        max_skip_bytes: The longest frame that is skipped, in bytes; a longer one ends the connection.
        max_frame_bytes: Largest message, in bytes; a longer one is refused on its length.

    Raises:
        ConfigurationError: An option is out of its range.
    """

    name = "varint"

    @overload
    def __init__(
        self: Varint[bytes],
        *,
        offset: int = 0,
        header: Literal["drop", "keep"] = "drop",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None: ...

    @overload
    def __init__(
        self: Varint[tuple[bytes, bytes]],
        *,
        offset: int = 0,
        header: Literal["split"],
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None: ...

    def __init__(
        self,
        *,
        offset: int = 0,
        header: Header = "drop",
        on_oversize: OnOversize = "close",
        max_skip_bytes: int = DEFAULT_MAX_SKIP_BYTES,
        max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        self._set_header(offset, header)
        least = {"drop": 1, "keep": offset + 1, "split": max(1, offset)}[header]
        super().__init__(max_frame_bytes=require_range("max_frame_bytes", max_frame_bytes, least))
        self._plain = offset == 0 and header == "drop"
        self._compiled = header != "keep"
        self._set_oversize(on_oversize, max_skip_bytes)

    def decode(self, buffer: Buffer) -> M | NeedData:
        """Take one frame.

        Raises:
            BadLengthError: The varint is over 10 bytes or 64 bits, or not in its shortest form.
            FrameTooLongError: The length is over ``max_frame_bytes``. The message is not waited for.
        """
        return self._take(buffer) if self.on_oversize == "close" else self._take_or_skip(buffer, self._take)

    def _take(self, buffer: Buffer) -> M | NeedData:
        size, start = read_varint(buffer, self.offset)
        end = start + size
        message_bytes = size + self.offset if self._splits else size if self.header == "drop" else end
        if start and message_bytes > self.max_frame_bytes:
            raise too_long(message_bytes, self.max_frame_bytes, end)
        if not start or len(buffer) < end:
            return NEED_DATA
        message: Any = bytes(buffer[0 if self.header == "keep" else start : end])
        if self._splits:
            message = bytes(buffer[: self.offset]), message
        del buffer[:end]
        return message  # type: ignore[no-any-return]

    def encode(self, message: M) -> bytes:
        """Put the length before the message, or before its body; with ``header="keep"``, see that it is there.

        Raises:
            LocalProtocolError: It is longer than ``max_frame_bytes``; the frame to be sent as it is holds another
                length; the header to be split off is of another size; or there is one before the length, which only
                ``header="keep"`` and ``header="split"`` can send.
            TypeError: It is not bytes, or not two pieces of them.
        """
        if self._splits:
            header, body = self._parts(message)
            return header + write_varint(len(body)) + body
        octets = self._payload(message)
        if self.header == "keep":
            if not self._says(octets):
                raise LocalProtocolError(f"the length in the frame of {len(octets)} bytes does not say so")
            return octets
        if self.offset:
            raise self._refuse_unknown_header()
        return write_varint(len(octets)) + octets

    def _says(self, frame: bytes) -> bool:
        """Whether the length in a whole frame says where it ends."""
        try:
            size, start = read_varint(frame, self.offset)
        except BadLengthError:
            return False
        return start > 0 and start + size == len(frame)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[M], int]:
        """Take up to ``limit`` frames.

        Raises:
            BadLengthError, FrameTooLongError: As `decode`, for the first one.
        """
        if self.skips or not self._plain:
            return super().decode_many(data, limit)
        messages: list[Any] = []
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

    def encode_many(self, messages: Sequence[M]) -> bytes:
        """Put a length before each message.

        Raises:
            LocalProtocolError, TypeError: As `encode`, for one of them.
        """
        if not self._plain or not self._are_plain(messages):
            return super().encode_many(messages)
        plain: Sequence[Any] = messages
        return b"".join([(_SHORT[len(each)] if len(each) < 128 else write_varint(len(each))) + each for each in plain])
