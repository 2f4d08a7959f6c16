"""From received bytes to messages: one connection's input, for every engine written in Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from ..codecs import guard
from ..codecs.base import NEED_DATA, Buffer, Codec, NeedData
from ..errors import CodecError, RemoteProtocolError
from .answered import AnsweredInput
from .foreign import FIRST_BYTES
from .singly import Singly, follow, front_of

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


class StreamInbound(AnsweredInput[M]):
    """Cuts one connection's byte stream into messages, in batches, without losing a byte when the codec changes.

    A read usually holds whole frames: those are cut by the codec's batch form straight from the bytes read. Only a
    frame that straddles two reads is gathered in a buffer, so that a connection keeps bytes only while one is partial.

    Attributes:
        few: How many messages are still to be cut one by one, after a switch.
        on_skipped: Told how many frames were passed over.
    """

    __slots__ = ("_singly", "_skips_bad", "few", "on_skipped")

    def __init__(self, codec: Codec[M], *, skips_bad: bool = False) -> None:
        super().__init__(codec)
        self._skips_bad = skips_bad  # a bad message may be passed over by `pass_over`
        self._singly = Singly.of(codec, skips_bad)
        self.on_skipped: Callable[[int], None] | None = None
        self.few = 0

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

    def take_one(self, codec: Codec[M]) -> M | NeedData:
        """Take the next message while `few` are to be cut one by one, by a codec that may be another one than before.

        NEED_DATA: `take` has to look at it; and, where `codec` of the input is still the other one, `switch` before it.

        Raises:
            RemoteProtocolError, CodecError: As `take`. The codec may have taken the bad frame off the buffer.
        """
        buffer = self._buffer
        if not buffer or self._chunk or self._singly is not None or self.requests is not None:
            return NEED_DATA
        if codec is not self.codec:
            if not self.change(codec):
                return NEED_DATA
            few = SINGLY_AFTER_SWITCH
        elif self.few:
            few = self.few - 1
        else:
            return NEED_DATA
        before = len(buffer)
        try:
            message = codec.decode(buffer)
        except Exception as error:
            self.pending_bytes = len(buffer)
            raise guard.failure(codec, "decode", error)  # noqa: B904 - as in `take`
        self.pending_bytes = left = len(buffer)
        if message is NEED_DATA or left >= before:
            return NEED_DATA
        self.few = few
        buffer.resume = None
        if self._batch:
            self._batch, self._batch_rest = b"", 0
        return message

    def _take_singly(self, singly: Singly) -> list[M]:
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

    def _ignore_silence(self, singly: Singly) -> None:
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

    def _take_before(self, singly: Singly, silences: deque[int]) -> list[M]:
        """Take one message of what had come by the first silence: one that ends, or else all there is."""
        buffer, size = self._buffer, silences[0]
        piece = buffer if size == len(buffer) else front_of(buffer, size)
        try:
            message = guard.decode(self.codec, piece)
            found = [] if message is NEED_DATA else [message]
            if piece and not found and piece.silence_counts:
                rest = guard.decode_quiet(self.codec, piece)
                found = [] if rest is NEED_DATA else [rest]
        finally:
            taken = size - len(piece)
            if piece is not buffer:
                follow(buffer, taken, piece)
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
            self._singly = singly = Singly.of(codec, self._skips_bad)
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

    def take_until(self, delimiter: bytes) -> bytes | None:
        """Take the bytes up to a delimiter, as `take_by`; None: nothing was taken."""
        buffer = self._buffer
        if self._chunk or self._singly is not None:
            return None
        end = buffer.find(delimiter)
        if not 0 <= end <= self.codec.max_frame_bytes:
            return None
        taken = bytes(buffer[:end])
        del buffer[: end + len(delimiter)]
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
