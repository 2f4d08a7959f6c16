"""What a client has not sent yet: a queue with an end, and a rule for when it is full."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from enum import Enum, StrEnum
from typing import Any

from ..errors import QueueFullError


class WhenFull(StrEnum):
    """What happens to a message for which the queue has no room."""

    WAIT = "wait"  # its sender waits
    DROP_OLDEST = "drop_oldest"  # the one that has waited longest is given up for it
    RAISE = "raise"  # its sender gets QueueFullError


class Stage(Enum):
    """How far a message has come."""

    NEW = 1  # it is not in the queue yet, and may never be
    QUEUED = 2
    IN_FLIGHT = 3  # it was sent, and is owed a reply
    OVER = 4  # it has its reply, or will never have one


class Entry:
    """One message on its way.

    Attributes:
        data: Its frame.
        reply: Settled with the reply, or with why there is none; None for a message that has no reply.
        request_id: What its reply is known by.
        idempotent: Whether it may be sent again.
        attempts: How often it was sent.
        stage: How far it has come.
    """

    __slots__ = ("attempts", "data", "idempotent", "reply", "request_id", "stage")

    def __init__(
        self, data: bytes, reply: asyncio.Future[Any] | None, request_id: Hashable, *, idempotent: bool
    ) -> None:
        self.data = data
        self.reply = reply
        self.request_id = request_id
        self.idempotent = idempotent
        self.attempts = 0
        self.stage = Stage.NEW

    @property
    def is_awaited(self) -> bool:
        """Whether somebody still waits for its reply."""
        return self.reply is not None and not self.reply.done()

    def fail(self, error: Exception) -> None:
        """Tell the caller that waits that there will be no reply."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)


class Outbox:
    """A queue of entries that holds ``size`` of them, those put back at its front not counted.

    Args:
        size: The most entries, 1 or more.
        when_full: What happens to one more.
    """

    def __init__(self, size: int, when_full: WhenFull) -> None:
        self._size = size
        self._when_full = when_full
        self._entries: OrderedDict[Entry, None] = OrderedDict()
        self._waiting: deque[tuple[Entry, asyncio.Future[None]]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> Entry:
        """The one to be sent next."""
        return next(iter(self._entries))

    def put(self, entry: Entry, loop: asyncio.AbstractEventLoop) -> tuple[asyncio.Future[None] | None, Entry | None]:
        """Add an entry at the end, now or when there is room.

        Returns:
            A future that is done once the entry is in, or None if it is; and the entry that was dropped for it.

        Raises:
            QueueFullError: There is no room, and the rule is to say so.
        """
        if len(self._entries) < self._size and not self._waiting:
            self._add(entry)
            return None, None
        if self._when_full is WhenFull.RAISE:
            raise QueueFullError(f"{len(self._entries)} messages wait to be sent already")
        if self._when_full is WhenFull.DROP_OLDEST:
            dropped = self.pop()
            dropped.fail(QueueFullError("given up for a newer message: the queue is full"))
            self._add(entry)
            return None, dropped
        room: asyncio.Future[None] = loop.create_future()
        self._waiting.append((entry, room))
        return room, None

    def _add(self, entry: Entry) -> None:
        entry.stage = Stage.QUEUED
        self._entries[entry] = None

    def pop(self) -> Entry:
        """Take the first one out."""
        entry, _ = self._entries.popitem(last=False)
        self._let_in()
        return entry

    def remove(self, entry: Entry) -> None:
        """Take one out, wherever it is."""
        del self._entries[entry]
        self._let_in()

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put entries at the front, in their order: they were the first once."""
        for entry in reversed(list(entries)):
            self._add(entry)
            self._entries.move_to_end(entry, last=False)

    def clear(self, error: Exception) -> list[Entry]:
        """Fail all that are in, and all that wait to be; return those that were in."""
        entries = list(self._entries)
        self._entries.clear()
        for entry in entries:
            entry.fail(error)
        for _, room in self._waiting:
            if not room.done():
                room.set_exception(error)
        self._waiting.clear()
        return entries

    def _let_in(self) -> None:
        while self._waiting and len(self._entries) < self._size:
            entry, room = self._waiting.popleft()
            if not room.done():
                self._add(entry)
                room.set_result(None)
