"""What waits for a peer that reads too slowly, and what is given up for it. Decisions without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, get_args

from ..config import Limits, OnFull
from ..config.kinds.words import check_word
from ..errors import ConfigurationError, QueueFullError

# How a frame waits: whether it counts as posted, and whether it may be given up.
_KEPT: Final = 0  # a reply, or what `send` has waited for
_STAYS: Final = 1  # posted, and taken for good: its sender would have been told, or it dropped, had there been no room
_GIVES_WAY: Final = 2  # posted, and given up for a later one
_WAYS: Final[dict[str, int]] = {"raise": _STAYS, "drop_newest": _STAYS, "drop_oldest": _GIVES_WAY, "latest": _GIVES_WAY}
_NO_NAMES: Final[Mapping[int, Hashable]] = MappingProxyType({})
# As long as that, a frame costs less where it is than copied: what is for many peers waits once for all of them.
_WORTH_A_REFERENCE: Final = 256
# Replaced frames are freed together once there are this many, and as many as wait.
_REPLACED: Final = 16


def progressed(limits: Limits, taken_bytes: int) -> bool:
    """Return whether a peer that took so much in ``write_s`` reads on: as much as lets reading it go on.

    Less does not count: a peer that reads a byte now and then would hold its output for ever.
    """
    return taken_bytes >= max(1, limits.write_high_bytes - limits.write_low_bytes)


def check_policy(name: str, word: str, key: object, known: Sequence[str] = get_args(OnFull)) -> Any:
    """Return the policy that a word means; refuse one that there is not, and a key that cannot be looked up.

    Args:
        name: What the word was given as.
        word: The word.
        key: What ``latest`` tells messages apart by.
        known: The words that there are.

    Raises:
        ConfigurationError: It is none.
    """
    if word not in known:
        check_word(name, word, known)
    if word == "latest":
        try:
            hash(key)
        except TypeError:
            raise ConfigurationError(f"key is a {type(key).__name__}, which is not hashable") from None
    return "drop_newest" if word == "drop" else word


class _Frame:
    """A frame that waits where it is, and may be replaced: then it is empty."""

    __slots__ = ("data", "key", "way")

    def __init__(self, data: bytes, way: int, key: tuple[Hashable] | None) -> None:
        self.data = data
        self.way = way
        self.key = key


class _Line:
    """Frames in their order: the short ones in one piece, with one number for each; the others as they are."""

    __slots__ = ("data", "frames")

    def __init__(self) -> None:
        self.data = bytearray()
        self.frames: deque[int | _Frame] = deque()  # of those in `data`: four times the size, and how it waits

    def cut(self, size: int) -> bytearray:
        """Take so many bytes of the short frames."""
        cut = self.data[:size]
        del self.data[:size]  # at the front, where a bytearray gives up bytes without moving the others
        return cut


class SendQueue:
    """Frames behind those that the transport holds: as long as they wait here, some of them can still be given up.

    What the transport holds may have left in part and is never given up; nor is what was not posted: replies, and what
    `send` has waited for. Short frames are kept in one piece, with one number for each; long ones, and those that a
    later one may replace, as they are.

    Attributes:
        count: How many frames wait.
        posted_bytes: How many of the bytes were posted. They are held to the limit by `admit`; what is not posted
            is held to it by itself, so that a reply does not end a connection that is owed what may be dropped.
    """

    __slots__ = ("_front", "_line", "_may_go_bytes", "_named", "_replaced", "_size", "count", "posted_bytes")

    def __init__(self) -> None:
        self._line = _Line()
        # What stands before the first frame that may go. A search for that one puts it there, so that the next search
        # does not meet it again. None for nothing.
        self._front: _Line | None = None
        self._named: dict[Hashable, _Frame] = {}
        self._replaced = 0  # of the frames
        self._size = 0
        self._may_go_bytes = 0
        self.count = 0
        self.posted_bytes = 0

    def __len__(self) -> int:
        """How many bytes wait."""
        return self._size

    def admit(
        self, frame: bytes, policy: str, excess_bytes: int, key: Hashable = None, excess_count: int = 0
    ) -> tuple[int, int] | None:
        """Take a posted frame, unless it is what has to go.

        Args:
            frame: One message, framed.
            policy: What gives way where there is no room. ``drop_newest``: this one. ``drop_oldest``: those that were
                posted first, and that way; this one where all of those would make too little room. ``latest``:
                likewise, and room or not the one that waits with the same key: an older value never outlives a newer
                one. ``raise``: none. ``disconnect`` is the connection's to obey.
            excess_bytes: How far over its limit the peer would be with it; 0 or less when there is room.
            key: What ``latest`` tells messages apart by.
            excess_count: How many frames too many there would be with it, where those are counted.

        Returns:
            How many messages were given up, and of how many bytes together; None for nothing.

        Raises:
            QueueFullError: There is no room, and the policy is ``raise``. Nothing has changed.
        """
        count = size_bytes = 0
        if policy == "latest" and (old := self._named.get(key)) is not None:
            count, size_bytes = 1, len(old.data)
            self._replace(old)
        if excess_bytes > size_bytes or excess_count > count:
            if policy == "raise":
                raise QueueFullError(f"{len(frame)} bytes more would be {excess_bytes} more than the peer may be owed")
            if policy == "drop_newest" or excess_bytes - size_bytes > self._may_go_bytes:
                return count + 1, size_bytes + len(frame)
            more, more_bytes = self._give_up(excess_bytes - size_bytes, excess_count - count)
            count += more
            size_bytes += more_bytes
        self._append(frame, _WAYS[policy], (key,) if policy == "latest" else None)
        return (count, size_bytes) if count else None

    def keep(self, frame: bytes) -> None:
        """Take a frame, or several, that must not be given up, to leave after those that wait."""
        self._append(frame, _KEPT)

    def take(self, least_bytes: int = 1) -> bytes:
        """Return the oldest frames, whole: as few as make up so many bytes, or all there are."""
        if self._front is None:
            return self._take_from(self._line, least_bytes)
        taken = self._take_from(self._front, least_bytes)
        if not self._front.frames:
            self._front = None
        left_bytes = least_bytes - len(taken)
        return taken + self._take_from(self._line, left_bytes) if left_bytes > 0 else taken

    def take_as_posted(self) -> tuple[bytes, OnFull, Hashable]:
        """Return the oldest frame of a queue all of which may go, with the policy and the key that it came with."""
        frames = self._line.frames
        while isinstance(first := frames[0], _Frame) and not first.data:
            frames.popleft()
            self._replaced -= 1
        if isinstance(first, _Frame) and first.key is not None:
            key = first.key[0]
            return self.take(), "latest", key
        return self.take(), "drop_oldest", None

    def told(self) -> tuple[bytes, list[int], dict[int, Hashable]]:
        """Return what `recall` makes of another queue what this one is.

        Returns:
            The bytes; of each frame its size and way; and the keys of those that a later one may replace, by place.
        """
        data, frames = bytearray(), []
        names: dict[int, Hashable] = {}
        for line in (self._front, self._line):
            short = 0
            for frame in line.frames if line is not None else ():
                if isinstance(frame, int):
                    assert line is not None
                    data += line.data[short : short + (frame >> 2)]
                    short += frame >> 2
                    frames.append(frame)
                elif frame.data:
                    data += frame.data
                    if frame.key is not None:
                        names[len(frames)] = frame.key[0]
                    frames.append(len(frame.data) << 2 | frame.way)
        return bytes(data), frames, names

    def recall(self, data: bytes, frames: Sequence[int], names: Mapping[int, Hashable] = _NO_NAMES) -> None:
        """Have what another queue told of, behind what waits, where nothing has any of the keys."""
        at = 0
        for place, frame in enumerate(frames):
            name = (names[place],) if place in names else None
            self._append(data[at : at + (frame >> 2)], frame & 3, name)
            at += frame >> 2

    def clear(self) -> None:
        """Forget all of it: the connection, or the member, is gone."""
        self._front, self._line = None, _Line()
        self._named.clear()
        self._replaced = self._size = self._may_go_bytes = self.count = self.posted_bytes = 0

    def _append(self, frame: bytes, way: int, name: tuple[Hashable] | None = None) -> None:
        size = len(frame)
        if not size:
            return
        if name is None and size < _WORTH_A_REFERENCE:
            self._line.data += frame
            self._line.frames.append(size << 2 | way)
        else:
            waiting = _Frame(frame, way, name)
            self._line.frames.append(waiting)
            if name is not None:
                self._named[name[0]] = waiting
        self.count += 1
        self._size += size
        if way:
            self.posted_bytes += size
            if way == _GIVES_WAY:
                self._may_go_bytes += size

    def _take_from(self, line: _Line, least_bytes: int) -> bytes:
        taken, frames = bytearray(), line.frames
        copied = 0  # of the short ones, and not taken from there so far
        while frames and len(taken) + copied < least_bytes:
            frame = frames.popleft()
            if isinstance(frame, int):
                copied += frame >> 2
                self._goes(frame >> 2, frame & 3)
            elif frame.data:
                taken += line.cut(copied)
                copied = 0
                if not taken and len(frame.data) >= least_bytes:
                    self._let_go(frame)
                    return frame.data
                taken += frame.data
                self._let_go(frame)
            else:
                self._replaced -= 1
        return bytes(taken + line.cut(copied))

    def _goes(self, size: int, way: int) -> None:
        """Count a frame as one that waits no more."""
        self.count -= 1
        self._size -= size
        if way:
            self.posted_bytes -= size
            if way == _GIVES_WAY:
                self._may_go_bytes -= size

    def _let_go(self, frame: _Frame) -> None:
        self._goes(len(frame.data), frame.way)
        if frame.key is not None:
            del self._named[frame.key[0]]

    def _replace(self, frame: _Frame) -> None:
        self._let_go(frame)
        frame.data = b""
        self._replaced += 1
        if self._replaced > _REPLACED + self.count:
            self._line.frames = deque(each for each in self._line.frames if isinstance(each, int) or each.data)
            self._replaced = 0

    def _give_up(self, least_bytes: int, least_count: int) -> tuple[int, int]:
        """Forget the oldest frames that may go, so many bytes and frames of them or more; return how many of each."""
        line, front = self._line, self._front or _Line()
        count = given_up = 0
        while given_up < least_bytes or count < least_count:
            frame = line.frames.popleft()
            if isinstance(frame, int):
                size, way = frame >> 2, frame & 3
                data = line.cut(size)
                if way != _GIVES_WAY:
                    front.data += data
                else:
                    self._goes(size, way)
            else:
                size, way = len(frame.data), frame.way
                if not size:
                    self._replaced -= 1
                    continue
                if way == _GIVES_WAY:
                    self._let_go(frame)
            if way == _GIVES_WAY:
                count += 1
                given_up += size
            else:
                front.frames.append(frame)
        self._front = front if front.frames else None
        return count, given_up
