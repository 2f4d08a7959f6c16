"""From received bytes to messages: one connection's input, for every engine written in Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from ..codecs import guard
from ..codecs.base import NEED_DATA, Buffer, Codec, NeedData
from ..errors import CodecError, EndOfStreamError, RemoteProtocolError
from .foreign import FIRST_BYTES
from .requests import Requests

M = TypeVar("M")

# Messages that are cut one by one after a switch: where a protocol changes its framing once, it may do so for each
# message, and what is cut ahead is cut again then.
SINGLY_AFTER_SWITCH: Final = 16


class Remembered(NamedTuple):
    """What an input knows of its bytes that they do not say: frames were passed over, or silence ends some.

    Attributes:
        resume: The codec's note about the frame at the front.
        silence_counts: As of `StreamInbound`.
        silences: How many bytes came before each silence and after the one before it; None: none counts.
    """

    resume: Any
    silence_counts: bool
    silences: tuple[int, ...] | None


class StreamInbound(Generic[M]):
    """Cuts one connection's byte stream into messages, in batches, without losing a byte when the codec changes.

    A read usually holds whole frames: those are cut by the codec's batch form straight from the bytes read. Only a
    frame that straddles two reads is gathered in a buffer, so that a connection keeps bytes only while one is partial.

    Attributes:
        codec: What cuts it.
        few: How many messages are still to be cut one by one, after a switch.
        on_skipped: Told how many frames were passed over.
        pending_bytes: How many received bytes no message has taken yet.
        requests: What its peer owes a reply, which is taken out of what waits as soon as it is whole; None: nothing
            was ever asked.
    """

    __slots__ = (
        "_batch",
        "_batch_rest",
        "_buffer",
        "_chunk",
        "_singly",
        "_skips_bad",
        "codec",
        "few",
        "on_skipped",
        "pending_bytes",
        "requests",
    )

    def __init__(self, codec: Codec[M], *, skips_bad: bool = False) -> None:
        self.codec = codec
        self._skips_bad = skips_bad  # a bad message may be passed over by `pass_over`
        self.pending_bytes = 0  # in `_buffer` and `_chunk`: counted, for it is asked after each read
        self._singly = _Singly.of(codec, skips_bad)
        self.on_skipped: Callable[[int], None] | None = None
        self._buffer = Buffer()  # the start of an incomplete frame
        self._chunk = b""  # bytes that start at a frame's beginning and have not been looked at
        self._batch = b""  # what the latest batch was cut from, for `switch`
        self._batch_rest = 0  # how many bytes of it the batch did not take
        self.few = 0
        self.requests: Requests[M] | None = None

    @property
    def quiet_s(self) -> float | None:
        """How long a silence has to be to end a message; None: none does, or none does any more."""
        return None if self._singly is None or self._singly.silences is None else self.codec.quiet_s

    @property
    def silence_counts(self) -> bool:
        """Whether a silence ends a message, where the codec says so."""
        return self._buffer.silence_counts

    @property
    def batch_bytes(self) -> int:
        """How many bytes the latest batch of messages was cut from; they are kept until the next one."""
        return len(self._batch) - self._batch_rest if self._batch else 0

    def feed(self, data: bytes) -> None:
        """Add bytes in the order they came."""
        self.pending_bytes += len(data)
        if self._buffer:
            self._buffer += data
        elif self._chunk:
            self._chunk += data
        else:
            self._chunk = data
        if self.requests is not None:
            self.requests.unseen_bytes += len(data)
            self._take_replies(self.requests, data)

    @property
    def first_bytes(self) -> bytes:
        """How what no message has taken begins."""
        return bytes((self._buffer or self._chunk)[:FIRST_BYTES])

    def take(self, limit: int, data: bytes = b"") -> list[M]:
        """Return up to ``limit`` complete messages; an empty list when the next frame is not complete.

        Args:
            limit: At least 1.
            data: What was read just now: fed first, without a call of its own.

        Raises:
            RemoteProtocolError: The next frame is bad. Every message before it has been returned by earlier calls.
            CodecError: The codec failed at it.
        """
        if self._buffer or self.requests is not None or self._singly is not None:
            if data:
                self.feed(data)
                data = b""
            if self._singly is not None:
                return self._take_singly(self._singly)
            if self._buffer:
                return self._take_gathered()
        chunk, codec = self._chunk, self.codec
        if data:
            chunk = self._chunk = chunk + data if chunk else data
        elif not chunk:
            self._batch = b""
            return []
        try:  # as `guard` does: here it would be a call more for each read
            messages, taken = codec.decode_many(chunk, limit)
            rest = len(chunk) - taken
            if rest and messages and not 0 < taken <= len(chunk):
                raise guard.breach(codec, "decode_many", f"returned messages and says that they took {taken} bytes")
        except Exception as error:
            raise guard.failure(codec, "decode_many", error)  # noqa: B904 - as there
        self._batch = chunk
        self._batch_rest = self.pending_bytes = rest
        if not rest:
            self._chunk = b""
        elif len(messages) >= limit:
            self._chunk = chunk[taken:]
        else:
            self._buffer += chunk[taken:]
            self._chunk = b""
            if not messages:
                # A batch that took nothing leaves it to decode() to refuse what can never become a frame.
                return self._take_gathered()
        return messages

    def _take_gathered(self) -> list[M]:
        """Take the one message whose start came with an earlier read."""
        buffer, codec = self._buffer, self.codec
        self._batch = b""
        before = len(buffer)
        try:  # as `guard` does: here it would be a call more for each message of a stream of switches
            message = codec.decode(buffer)
        except Exception as error:
            raise guard.failure(codec, "decode", error)  # noqa: B904 - as there
        self.pending_bytes = left = len(buffer)
        if message is NEED_DATA:
            return []
        if left >= before:
            raise guard.breach(codec, "decode", guard.TOOK_NOTHING)
        buffer.resume = None
        if self.few:
            self.few -= 1
        elif buffer:  # a frame starts at its front now: back to the batch form
            self._chunk = bytes(buffer)
            buffer.clear()
        return [message]

    def take_whole(self, limit: int) -> list[M]:
        """As `take`; nothing where the next frame is bad. It is met again then, whatever its codec has taken of it."""
        before = self.pending()
        try:
            return self.take(limit)
        except (RemoteProtocolError, CodecError):
            buffer = self._buffer
            if len(buffer) + len(self._chunk) != len(before):
                buffer[:] = before
                buffer.resume = None
                self._chunk = b""
            self.pending_bytes = len(before)
            return []

    def take_one(self) -> M | NeedData:
        """Take the next message, if `few` are to be cut one by one; NEED_DATA where `take` has to look at it.

        Raises:
            RemoteProtocolError, CodecError: As `take`. The codec may have taken the bad frame off the buffer.
        """
        buffer = self._buffer
        if not buffer or self._chunk or self._singly is not None or self.requests is not None:
            return NEED_DATA
        before = len(buffer)
        try:
            message = self.codec.decode(buffer)
        except Exception as error:
            self.pending_bytes = len(buffer)
            raise guard.failure(self.codec, "decode", error)  # noqa: B904 - as in `take`
        self.pending_bytes = left = len(buffer)
        if message is NEED_DATA or left >= before:
            return NEED_DATA
        buffer.resume = None
        self._batch, self._batch_rest = b"", 0
        self.few -= 1
        return message

    def _take_singly(self, singly: _Singly) -> list[M]:
        buffer = self._buffer
        buffer += self._chunk
        self._batch = self._chunk = b""
        self._batch_rest = 0
        found: list[M] = []
        try:
            while singly.silences and not found:
                found = self._take_before(singly, singly.silences)
            if buffer and not found:
                message = guard.decode(self.codec, buffer)
                found = [] if message is NEED_DATA else [message]
        finally:
            self.pending_bytes = len(buffer)
            self._count_skipped()
        if not buffer.silence_counts:
            self._ignore_silence(singly)
        return found

    def _ignore_silence(self, singly: _Singly) -> None:
        """The peer ends its messages itself, and is taken at its word."""
        singly.silences = None
        self._singly = singly if self.codec.on_oversize == "skip" or self._skips_bad else None

    def pass_over(self, error: RemoteProtocolError) -> bool:
        """Go on after the bad frame that `take` or `finish` has just raised for, if its codec says where it ends.

        Returns:
            Whether that was possible. If not, the stream is over.
        """
        size, buffer, singly = error.skip_bytes, self._buffer, self._singly
        if size is None or size <= 0 or singly is None:
            return False
        if singly.silences:
            if size > singly.silences[0]:
                return False
            singly.leave(size, singly.silences)
        del buffer[:size]  # less, where the end of the last line was only thought to be there
        buffer.resume = None
        self.pending_bytes = len(buffer)
        self.find_replies()
        return True

    def _take_before(self, singly: _Singly, silences: deque[int]) -> list[M]:
        """Take one message of what had come by the first silence: one that ends, or else all there is."""
        buffer, size = self._buffer, silences[0]
        piece = buffer if size == len(buffer) else _front(buffer, size)
        try:
            message = guard.decode(self.codec, piece)
            found = [] if message is NEED_DATA else [message]
            if piece and not found and piece.silence_counts:
                rest = guard.decode_quiet(self.codec, piece)
                found = [] if rest is NEED_DATA else [rest]
        finally:
            taken = size - len(piece)
            if piece is not buffer:
                _follow(buffer, taken, piece)
            if buffer.silence_counts:
                singly.leave(taken, silences)
            else:
                singly.forget()
        return found

    def note_silence(self) -> None:
        """Nothing has come for ``quiet_s``: what is there by now and has no end has it here."""
        singly = self._singly
        if singly is not None and singly.silences is not None:
            singly.note(self.pending_bytes, singly.silences)

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
        self.pending_bytes = len(self._buffer)
        if self._singly is not None:
            self._count_skipped()
        return message

    def switch(self, codec: Codec[M], handled: int, unhandled: int, *, silence_counts: bool = True) -> bool:
        """Go on with another codec from the byte after the last message that was handled.

        Args:
            codec: What decodes from here on.
            handled: How many messages of the latest batch were handled under the old codec.
            unhandled: How many of it were cut and not handled. Their bytes are given back to the new codec.
            silence_counts: Whether a silence ends a message, where the codec says so. False: its peer is known to end
                its messages itself.

        Returns:
            Whether its messages are taken one by one: frames are passed over that are to be counted, or silence counts.
        """
        buffer = self._buffer  # or in `_chunk`: what waits stands in one of the two
        if unhandled:
            # Decoding is deterministic: the old codec finds the same frame ends again.
            rest = Buffer(self._batch)
            for _ in range(handled):
                self.codec.decode(rest)
            rest += (self._chunk or buffer)[self._batch_rest :]  # and what was fed since
            self._buffer = buffer = rest
        elif self._chunk:
            buffer += self._chunk
        # Left where it is, and cut from its front: a stream of switches moves no byte twice.
        self.few = SINGLY_AFTER_SWITCH
        self._chunk = self._batch = b""
        buffer.resume = None
        buffer.silence_counts = silence_counts
        self.pending_bytes = len(buffer)
        self.codec = codec
        if codec.quiet_s is None and codec.on_oversize != "skip" and not self._skips_bad:
            self._singly = None
        else:
            self._singly = singly = _Singly.of(codec, self._skips_bad)
            if singly is not None and not silence_counts:
                self._ignore_silence(singly)
        if self.requests is not None:
            self.requests.look_again(len(buffer))
            self.find_replies()
        return self._singly is not None

    def change(self, codec: Codec[M]) -> bool:
        """As `switch`, where nothing was cut ahead and nothing has to be looked at; return whether that was so."""
        if self._chunk or self._singly is not None or self._skips_bad or self.requests is not None:
            return False
        if codec.quiet_s is not None or codec.on_oversize == "skip":
            return False
        buffer = self._buffer
        buffer.resume = None
        buffer.silence_counts = True
        self.few = SINGLY_AFTER_SWITCH
        self._batch = b""
        self.codec = codec
        return True

    @property
    def is_gathering(self) -> bool:
        """Whether the next message is cut alone, from what came with several reads or may be passed over."""
        return bool(self._buffer) or self._singly is not None

    @property
    def gives_back(self) -> bool:
        """Whether `switch` can have the latest messages cut again: one that was gathered has left no bytes behind."""
        return bool(self._batch)

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
            rest = Buffer(bytes(buffer[at:])) if at else _front(buffer, len(buffer))
            rest.skipped = 0
        requests.unseen = rest
        while requests:
            try:
                message = guard.decode(self.codec, rest)
            except (RemoteProtocolError, CodecError):
                requests.unseen = None
                requests.is_stuck = True
                break  # whoever takes what is before it meets that
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

    def take_by(self, cutter: Codec[bytes]) -> bytes | None:
        """Take what another codec cuts, if all of it is there, without a change to that codec and back.

        Nothing must have been cut ahead. None: it is not that simple. Nothing was taken then; `switch` leads on.
        """
        buffer = self._buffer
        if self._chunk or self._singly is not None:
            return None
        buffer.resume = None
        try:
            taken = cutter.decode(buffer)
        except RemoteProtocolError:
            return None
        if taken is NEED_DATA:
            return None
        self.few = SINGLY_AFTER_SWITCH
        self._batch, self._batch_rest = b"", 0
        self.pending_bytes = len(buffer)
        return taken

    def take_bytes(self, count: int) -> bytes | None:
        """Take ``count`` bytes, as `take_by`; None: nothing was taken."""
        buffer = self._buffer
        if self._chunk or self._singly is not None or len(buffer) < count:
            return None
        taken = bytes(buffer[:count])
        del buffer[:count]
        buffer.resume = None
        self.few = SINGLY_AFTER_SWITCH
        self._batch, self._batch_rest = b"", 0
        self.pending_bytes = len(buffer)
        return taken

    def rest(self) -> bytes:
        """Return all that no message has taken, once `switch` was called or `take` has returned nothing."""
        return bytes(self._buffer)

    def pending(self) -> bytes:
        """Return what no message has taken, after `take` or `switch`."""
        return bytes(self._buffer or self._chunk)

    def remembered(self) -> Remembered | None:
        """Return what `recall` needs beside the bytes; None where they say all: a frame is cut from its beginning."""
        singly, silence_counts = self._singly, self._buffer.silence_counts
        if singly is None and silence_counts:
            return None
        silences = None if singly is None or singly.silences is None else tuple(singly.silences)
        return Remembered(None if singly is None else self._buffer.resume, silence_counts, silences)

    def recall(self, pending: bytes, remembered: Remembered | None) -> None:
        """Go on as another input of the same codec, of which the arguments are. Before the first byte."""
        if remembered is None:
            self.feed(pending)
            return
        buffer, singly = self._buffer, self._singly
        buffer += pending
        buffer.resume, buffer.silence_counts = remembered.resume, remembered.silence_counts
        self.pending_bytes = len(buffer)
        if singly is not None and not remembered.silence_counts:
            self._ignore_silence(singly)
        elif singly is not None and singly.silences is not None:
            singly.silences.extend(remembered.silences or ())
            singly.silent_bytes = sum(singly.silences)

    def clear(self) -> None:
        """Forget everything: the connection is leaving."""
        self._buffer.clear()
        self._buffer.resume = None
        self._chunk = self._batch = b""
        self.pending_bytes = 0
        if self._singly is not None:
            self._singly.forget()
        self.on_skipped = None
        self.end_requests()


class _Singly:
    """For an input whose messages are taken one by one: frames may be passed over, or silence is taken for their end.

    What was passed over cannot be given back when the codec is changed, nor can silence.

    A handler that is at work lets thousands of silences wait: each is noted, and taken, without a look at the others.

    Attributes:
        silences: How many bytes came before each silence and after the one before it, as long as no message was taken
            for it. None: none counts.
        silent_bytes: The sum of them: what is there and was followed by a silence.
    """

    __slots__ = ("silences", "silent_bytes")

    def __init__(self, silences: deque[int] | None) -> None:
        self.silences = silences
        self.silent_bytes = 0

    @classmethod
    def of(cls, codec: Codec[Any], skips_bad: bool) -> _Singly | None:
        """Return what an input of this codec needs; None: its messages may be taken in batches."""
        if codec.quiet_s is None:
            return cls(None) if codec.on_oversize == "skip" or skips_bad else None
        return cls(deque())

    def note(self, pending_bytes: int, silences: deque[int]) -> None:
        """A silence follows ``pending_bytes``. It is the one before, where nothing has come since."""
        if pending_bytes > self.silent_bytes:
            silences.append(pending_bytes - self.silent_bytes)
            self.silent_bytes = pending_bytes

    def leave(self, taken: int, silences: deque[int]) -> None:
        """Of what came before the first silence, so many bytes are gone."""
        self.silent_bytes -= taken
        if taken == silences[0]:
            silences.popleft()
        else:
            silences[0] -= taken

    def forget(self) -> None:
        """What was there is gone, or no silence ends it."""
        self.silent_bytes = 0
        if self.silences:
            self.silences.clear()


def _front(buffer: Buffer, size: int) -> Buffer:
    """Return the first ``size`` bytes with the codec's notes, for a codec that must not see the rest."""
    front = Buffer()
    front += buffer[:size]
    front.resume, front.skipped, front.silence_counts = buffer.resume, buffer.skipped, buffer.silence_counts
    return front


def _follow(buffer: Buffer, taken: int, front: Buffer) -> None:
    """Do to the buffer what a codec has done to its front: ``taken`` bytes are gone, and its notes are others."""
    del buffer[:taken]
    buffer.resume, buffer.skipped, buffer.silence_counts = front.resume, front.skipped, front.silence_counts


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

    def take_one(self) -> NeedData:
        """Leave it to `take`."""
        return NEED_DATA

    def take_by(self, _cutter: Codec[bytes]) -> None:
        """Cut no record."""

    def take_bytes(self, _count: int) -> None:
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
