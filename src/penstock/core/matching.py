"""Which reply belongs to which request. No I/O and no clock: what was sent goes in, whose reply came comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from ..codecs.base import Codec
from ..errors import LocalProtocolError

M = TypeVar("M")
E = TypeVar("E")


class Matcher(ABC, Generic[M, E]):
    """The requests that are owed a reply on one connection, in the order they were sent.

    One that nobody waits for any more stays in here until its reply has come: so the reply is recognized, and dropped.
    """

    @abstractmethod
    def check(self, message: M) -> Hashable:
        """Return the id that a request will be known by; called before it is queued.

        Raises:
            LocalProtocolError: It cannot be told from another that still is owed a reply.
        """

    @abstractmethod
    def sent(self, request_id: Hashable, entry: E) -> None:
        """A request was sent."""

    @abstractmethod
    def forget(self, request_id: Hashable) -> None:
        """A request that was checked will not be sent any more, or its reply came."""

    @abstractmethod
    def take(self, message: M) -> E | None:
        """Return whose reply this is, and forget it; None when it is nobody's."""

    @abstractmethod
    def clear(self) -> list[E]:
        """The connection is gone: return what was owed a reply, in the order it was sent."""

    @abstractmethod
    def __len__(self) -> int:
        """How many are owed a reply."""


class InOrder(Matcher[M, E]):
    """Replies come in the order of their requests, as in Redis, SMTP and most line protocols."""

    def __init__(self) -> None:
        self._entries: deque[E] = deque()

    def check(self, message: M) -> Hashable:
        """Every request has its place."""
        return None

    def sent(self, request_id: Hashable, entry: E) -> None:
        """Its reply is the one after those of all before it."""
        self._entries.append(entry)

    def forget(self, request_id: Hashable) -> None:
        """Nothing is remembered."""

    def take(self, message: M) -> E | None:
        """Return the oldest."""
        return self._entries.popleft() if self._entries else None

    def clear(self) -> list[E]:
        """Return all, oldest first."""
        entries = list(self._entries)
        self._entries.clear()
        return entries

    def __len__(self) -> int:
        return len(self._entries)


class ById(Matcher[M, E]):
    """A reply names its request.

    Args:
        request_id: Returns the id in a request.
        reply_id: Returns the id in a reply, or None for a message that is no reply.
    """

    def __init__(self, request_id: Callable[[M], Hashable], reply_id: Callable[[M], Hashable]) -> None:
        self._request_id = request_id
        self._reply_id = reply_id
        self._used: set[Hashable] = set()
        self._entries: dict[Hashable, E] = {}

    def check(self, message: M) -> Hashable:
        """Reserve the request's id: until its reply has come, no other may have it."""
        request_id = self._request_id(message)
        if request_id is None or request_id in self._used:
            what = "has no id" if request_id is None else f"has the id {request_id!r}, whose reply is still owed"
            raise LocalProtocolError(f"the request {what}")
        self._used.add(request_id)
        return request_id

    def sent(self, request_id: Hashable, entry: E) -> None:
        """Remember it by its id."""
        self._entries[request_id] = entry

    def forget(self, request_id: Hashable) -> None:
        """Its id may be used again."""
        self._used.discard(request_id)

    def take(self, message: M) -> E | None:
        """Return the one the reply names."""
        reply_id: Any = self._reply_id(message)
        return None if reply_id is None else self._entries.pop(reply_id, None)

    def clear(self) -> list[E]:
        """Return all, oldest first. Their ids stay reserved until they are forgotten."""
        entries = list(self._entries.values())
        self._entries.clear()
        return entries

    def __len__(self) -> int:
        return len(self._entries)


def matcher_of(codec: Codec[M]) -> Matcher[M, Any]:
    """Return how replies find their requests as a codec has it: by its ``request_id`` and ``reply_id``, or in order."""
    request_id, reply_id = getattr(codec, "request_id", None), getattr(codec, "reply_id", None)
    return InOrder() if request_id is None or reply_id is None else ById(request_id, reply_id)
