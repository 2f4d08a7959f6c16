"""The replies among what waits to be received: they are taken out as soon as they are whole."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..codecs import guard
from ..codecs.base import NEED_DATA, Buffer, Codec
from ..errors import CodecError, EndOfStreamError, RemoteProtocolError
from .requests import Requests
from .singly import front_of

M = TypeVar("M")


class AnsweredInput(Generic[M]):
    """What was received and no message has taken, and the requests that some of it may reply to.

    Attributes:
        codec: What cuts it.
        pending_bytes: How many received bytes no message has taken yet.
        requests: What its peer owes a reply, which is taken out of what waits as soon as it is whole; None: nothing
            was ever asked.
    """

    __slots__ = ("_batch", "_batch_rest", "_buffer", "_chunk", "codec", "pending_bytes", "requests")

    def __init__(self, codec: Codec[M]) -> None:
        self.codec = codec
        self.pending_bytes = 0  # in `_buffer` and `_chunk`: counted, for it is asked after each read
        self._buffer = Buffer()  # the start of an incomplete frame
        self._chunk = b""  # bytes that start at a frame's beginning and have not been looked at
        self._batch = b""  # what the latest batch was cut from, for `switch`
        self._batch_rest = 0  # how many bytes of it the batch did not take
        self.requests: Requests[M] | None = None

    @property
    def waiting_bytes(self) -> int:
        """How much of what is pending waits to be received: not the start of a frame that may be a reply."""
        requests = self.requests
        if not requests or requests.unseen is None:
            return self.pending_bytes
        return max(self.pending_bytes - len(requests.unseen), 0)

    @property
    def partial_bytes(self) -> int | None:
        """How many bytes of a message that is not whole are there, behind all that are.

        So the last look for replies has it. None where nothing looks for any.
        """
        requests = self.requests
        if not requests or self.codec is not requests.codec:
            return None
        return 0 if requests.unseen is None else min(len(requests.unseen), self.pending_bytes)

    def find_replies(self) -> None:
        """Look among what waits already: where order is all, a peer may reply before it is asked."""
        if self.requests is not None:
            self._take_replies(self.requests)

    def _take_replies(self, requests: Requests[M], data: bytes = b"") -> None:
        """Take the replies out of what waits, wherever in it they stand: who receives the others may be busy."""
        if not requests or self.codec is not requests.codec:
            requests.unseen = None
            return
        if self._batch_rest:  # `switch` goes by what stands behind the batch, which changes now
            self._batch, self._batch_rest = self._batch[: -self._batch_rest], 0
        buffer = self._buffer
        buffer += self._chunk
        self._chunk = b""
        at = len(buffer) - requests.unseen_bytes
        if requests.is_stuck and at >= 0:
            self.pending_bytes = len(buffer)
            return
        requests.is_stuck = False
        rest = requests.unseen
        if rest is not None and at >= 0:
            rest += data
        else:
            at = max(at, 0)
            rest = Buffer(bytes(buffer[at:])) if at else front_of(buffer, len(buffer))
            rest.skipped = 0
        requests.unseen = rest
        while requests:
            try:
                message = guard.decode(self.codec, rest)
            except (RemoteProtocolError, CodecError):
                requests.unseen = None
                requests.is_stuck = True
                break  # the next take meets the error, once it has had the messages before it
            if message is NEED_DATA:
                break
            rest.resume = None
            end = len(buffer) - len(rest)
            if requests.answer(message):
                if not at:
                    buffer.resume = None
                buffer.skipped += rest.skipped
                del buffer[at:end]
            else:
                at = end
            rest.skipped = 0
        requests.unseen_bytes = len(buffer) - at
        self.pending_bytes = len(buffer)

    def end_requests(self, why: str = "") -> None:
        """No reply will come any more: for the reason given, or because the connection ends."""
        requests, self.requests = self.requests, None
        if requests is not None:
            requests.fail(EndOfStreamError(why))
