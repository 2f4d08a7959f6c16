"""From received records to messages: the input of one connection whose transport keeps the bounds of each."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ..codecs import guard
from ..codecs.base import NEED_DATA, Codec, NeedData
from ..errors import CodecError, EndOfStreamError, RemoteProtocolError
from .requests import Requests

M = TypeVar("M")


class RecordInbound(Generic[M]):
    """Decodes one connection's records (seqpacket): each delimits itself and is one message."""

    __slots__ = ("_records", "codec", "pending_bytes", "requests")

    batch_bytes = 0  # a batch is one message, which is being handled
    few = 0  # as of `StreamInbound`, and what follows
    is_gathering = True  # as of `StreamInbound`: a record is cut alone, and cannot be cut again
    silence_counts = True
    quiet_s = None  # a record is a message, whatever comes after it

    def change(self, codec: Codec[M]) -> bool:
        """Decode the records that follow with another codec."""
        self.codec = codec
        return True

    def take_one(self, _codec: Codec[M]) -> NeedData:
        """Leave it to `take`."""
        return NEED_DATA

    def take_by(self, _cutter: Codec[bytes]) -> None:
        """Cut no record."""

    def take_bytes(self, _count: int) -> None:
        """Cut no record."""

    def take_until(self, _delimiter: bytes) -> None:
        """Cut no record."""

    def note_silence(self) -> None:
        """Nothing is left to end."""

    @property
    def waiting_bytes(self) -> int:
        """All of it: a record is whole, and no reply stays here."""
        return self.pending_bytes

    @property
    def partial_bytes(self) -> int:
        """0: a record is whole."""
        return 0

    def __init__(self, codec: Codec[M]) -> None:
        self.codec = codec
        self.pending_bytes = 0
        self._records: deque[bytes] = deque()
        self.requests: Requests[M] | None = None

    @property
    def first_bytes(self) -> bytes:
        """Nothing: of a record that was refused nothing is kept, and no other protocol speaks in records."""
        return b""

    def feed(self, data: bytes) -> None:
        """Add one record, unless it is a reply."""
        if self.requests and self.requests.codec is self.codec and self._is_reply(self.requests, data):
            return
        self._records.append(data)
        self.pending_bytes += len(data) or 1  # an empty one is a message, too

    def find_replies(self) -> None:
        """As of `StreamInbound`."""
        while self.requests and self._records and self._is_reply(self.requests, self._records[0]):
            self.pending_bytes -= len(self._records.popleft()) or 1

    def _is_reply(self, requests: Requests[M], record: bytes) -> bool:
        try:
            return requests.answer(guard.decode_datagram(self.codec, record))
        except (RemoteProtocolError, CodecError):
            return False  # whoever takes it meets that

    def end_requests(self, why: str = "") -> None:
        """No reply will come any more: for the reason given, or because the connection ends."""
        requests, self.requests = self.requests, None
        if requests is not None:
            requests.fail(EndOfStreamError(why))

    def take(self, limit: int, data: bytes = b"") -> list[M]:
        """Return the next message alone in a list; an empty list when no record is there.

        Args:
            limit: At least 1.
            data: A record that was read just now; fed first.

        Raises:
            RemoteProtocolError, CodecError: The next record is not exactly one message; the codec failed at it.
        """
        if data:
            self.feed(data)
        if not self._records:
            return []
        record = self._records.popleft()
        self.pending_bytes -= len(record) or 1
        return [guard.decode_datagram(self.codec, record)]

    def take_whole(self, limit: int) -> list[M]:
        """As of `StreamInbound`."""
        if not self._records:
            return []
        record, before = self._records[0], self.pending_bytes
        try:
            return self.take(limit)
        except (RemoteProtocolError, CodecError):
            self._records.appendleft(record)
            self.pending_bytes = before
            return []

    def pass_over(self, error: RemoteProtocolError) -> bool:
        """Return True: a record ends where it ends, and a bad one is gone by now."""
        return True

    def finish(self) -> NeedData:
        """Nothing is ever left over."""
        return NEED_DATA

    def switch(self, codec: Codec[M], handled: int, unhandled: int, *, silence_counts: bool = True) -> bool:
        """Decode the records that follow with another codec. Return False: none is passed over, no silence counts."""
        self.codec = codec
        return False

    def clear(self) -> None:
        """Forget everything: the connection is leaving."""
        self._records.clear()
        self.pending_bytes = 0
        self.end_requests()
