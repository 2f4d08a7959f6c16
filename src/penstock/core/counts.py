"""What a gate counts: who is in, of which address, and who was refused. Numbers, apart from what is decided by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from ..reasons import Refusal
from ..units import Rate
from .buckets import Bucket, Buckets


class Counts:
    """The connections of one process, and the refusals.

    There is one writer: the gate of the process, under its engine's lock where there are several threads. The gate
    decides by what it reads here and writes what it has decided. Where several processes serve together,
    `SharedCounts` reads the sum of all and writes what is its process's own.

    Attributes:
        open: Connections that were admitted, and whose transports are there.
        orphans: Those whose transports are gone and whose handlers are not. They are counted under their keys still.
        reserved: Those of them that are of the rules' ``reserve_for``.
        handshakes: Those of them that have not finished their handshake.
        refused: Refusals so far, by reason.
    """

    __slots__ = ("_of_key", "handshakes", "open", "orphans", "refused", "reserved")

    def __init__(self) -> None:
        self.open = 0
        self.orphans = 0
        self.reserved = 0
        self.handshakes = 0
        self.refused: Counter[Refusal] = Counter()
        self._of_key: dict[Hashable, int] = {}

    # Whether this process has no room, wherever else there is: there is nowhere else.
    is_full_here = False

    def of_key(self, key: Hashable) -> int:
        """Return how many of those who are counted under ``key`` are in."""
        return self._of_key.get(key, 0)

    def enter(self, key: Hashable, reserved: int) -> None:
        """Count one who is let in.

        Args:
            key: What the peer is counted under; None for no key.
            reserved: 1 for one of ``reserve_for``, else 0.

        Raises:
            MemoryError: Nothing was counted.
        """
        # Numbers first, then what may want room for a key, then what cannot fail: no connection is half counted.
        # Without a call, since a signal handler, which may end others, runs at calls: the numbers would be old then.
        count, reserved, of_key = self.open + 1, self.reserved + reserved, self._of_key
        if key is not None:
            of_key[key] = of_key[key] + 1 if key in of_key else 1
        self.open, self.reserved = count, reserved

    def part(self, reserved: int) -> None:
        """The transport of one who was let in is gone, and its handler is not; ``reserved`` as of `enter`.

        Raises:
            MemoryError: Nothing has changed.
        """
        count, reserved, orphans = self.open - 1, self.reserved - reserved, self.orphans + 1
        self.open, self.reserved, self.orphans = count, reserved, orphans

    def leave(self, key: Hashable, reserved: int, orphan: bool = False) -> None:
        """One who was let in has left; the arguments are those of `enter`.

        Args:
            key: As of `enter`.
            reserved: As of `enter`.
            orphan: `part` was called for it before.

        Raises:
            MemoryError: Nothing has changed.
        """
        count, orphans = (self.open, self.orphans - 1) if orphan else (self.open - 1, self.orphans)
        reserved = self.reserved if orphan else self.reserved - reserved
        if key is not None:
            left = self._of_key[key] - 1
            if left:
                self._of_key[key] = left
            else:
                del self._of_key[key]
        self.open, self.reserved, self.orphans = count, reserved, orphans

    def move(self, key: Hashable, reserved: int, to: Hashable, to_reserved: int) -> None:
        """Count one who is in under another key: what a proxy has let in is its client's.

        Args:
            key: As of `enter`, when it was let in.
            reserved: Likewise.
            to: As of `enter`, from now on.
            to_reserved: Likewise.

        Raises:
            MemoryError: Nothing has changed.
        """
        all_reserved, of_key = self.reserved - reserved + to_reserved, self._of_key
        if key != to:
            left = 0 if key is None else of_key[key] - 1
            if to is not None:
                of_key[to] = of_key[to] + 1 if to in of_key else 1
            if left:
                of_key[key] = left
            elif key is not None:
                del of_key[key]
        self.reserved = all_reserved

    def begin_handshake(self) -> None:
        """One who was let in begins a handshake."""
        self.handshakes += 1

    def end_handshake(self) -> None:
        """Its handshake is over."""
        self.handshakes -= 1

    def bucket(self, rate: Rate, *, is_new: bool) -> Bucket:
        """Return the bucket that all take from."""
        return Bucket(rate)

    def buckets(self, rate: Rate, *, is_new: bool) -> Buckets:
        """Return a bucket for each address."""
        return Buckets(rate)
