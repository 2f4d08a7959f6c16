"""From received bytes to messages: one connection's input, for every engine written in Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ..codecs import guard
from ..codecs.base import NEED_DATA, Buffer, Codec, NeedData

M = TypeVar("M")


class StreamInbound(Generic[M]):
    """Cuts one connection's byte stream into messages, in batches, without losing a byte when the codec changes.

    A read usually holds whole frames: those are cut by the codec's batch form straight from the bytes read. Only a
    frame that straddles two reads is gathered in a buffer, so that a connection keeps bytes only while one is partial.
    """

    __slots__ = ("_batch", "_batch_rest", "_buffer", "_chunk", "_skips", "codec", "on_skipped")

    def __init__(self, codec: Codec[M]) -> None:
        self.codec = codec
        self._skips = codec.on_oversize == "skip"
        self.on_skipped: Callable[[int], None] | None = None  # told how many frames were passed over
        self._buffer = Buffer()  # the start of an incomplete frame
        self._chunk = b""  # bytes that start at a frame's beginning and have not been looked at
        self._batch = b""  # what the latest batch was cut from, for `switch`
        self._batch_rest = 0  # how many bytes of it the batch did not take

    @property
    def pending_bytes(self) -> int:
        """How many received bytes no message has taken yet."""
        return len(self._buffer) + len(self._chunk)

    @property
    def batch_bytes(self) -> int:
        """How many bytes the latest batch of messages was cut from; they are kept until the next one."""
        return len(self._batch) - self._batch_rest if self._batch else 0

    def feed(self, data: bytes) -> None:
        """Add bytes in the order they came."""
        if self._buffer:
            self._buffer += data
        elif self._chunk:
            self._chunk += data
        else:
            self._chunk = data

    def take(self, limit: int) -> list[M]:
        """Return up to ``limit`` complete messages; an empty list when the next frame is not complete.

        Raises:
            RemoteProtocolError: The next frame is bad. Every message before it has been returned by earlier calls.
            CodecError: The codec failed at it.
        """
        buffer = self._buffer
        if self._skips:
            return self._take_counted(limit)
        if buffer:
            self._batch = b""
            message = guard.decode(self.codec, buffer)
            if message is NEED_DATA:
                return []
            if buffer:  # a frame starts at its front now: back to the batch form
                self._chunk = bytes(buffer)
                buffer.clear()
            buffer.resume = None
            return [message]
        chunk = self._chunk
        if not chunk:
            self._batch = b""
            return []
        messages, taken = guard.decode_many(self.codec, chunk, limit)
        self._batch = chunk
        self._batch_rest = len(chunk) - taken
        self._chunk = chunk[taken:]
        if len(messages) < limit and self._chunk:
            buffer += self._chunk
            self._chunk = b""
            if not messages:
                # A batch that took nothing leaves it to decode() to refuse what can never become a frame.
                return self.take(limit)
        return messages

    def _take_counted(self, limit: int) -> list[M]:
        """Take one message where the codec passes over frames: the buffer says how many.

        One at a time, for what was passed over cannot be given back when the codec is changed.
        """
        buffer = self._buffer
        buffer += self._chunk
        self._batch = self._chunk = b""
        if not buffer or limit < 1:
            return []
        try:
            message = guard.decode(self.codec, buffer)
        finally:
            self._count_skipped()
        return [] if message is NEED_DATA else [message]

    def _count_skipped(self) -> None:
        count, self._buffer.skipped = self._buffer.skipped, 0
        if count and self.on_skipped is not None:
            self.on_skipped(count)

    def finish(self) -> M | NeedData:
        """Say what is left at EOF, once `take` returns nothing more.

        Raises:
            RemoteProtocolError, CodecError: The stream ended in the middle of a frame; the codec failed at it.
        """
        message = guard.finish(self.codec, self._buffer)
        if self._skips:
            self._count_skipped()
        return message

    def switch(self, codec: Codec[M], handled: int, unhandled: int) -> None:
        """Go on with another codec from the byte after the last message that was handled.

        Args:
            codec: What decodes from here on.
            handled: How many messages of the latest batch were handled under the old codec.
            unhandled: How many of it were cut and not handled. Their bytes are given back to the new codec.
        """
        data = bytes(self._buffer) + self._chunk
        if unhandled:
            # Decoding is deterministic: the old codec finds the same frame ends again.
            rest = Buffer(self._batch)
            for _ in range(handled):
                self.codec.decode(rest)
            data = bytes(rest) + data[self._batch_rest :]  # and what was fed since
        self._buffer.clear()
        self._buffer.resume = None
        self._chunk = data
        self._batch = b""
        self.codec = codec
        self._skips = codec.on_oversize == "skip"

    def clear(self) -> None:
        """Forget everything: the connection is leaving."""
        self._buffer.clear()
        self._buffer.resume = None
        self._chunk = self._batch = b""
        self.on_skipped = None


class RecordInbound(Generic[M]):
    """Decodes one connection's records (seqpacket): each delimits itself and is one message."""

    __slots__ = ("_records", "codec", "pending_bytes")

    batch_bytes = 0  # a batch is one message, which is being handled

    def __init__(self, codec: Codec[M]) -> None:
        self.codec = codec
        self.pending_bytes = 0
        self._records: deque[bytes] = deque()

    def feed(self, data: bytes) -> None:
        """Add one record."""
        self._records.append(data)
        self.pending_bytes += len(data)

    def take(self, limit: int) -> list[M]:
        """Return the next message alone in a list; an empty list when no record is there.

        Raises:
            RemoteProtocolError, CodecError: The next record is not exactly one message; the codec failed at it.
        """
        if not self._records:
            return []
        record = self._records.popleft()
        self.pending_bytes -= len(record)
        return [guard.decode_datagram(self.codec, record)]

    def finish(self) -> NeedData:
        """Nothing is ever left over."""
        return NEED_DATA

    def switch(self, codec: Codec[M], handled: int, unhandled: int) -> None:
        """Decode the records that follow with another codec."""
        self.codec = codec

    def clear(self) -> None:
        """Forget everything: the connection is leaving."""
        self._records.clear()
        self.pending_bytes = 0
