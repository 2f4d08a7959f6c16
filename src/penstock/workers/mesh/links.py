"""The sockets of a worker to all others: what they say is read in the loop, and on every thread that wants to know."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from .frames import AnySaid, Hello, Known, Mark, Marked, Presence, Publication, Settled
from .link import Link
from .presence import count_members

# How long a worker that ends waits for room for what it has said last.
LAST_WORDS_S: Final = 2.0

# So often is read what a worker has said that has ended: a socket holds less than that.
_LAST_READS: Final = 64

_logger: Final = logging.getLogger("penstock")


class Links:
    """Iterating yields each link that is open, under the lock.

    Args:
        hear: Told in the loop what a worker has said; None for that it has ended.
        arrived: Told in the loop what it has published, before all else that it has said.
        parted: Told the number of a worker that was cut, as it does not read.

    Attributes:
        lock: Of the selector, of what links have told, and of what the mesh tells them. Groups and registries call with
            their own locks held, so none of theirs is taken under it.
        loop: Whose turns these are.
        is_closed: Whether this worker has left.
    """

    def __init__(
        self,
        hear: Callable[[Link, AnySaid | None], object],
        arrived: Callable[[Link, Publication], object],
        parted: Callable[[int], object],
    ) -> None:
        self.lock = threading.RLock()
        self.loop = asyncio.get_running_loop()
        self.is_closed = False
        self._hear = hear
        self._arrived = arrived
        self._parted = parted
        self._by_number: dict[int, Link] = {}
        self._selector = selectors.DefaultSelector()
        self.loop.add_reader(self._selector, self._readable)
        self._inbox: deque[tuple[Link, AnySaid | None]] = deque()  # None: the link has ended
        self._published: deque[tuple[Link, Publication]] = deque()
        self._flushes: set[Link] = set()
        self._leaving: asyncio.Future[None] | None = None  # once this worker ends: until all is said

    def __iter__(self) -> Iterator[Link]:
        return iter(list(self._by_number.values()))

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def get(self, number: int) -> Link | None:
        """Return the link to a worker; None where it has ended. Safe from every thread."""
        return self._by_number.get(number)

    @property
    def have_published(self) -> bool:
        """Whether something was published that has not been delivered."""
        return bool(self._published)

    # -- who is there --------------------------------------------------------------------------------------------------

    def add(self, sock: socket.socket, number: int, slot: int) -> Link:
        """Hear another worker, under the lock."""
        link = Link(sock, number, slot, self._changed)
        self._by_number[number] = link
        self._selector.register(link, selectors.EVENT_READ)
        return link

    def gone(self, number: int) -> None:
        """A worker has ended, whichever child of it has copies of its sockets: what it has said is heard."""
        with self.lock:
            link = self._by_number.get(number)
            if link is None:
                return
            for _ in range(_LAST_READS):
                if not link.is_open or not self._read(link):
                    break
            self._end(link)

    def _end(self, link: Link) -> None:
        """The other worker is gone: so are its members, at once."""
        with self.lock:
            if self._by_number.get(link.number) is not link:
                return
            del self._by_number[link.number]
            self._selector.unregister(link)
            link.close()
            link.members.clear()
            self._inbox.append((link, None))
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._hear_all)

    async def leave(self) -> None:
        """Wait until all is written that was said, not for ever; then close."""
        for link in self:
            link.flush()
        self._leaving = self.loop.create_future()
        self._check_left()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving, LAST_WORDS_S)
        finally:
            self.close()

    def _check_left(self) -> None:
        waits = self._leaving
        if waits is not None and not waits.done() and not any(link.waits for link in self):
            waits.set_result(None)

    def close(self) -> None:
        """Be gone at once: what waits for room is lost. May be repeated."""
        if self.is_closed:
            return
        self.is_closed = True
        self.loop.remove_reader(self._selector)
        with self.lock:
            links, self._by_number = list(self), {}
            for link in links:
                link.flush()
                self._selector.unregister(link)
                link.close()
            self._selector.close()

    # -- writing -------------------------------------------------------------------------------------------------------

    def flush_soon(self, link: Link) -> None:
        """Write what waits for a worker in the loop's next turn: what is said until then goes along. On any thread."""
        with self.lock:
            if link in self._flushes:
                return
            self._flushes.add(link)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(self._flush, link)

    def _flush(self, link: Link) -> None:
        with self.lock:
            self._flushes.discard(link)
        link.flush()
        if link.is_lost and link.is_open:
            _logger.error(
                "worker %d does not read: what waits for it is given up, and they get to know each other anew",
                link.slot,
            )
            self._end(link)
            self._parted(link.number)

    def _changed(self, link: Link) -> None:
        with self.lock:  # two threads may come in another order than they have changed it
            if link.is_open and self._by_number.get(link.number) is link:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.waits else 0)
                self._selector.modify(link, events)
                if link.is_lost:
                    self.flush_soon(link)
        if self._leaving is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self._check_left)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self.catch_up()
        self._hear_all()

    def catch_up(self) -> None:
        """As `Elsewhere.catch_up`. All else waits for the loop's next turn."""
        with self.lock:
            if self.is_closed:
                return
            had = bool(self._inbox or self._published)
            ready: list[tuple[Any, int]] = [(key.fileobj, events) for key, events in self._selector.select(0)]
            # A connection that has moved was an earlier worker's: what it published there comes first.
            for link, events in sorted(ready, key=lambda each: each[0].number):
                if events & selectors.EVENT_READ:
                    self._read(link)
                if events & selectors.EVENT_WRITE and link.is_open:
                    link.flush()
            has = bool(self._inbox or self._published)
        if asyncio._get_running_loop() is self.loop:  # noqa: SLF001  # the public one raises where there is none
            self._deliver_all()
            has = bool(self._inbox)
        if has and not had:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._hear_all)

    def _read(self, link: Link) -> bool:
        """Take note of what a worker has said; return whether that was anything."""
        found, is_there = link.read()
        for said in found:
            match said:  # what says whom the next publication goes to holds at once
                case Presence():
                    count_members(link.members, said.group, (said.codec, said.records), said.count)
                case Hello():
                    link.hello = said
                    link.wants_all = said.wants_all
                    link.say(Known())
                    self._inbox.append((link, said))
                case Mark():
                    link.say(Marked(said.number))
                case Settled():
                    link.wants_all = False
                case Publication():
                    self._published.append((link, said))
                case _:
                    self._inbox.append((link, said))
        if not is_there:
            self._end(link)
        return bool(found)

    def _deliver_all(self) -> None:
        while self._published:
            link, said = self._published.popleft()
            try:
                self._arrived(link, said)
            except Exception:
                _logger.exception("what worker %d has published is passed over", link.slot)

    def _hear_all(self) -> None:
        self._check_left()  # who has ended is not waited for
        self._deliver_all()
        while self._inbox:
            link, said = self._inbox.popleft()
            try:
                self._hear(link, said)
            except Exception:
                _logger.exception("what worker %d has said is passed over", link.slot)
