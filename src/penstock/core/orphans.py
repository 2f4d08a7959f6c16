"""Orphans: handlers that outlive their peers. Who they are, and which of them gives way. Decisions without I/O.

A connection whose transport is gone has no place any more, but its handler may be at work: on a message that was
received whole, which is not to be lost because its sender left, or it waits elsewhere, for a queue, a lock, a thread.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from ..config import Timeouts
from ..reasons import CloseReason

# A handler that was cancelled has so long to end before it counts again: it may have swallowed that.
ENDING_S: Final = 1.0

# Where none was found that could be cancelled, none is looked for again for so long: each newcomer would have all of
# them asked.
LOOK_AGAIN_S: Final = 0.1


class Orphan(Protocol):
    """A connection as far as its handler outlives it."""

    @property
    def id(self) -> int:
        """A number unique in this process."""

    @property
    def messages_begun(self) -> int:
        """Messages that its handler was given, without those that were cut ahead."""

    @property
    def close_reason(self) -> CloseReason | None:
        """Why it ended."""

    @property
    def timeouts(self) -> Timeouts:
        """Its own."""

    @property
    def handler_ended(self) -> bool:
        """Whether its handler has ended, or is about to without being told."""

    @property
    def has_unfinished(self) -> bool:
        """Whether a message that was received whole is at work, or has yet to be."""

    def handler_place(self) -> str:
        """Say where its handler waits."""

    def cancel_handler(self) -> bool:
        """Cancel its handler. Return False where that cannot be done: it is in a thread."""


class Orphans:
    """The orphans of one server, in the order in which they became it."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[Any, float]] = {}  # by the connection's number; Any: an `Orphan`
        self._ending: dict[int, float] = {}  # those that were cancelled less than ENDING_S ago
        self._tried: set[int] = set()  # those that were cancelled, or cannot be
        self._fruitless_at: float | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __iter__(self) -> Any:
        """Return those who wait and since when, the longest first, as they are now."""
        return iter(list(self._since.values()))

    def add(self, orphan: Orphan, now: float) -> None:
        """Take one in."""
        self._since[orphan.id] = orphan, now
        self._fruitless_at = None

    def discard(self, number: int) -> None:
        """The handler of the connection with that number has ended."""
        self._since.pop(number, None)
        self._ending.pop(number, None)
        self._tried.discard(number)
        self._fruitless_at = None

    def since(self, orphan: Orphan) -> float:
        """Return since when it is one of them."""
        return self._since[orphan.id][1]

    def is_full(self, most: int, now: float) -> bool:
        """Say whether there are as many as there may be, ``most``, and none that would give way to one more."""
        count = len(self._since)
        if count < most or count - self._ending_at(now) < most:
            return False
        if self._fruitless_at is not None and now - self._fruitless_at < LOOK_AGAIN_S:
            return True
        if self._candidate() is None:
            self._fruitless_at = now
            return True
        return False

    def give_way(self, most: int, now: float) -> Orphan | None:
        """Cancel the one that has waited longest with no received message unfinished, where there are too many.

        Returns:
            Which one; None where there are not too many, or there is none.
        """
        while len(self._since) - self._ending_at(now) > most:
            found = self._candidate()
            if found is None:
                return None
            if self.cancel(found, now):
                return found
        return None

    def cancel(self, orphan: Orphan, now: float) -> bool:
        """Cancel one. Return whether that could be done."""
        self._tried.add(orphan.id)
        if not orphan.cancel_handler():
            return False
        self._ending[orphan.id] = now
        return True

    def _candidate(self) -> Orphan | None:
        for number, (orphan, _) in self._since.items():
            if number not in self._tried and not orphan.has_unfinished:
                found: Orphan = orphan
                return found
        return None

    def _ending_at(self, now: float) -> int:
        for number, at in list(self._ending.items()):  # in the order of their instants
            if now - at < ENDING_S:
                break
            del self._ending[number]
        return len(self._ending)
