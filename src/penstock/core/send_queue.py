"""What waits for a peer that reads too slowly, and what is given up for it. Decisions without I/O."""

from __future__ import annotations

from collections import deque

from ..config import Limits, SlowConsumer
from ..errors import QueueFullError


def progressed(limits: Limits, taken_bytes: int) -> bool:
    """Return whether a peer that took so much in ``write_s`` reads on: as much as lets reading it go on.

    Less does not count: a peer that reads a byte now and then would hold its output for ever.
    """
    return taken_bytes >= max(1, limits.write_high_bytes - limits.write_low_bytes)


class SendQueue:
    """Frames behind those that the transport holds: as long as they wait here, the oldest can still be given up.

    What the transport holds may have left in part and is never given up; nor is what was not posted: replies, and what
    `send` has waited for. The bytes are kept in one piece, with one number for each frame.

    Attributes:
        posted_bytes: How many of the bytes may be given up. They are held to the limit by `admit`; what is not posted
            is held to it by itself, so that a reply does not end a connection that is owed what may be dropped.
    """

    __slots__ = ("_data", "_sizes", "posted_bytes")

    def __init__(self) -> None:
        self._data = bytearray()
        self._sizes: deque[int] = deque()  # negative where the frame must not be given up
        self.posted_bytes = 0

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._data)

    def admit(self, frame: bytes, policy: SlowConsumer, excess_bytes: int) -> tuple[int, int] | None:
        """Take a posted frame, unless it is what has to go.

        Args:
            frame: One message, framed.
            policy: What gives way: any but ``disconnect``, which is the connection's to obey.
            excess_bytes: How far over its limit the peer would be with it; 0 or less when there is room.

        Returns:
            How many messages were given up, and of how many bytes together; None for nothing.

        Raises:
            QueueFullError: There is no room, and the policy is ``raise``. Nothing has changed.
        """
        if excess_bytes <= 0:
            self._append(frame, posted=True)
            return None
        if policy == "raise":
            raise QueueFullError(f"{len(frame)} bytes more would be {excess_bytes} more than the peer may be owed")
        if policy == "drop_newest" or excess_bytes > self.posted_bytes:
            count, size_bytes = 1, len(frame)
        else:
            count, size_bytes = self._give_up(excess_bytes)
            self._append(frame, posted=True)
        return count, size_bytes

    def keep(self, frame: bytes) -> None:
        """Take a frame, or several, that must not be given up, to leave after those that wait."""
        self._append(frame, posted=False)

    def take(self, least_bytes: int = 1) -> bytes:
        """Return the oldest frames, whole: as few as make up so many bytes, or all there are."""
        size = 0
        sizes = self._sizes
        while sizes and size < least_bytes:
            next_size = sizes.popleft()
            self.posted_bytes -= max(next_size, 0)
            size += abs(next_size)
        taken = bytes(self._data[:size])
        del self._data[:size]  # at the front, where a bytearray gives up bytes without moving the others
        return taken

    def hand_over(self) -> tuple[bytes, list[int]]:
        """Give away all of it: the bytes, and the size of each frame, below 0 where it must not be given up."""
        found = bytes(self._data), list(self._sizes)
        self.clear()
        return found

    def take_over(self, data: bytes, sizes: list[int]) -> None:
        """Have again what was given away, before what waits by now."""
        self._data[:0] = data
        self._sizes.extendleft(reversed(sizes))
        self.posted_bytes += sum(size for size in sizes if size > 0)

    def clear(self) -> None:
        """Forget all of it: the connection is gone."""
        self._data.clear()
        self._sizes.clear()
        self.posted_bytes = 0

    def _append(self, frame: bytes, *, posted: bool) -> None:
        if frame:
            self._data += frame
            self._sizes.append(len(frame) if posted else -len(frame))
            self.posted_bytes += len(frame) if posted else 0

    def _give_up(self, least_bytes: int) -> tuple[int, int]:
        """Forget the oldest posted frames, so many bytes of them or more; return their number and their bytes."""
        kept: list[int] = []
        at = count = given_up = 0
        while given_up < least_bytes:
            size = self._sizes.popleft()
            if size < 0:
                kept.append(size)
                at -= size
            else:
                del self._data[at : at + size]
                count += 1
                given_up += size
        self._sizes.extendleft(reversed(kept))
        self.posted_bytes -= given_up
        return count, given_up
