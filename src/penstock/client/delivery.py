"""What becomes of each message of a client that stays connected. No I/O and no clock.

A message is queued; it is handed to a connection once, or more often if it is a request marked idempotent; its reply
comes, or cannot come any more. Every one of these steps is a method here, and nothing else moves a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ..core.matching import Matcher
from ..errors import RequestLostError
from ..reasons import CloseReason
from .outbox import Entry, Outbox, Stage

M = TypeVar("M")

# Frames are joined into writes of about this size.
_WRITE_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class ClientStats:
    """Counted since the client was made.

    Attributes:
        connects: Connections that were made and whose hello hook has run.
        failures: Attempts that ended before that.
        sent: Messages handed to a connection, each time counted.
        resent: Those of them that had been sent before: only requests marked idempotent.
        replies: Replies handed to callers that waited.
        late: Replies to requests that nobody waited for any more, dropped.
        lost: Requests whose connection ended before their reply came, and that were not sent again.
        dropped: Messages that were given up before they were sent: the queue was full, or the client was closed.
        unexpected: Messages that were no reply, with nobody to take them.
    """

    connects: int = 0
    failures: int = 0
    sent: int = 0
    resent: int = 0
    replies: int = 0
    late: int = 0
    lost: int = 0
    dropped: int = 0
    unexpected: int = 0


class Delivery(Generic[M]):
    """The queue, the requests that are owed a reply, and the books.

    Args:
        outbox: What was not sent yet.
        matcher: What was sent and is owed a reply.
        in_flight_max: The most requests that may be owed a reply at once.
        attempts_max: How often an idempotent request is sent at most.

    Attributes:
        stats: The books.
    """

    def __init__(self, outbox: Outbox, matcher: Matcher[M, Entry], *, in_flight_max: int, attempts_max: int) -> None:
        self._outbox = outbox
        self._matcher = matcher
        self._in_flight_max = in_flight_max
        self._attempts_max = attempts_max
        self._abandoned = 0  # requests in flight that nobody waits for any more
        self.stats = ClientStats()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued and nothing is owed a reply."""
        return not self._outbox and not self._matcher

    @property
    def has_queued(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._outbox)

    def check(self, message: M) -> Hashable:
        """Reserve a request's id; raises LocalProtocolError when it is taken."""
        return self._matcher.check(message)

    def release(self, request_id: Hashable) -> None:
        """Give back the id of a request that came to nothing."""
        self._matcher.forget(request_id)

    def queue(self, entry: Entry, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        """Queue a message; return a future to wait for when there is no room yet. Raises QueueFullError."""
        room, dropped = self._outbox.put(entry, loop)
        if dropped is not None:
            self.stats.dropped += 1
            self._over(dropped)
        return room

    def next_frames(self) -> list[bytes]:
        """Take the frames of one write out of the queue: from here on they count as sent."""
        outbox, matcher, stats = self._outbox, self._matcher, self.stats
        frames: list[bytes] = []
        size = 0
        while outbox and size < _WRITE_BYTES:
            entry = outbox.first
            if entry.reply is None:
                outbox.pop()
                entry.stage = Stage.OVER
            elif entry.reply.done():  # cancelled in this very turn of the loop
                outbox.pop()
                self._over(entry)
                continue
            elif len(matcher) < self._in_flight_max:
                outbox.pop()
                entry.stage = Stage.IN_FLIGHT
                matcher.sent(entry.request_id, entry)
            else:
                break
            stats.sent += 1
            stats.resent += entry.attempts > 0
            entry.attempts += 1
            frames.append(entry.data)
            size += len(entry.data)
        return frames

    def answer(self, message: M) -> bool:
        """Give a message to the request it is the reply to; return whether there is one."""
        entry = self._matcher.take(message)
        if entry is None:
            return False
        self._over(entry)
        if entry.is_awaited:
            assert entry.reply is not None
            self.stats.replies += 1
            entry.reply.set_result(message)
        else:
            self.stats.late += 1
            self._abandoned -= 1
        return True

    def abandon(self, entry: Entry) -> bool:
        """No caller waits for this message any more.

        Returns:
            Whether the connection is of no use: the peer owes a full window of replies, none of which anybody wants,
            and lets nothing else through.
        """
        if entry.reply is not None and not entry.reply.cancel() and not entry.reply.cancelled():
            entry.reply.exception()  # nobody else will look at it
        if entry.stage is Stage.IN_FLIGHT:
            self._abandoned += 1
            return self._abandoned >= self._in_flight_max
        if entry.stage is Stage.QUEUED:
            self._outbox.remove(entry)
        self._over(entry)
        return False

    def connection_lost(self, reason: CloseReason) -> None:
        """What is in flight is asked for again where that is allowed, else lost."""
        self._abandoned = 0
        again: list[Entry] = []
        for entry in self._matcher.clear():
            if entry.is_awaited and entry.idempotent and entry.attempts < self._attempts_max:
                again.append(entry)
                continue
            self._over(entry)
            if entry.is_awaited:
                self.stats.lost += 1
                entry.fail(RequestLostError(reason))
        self._outbox.put_back(again)

    def end(self, error: Exception) -> None:
        """The client is closed: nothing that is queued will be sent."""
        for entry in self._outbox.clear(error):
            self.stats.dropped += 1
            self._over(entry)

    def _over(self, entry: Entry) -> None:
        if entry.stage is not Stage.OVER:
            entry.stage = Stage.OVER
            self._matcher.forget(entry.request_id)
