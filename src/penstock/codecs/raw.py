"""No framing: whatever bytes arrived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .base import NEED_DATA, Buffer, Codec, NeedData
from .octets import BytesCodec


class Raw(BytesCodec):
    """A byte stream, no framing: a message is whatever has arrived.

    Where one message ends and the next begins is the network's doing and means nothing; only the joined bytes do.
    Over datagrams each message is one datagram.

    Args:
        max_frame_bytes: Largest piece handed over at once, in bytes. A stream of any length passes; a longer message is
            sent, as the other end sees a stream. A longer datagram is refused.
    """

    name = "raw"

    def decode(self, buffer: Buffer) -> bytes | NeedData:
        """Take everything there is, up to ``max_frame_bytes``."""
        if not buffer:
            return NEED_DATA
        message = bytes(buffer[: self.max_frame_bytes])
        del buffer[: self.max_frame_bytes]
        return message

    def encode(self, message: bytes) -> bytes:
        """Return the message as it is, of any length.

        Raises:
            TypeError: It is not bytes.
        """
        return self._octets(message)

    def decode_many(self, data: bytes, limit: int) -> tuple[list[bytes], int]:
        """Take all of ``data`` as one message when it is within ``max_frame_bytes``, else in pieces."""
        size = self.max_frame_bytes
        if limit < 1 or not data:
            return [], 0
        if len(data) <= size:
            return [data], len(data)
        pieces = [data[at : at + size] for at in range(0, min(len(data), limit * size), size)]
        return pieces, min(len(data), limit * size)

    def encode_many(self, messages: Sequence[bytes]) -> bytes:
        """Join the messages.

        Raises:
            TypeError: One of them is not bytes.
        """
        return b"".join(messages)


def is_raw(codec: Codec[Any]) -> bool:
    """Whether messages have no bounds: what goes in and out is a byte stream and nothing is added to it."""
    return isinstance(codec, Raw)
