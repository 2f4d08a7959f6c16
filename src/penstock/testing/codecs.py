"""Drives a codec as an engine does, and checks the laws of every codec. `check_codec` is all of them in one call.

The checks raise AssertionError with the input that shows the fault. They need no test framework; for inputs beyond your
own, call them from a property test.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..codecs.base import NEED_DATA, Buffer, Codec
from ..errors import RemoteProtocolError
from ..reasons import CloseReason

M = TypeVar("M")
View = Callable[[list[Any]], object]

# The largest input that is cut in two at every place, and whose buffer is compared byte for byte at every step.
_EVERY_CUT_BYTES = 512
# More than any header, so that one read of it never looks like hoarding.
_READ_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Decoded(Generic[M]):
    """What came of a stream.

    Attributes:
        messages: The messages in order.
        error: What the codec refused the stream with, or None.
        pending: The bytes no message took.
        most_held: How many bytes were in the buffer at most when the codec asked for more.
    """

    messages: list[M]
    error: RemoteProtocolError | None
    pending: bytes
    most_held: int

    @property
    def reason(self) -> CloseReason | None:
        """What the connection would be closed with, or None when nothing was refused."""
        return None if self.error is None else self.error.reason


def chop(wire: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut ``wire`` into pieces of ``sizes`` bytes, in turn; what is left when they run out is the last piece."""
    at = 0
    for size in sizes:
        if at >= len(wire):
            return
        yield wire[at : at + size]
        at += size
    if at < len(wire):
        yield wire[at:]


def decode_chunks(
    codec: Codec[M], chunks: Iterable[bytes | None], *, eof: bool = True, batch: int | None = None
) -> Decoded[M]:
    """Feed chunks to the codec as an engine does, until it refuses or they end.

    Args:
        codec: Any codec.
        chunks: The bytes as the network would bring them. None is a silence of ``quiet_s``, where the codec has that.
        eof: Whether the stream ends after the last one.
        batch: None: `Codec.decode` alone. A number: `Codec.decode_many` with that limit wherever a chunk begins with a
            frame, `Codec.decode` only for a frame that straddles two chunks.
    """
    buffer = Buffer()
    messages: list[M] = []
    most_held = 0
    try:
        for chunk in chunks:
            listens = codec.quiet_s is not None and buffer.silence_counts
            if chunk is None:
                message = codec.decode_quiet(buffer) if buffer and listens else NEED_DATA
                messages += [] if message is NEED_DATA else [message]
                if listens:
                    buffer.clear()
                continue
            buffer += chunk
            while buffer:
                if batch is not None and buffer.resume is None and not listens:
                    found, taken = codec.decode_many(bytes(buffer), batch)
                    messages += found
                    del buffer[:taken]
                    if found:
                        continue
                before = len(buffer)
                message = codec.decode(buffer)
                if message is NEED_DATA:
                    most_held = max(most_held, len(buffer))
                    break
                messages.append(message)
                assert len(buffer) < before, f"{codec.name} gave {message!r} and took no bytes of {bytes(buffer)!r}"
        if eof:
            message = codec.finish(buffer)
            if message is not NEED_DATA:
                messages.append(message)
    except RemoteProtocolError as error:
        return Decoded(messages, error, bytes(buffer), most_held)
    return Decoded(messages, None, bytes(buffer), most_held)


def decode_in_chunks(codec: Codec[M], wire: bytes, sizes: Iterable[int]) -> list[M]:
    """Return the messages of ``wire`` when it arrives in pieces of ``sizes`` bytes.

    Raises:
        RemoteProtocolError: The codec refuses it.
    """
    decoded = decode_chunks(codec, chop(wire, sizes))
    if decoded.error is not None:
        raise decoded.error
    return decoded.messages


def check_cutting(codec: Codec[Any], wire: bytes, sizes: Sequence[int] = (), *, view: View = list) -> None:
    """Check that where ``wire`` is cut changes nothing: not the messages, not what is refused after them, nor why.

    Cut octet by octet, into pieces of ``sizes`` bytes over and over, and up to 512 bytes also in two at every place.

    Args:
        codec: Any codec.
        wire: Any bytes, right or wrong.
        sizes: Sizes of pieces, in bytes, each 1 or more.
        view: What is compared of a list of messages. For a codec whose messages are a stream, ``b"".join``.
    """
    whole = _outcome(decode_chunks(codec, [wire]), view)
    cuttings: list[Iterable[bytes]] = [chop(wire, itertools.repeat(1))]
    if sizes:
        cuttings.append(chop(wire, itertools.cycle(sizes)))
    if len(wire) <= _EVERY_CUT_BYTES:
        cuttings += [[wire[:at], wire[at:]] for at in range(1, len(wire))]
    for cutting in cuttings:
        pieces = list(cutting)
        outcome = _outcome(decode_chunks(codec, pieces), view)
        assert whole == outcome, f"{codec.name}: one piece gives {whole}, {pieces} give {outcome}"


def check_batches(codec: Codec[Any], wire: bytes, *, view: View = list) -> None:
    """Check that `Codec.decode_many` takes from ``wire`` what `Codec.decode` takes one by one, for every limit."""
    singly = decode_chunks(codec, [wire], eof=False)
    for limit in (*range(min(len(singly.messages), 8) + 2), len(wire) + 1):
        first = _first_batch(codec, wire, limit)
        expected = singly.messages[:limit]
        if expected or limit == 0 or singly.error is None:
            rest = Buffer(wire)
            for _ in expected:
                codec.decode(rest)
            wanted: object = (view(expected), len(wire) - len(rest))
        else:
            wanted = singly.reason
        got = first if isinstance(first, CloseReason) else (view(first[0]), first[1])
        assert wanted == got, f"{codec.name}: decode_many({wire!r}, {limit}) gives {got}, decode {wanted}"
    for limit in (1, 2, 1000):
        batched = decode_chunks(codec, [wire], batch=limit)
        whole = decode_chunks(codec, [wire])
        assert _outcome(whole, view) == _outcome(batched, view), f"{codec.name}: in batches of {limit}: {wire!r}"


def check_round_trip(codec: Codec[M], messages: Sequence[M], *, view: View = list) -> None:
    """Check that ``messages`` come back as they are, that the batch form of encoding writes the same, and datagrams."""
    frames = [codec.encode(message) for message in messages]
    wire = b"".join(frames)
    decoded = decode_chunks(codec, [wire] if codec.quiet_s is None else _with_pauses(frames))
    if (view(list(messages)), None) != _outcome(decoded, view):
        raise AssertionError(_difference(codec, messages, frames, decoded, view))
    assert wire == codec.encode_many(messages), f"{codec.name}: encode_many({messages!r}) differs from encode"
    for message in messages:
        datagram = codec.encode_datagram(message)
        back = codec.decode_datagram(datagram)
        assert message == back, f"{codec.name}: {message!r} is the datagram {datagram!r} and comes back as {back!r}"


def check_silence(codec: Codec[Any], wire: bytes, *, view: View = list) -> None:
    """Check that a silence ends a message wherever it falls, and where the bytes around it are cut changes nothing.

    For codecs with ``quiet_s``. Up to 512 bytes of ``wire`` are cut by one silence at every place.
    """
    for at in range(len(wire) + 1) if len(wire) <= _EVERY_CUT_BYTES else (1, len(wire) // 2, len(wire)):
        before, after = wire[:at], wire[at:]
        whole = _outcome(decode_chunks(codec, [before, None, after]), view)
        octets = (*chop(before, itertools.repeat(1)), None, *chop(after, itertools.repeat(1)))
        outcome = _outcome(decode_chunks(codec, octets), view)
        assert whole == outcome, f"{codec.name}: {before!r}, silence, {after!r} gives {whole}, by octets {outcome}"


def _with_pauses(frames: Sequence[bytes]) -> Iterator[bytes | None]:
    for frame in frames:
        yield frame
        yield None


def _difference(
    codec: Codec[M], messages: Sequence[M], frames: Sequence[bytes], decoded: Decoded[M], view: View
) -> str:
    """Name the one message that does not come back as it is: by itself where it fails by itself, else by its place."""
    for message, frame in zip(messages, frames, strict=True):
        alone = decode_chunks(codec, [frame])
        if (view([message]), None) != _outcome(alone, view):
            got = alone.messages[0] if len(alone.messages) == 1 and alone.error is None else _outcome(alone, view)
            return f"{codec.name}: {message!r} is written {frame!r} and comes back as {got!r}"
    for place, (message, frame) in enumerate(zip(messages, frames, strict=True)):
        came = decoded.messages[place : place + 1]
        if view([message]) != view(came):
            instead = repr(came[0]) if came else f"nothing ({decoded.error})"
            return f"{codec.name}: {message!r}, written {frame!r}, comes back behind the others as {instead}"
    return f"{codec.name}: {messages!r} is written {b''.join(frames)!r} and comes back as {_outcome(decoded, view)}"


def check_refusals(codec: Codec[Any], wire: bytes) -> None:
    """Check that ``wire``, whatever it is, raises nothing but RemoteProtocolError and is not hoarded.

    While more is asked for the buffer's bytes stay as they are, and so they do when they are refused; a codec that
    ``skips`` may take some off the front. What is held is never more than ``max_frame_bytes`` and one read.
    """
    reads = list(chop(wire, itertools.repeat(_READ_BYTES)))
    decoded = decode_chunks(codec, reads)
    assert decoded.most_held <= codec.max_frame_bytes + _READ_BYTES, f"{codec.name} holds {decoded.most_held} bytes"
    with contextlib.suppress(RemoteProtocolError):
        codec.decode_datagram(wire)
    buffer = Buffer()
    for piece in chop(wire[:_EVERY_CUT_BYTES], itertools.cycle((1, 3))):
        buffer += piece
        before = bytes(buffer)
        try:
            message = codec.decode(buffer)
        except RemoteProtocolError:
            assert _kept(codec, before, buffer), f"{codec.name} refused {before!r} and changed it"
            return
        if message is NEED_DATA:
            assert _kept(codec, before, buffer), f"{codec.name} asked for more and changed {before!r}"
        else:
            assert before.endswith(buffer), f"{codec.name} took a message that was not at the front of {before!r}"
            assert len(buffer) < len(before), f"{codec.name} gave a message and took no bytes of {before!r}"


def check_codec(codec: Codec[M], messages: Sequence[M], wires: Sequence[bytes] = (), *, view: View = list) -> None:
    """Check every law of codecs, with messages of the codec and with bytes of any kind.

    Args:
        codec: The codec.
        messages: Some of its messages: the empty one, the longest, the odd ones.
        wires: Bytes a peer could send, right or wrong.
        view: What is compared of a list of messages. For a codec whose messages are a stream, ``b"".join``.
    """
    check_round_trip(codec, messages, view=view)
    wire = codec.encode_many(messages)
    for data in (wire, wire[:-1], wire[1:], wire + wire[: len(wire) // 2], b"", bytes(64), bytes(range(256)), *wires):
        check_cutting(codec, data, (7, 2, 31), view=view)
        check_batches(codec, data, view=view)
        check_refusals(codec, data)
        if codec.quiet_s is not None:
            check_silence(codec, data, view=view)


def _kept(codec: Codec[Any], before: bytes, buffer: Buffer) -> bool:
    """Whether a buffer out of which no message came is as it has to be."""
    return before.endswith(buffer) if codec.skips else before == bytes(buffer)


def _outcome(decoded: Decoded[Any], view: View) -> tuple[object, CloseReason | None]:
    return view(decoded.messages), decoded.reason


def _first_batch(codec: Codec[M], wire: bytes, limit: int) -> tuple[list[M], int] | CloseReason:
    try:
        return codec.decode_many(wire, limit)
    except RemoteProtocolError as error:
        return error.reason
