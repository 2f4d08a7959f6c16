"""Input whose messages are taken one by one, with what is noted of the silences in it."""

from __future__ import annotations

from collections import deque
from typing import Any

from ..codecs.base import Buffer, Codec


class Singly:
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
    def of(cls, codec: Codec[Any], skips_bad: bool) -> Singly | None:
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


def front_of(buffer: Buffer, size: int) -> Buffer:
    """Return the first ``size`` bytes with the codec's notes, for a codec that must not see the rest."""
    front = Buffer()
    front += buffer[:size]
    front.resume, front.skipped, front.silence_counts = buffer.resume, buffer.skipped, buffer.silence_counts
    return front


def follow(buffer: Buffer, taken: int, front: Buffer) -> None:
    """Do to the buffer what a codec has done to its front: ``taken`` bytes are gone, and its notes are others."""
    del buffer[:taken]
    buffer.resume, buffer.skipped, buffer.silence_counts = front.resume, front.skipped, front.silence_counts
