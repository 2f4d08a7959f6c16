"""What a worker knows of the others: who has members of which group, who has which key, and how to reach them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from ...codecs.base import Codec
from ...core.handover.codecs import text_of
from ...errors import ConfigurationError, LocalProtocolError, PenstockError
from ...groups.distant import DistantConnection
from ...groups.elsewhere import Cursor
from ...groups.group import Group
from ...groups.keys import plain_key
from ...groups.membership import Membership
from ...groups.publication import ArrivedFrames, Frames
from ...groups.registry import Hold, Registry
from .frames import (
    AnySaid,
    Displaced,
    Dropped,
    Hello,
    Known,
    Presence,
    Publication,
    Reply,
    Request,
    Settled,
    encoded,
)
from .keys import SharedKeys
from .link import Kind, Link
from .requests import Requests
from .values import key_of

# How long a worker that begins waits for the others: one that is held knows it later, and until then sends it nothing.
ACQUAINTED_S: Final = 5.0

# Members who come and go change a count, which is told after so long: a first one is told of at once.
TOLD_AFTER_S: Final = 0.05

# Of what was published lately, for connections that come from another worker.
RECORDED_BYTES: Final = 16 * 1024 * 1024

# Codecs whose text is known; a connection may have one of its own.
_CODECS: Final = 256

# Workers of which it is known what has come.
_REMEMBERED: Final = 4096

_logger: Final = logging.getLogger("penstock")


class _Recorded(NamedTuple):
    publication: Publication
    origin: tuple[int, int]


class Mesh:
    """The other workers: `penstock.groups.elsewhere.Elsewhere`.

    Methods without a word on threads belong to the loop's.

    Args:
        number: Of this worker.
        slot: Its slot.
        codecs: Those of its services: what members elsewhere speak is encoded by one of them.
        keys: The memory of all keys; None where there is none.

    Attributes:
        number: As above.
        requests: What is asked of connections elsewhere.
    """

    def __init__(self, number: int, slot: int, codecs: Iterable[Codec[Any]], keys: SharedKeys | None) -> None:
        self.number = number
        self.requests = Requests(self)
        self._slot = slot
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        # Of the selector, of what links have told, and of the order of what is published. Groups and registries call
        # with their own locks held, so none of theirs is taken under it.
        self._lock = threading.RLock()
        self._links: dict[int, Link] = {}
        self._selector = selectors.DefaultSelector()
        self._loop.add_reader(self._selector, self._readable)
        self._inbox: deque[tuple[Link, AnySaid | None]] = deque()  # None: the link has ended
        self._published: deque[tuple[Link, Publication]] = deque()
        self._flushes: set[Link] = set()
        self._seq = 0
        # By worker, also by those that have ended: the number of the last publication that was delivered.
        self._heard: dict[int, int] = {}
        self._texts: dict[int, tuple[Codec[Any], str]] = {}
        self._codecs = {self._text(codec): codec for codec in codecs}
        self._groups: WeakValueDictionary[str, Group[Any]] = WeakValueDictionary()
        self._registries: WeakValueDictionary[str, Registry[Any]] = WeakValueDictionary()
        self._members: dict[str, dict[Kind, int]] = {}
        self._changed: set[tuple[str, Kind]] = set()  # counts that the others are to be told
        self._recorded: deque[_Recorded] | None = None  # while connections may come from another worker
        self._recorded_bytes = 0
        self._floors: dict[str, dict[int, Cursor]] = {}  # by group, for each member that has come: what it had got
        self._acquainted: asyncio.Future[None] | None = None
        self._is_closed = False

    # -- life ----------------------------------------------------------------------------------------------------------

    def add(self, sock: socket.socket, number: int, slot: int) -> None:
        """Know another worker, at the other end of the socket."""
        if self._is_closed or number in self._links:
            sock.close()
            return
        link = Link(sock, number, slot, self._watch)
        with self._lock:
            if slot == self._slot and number < self.number and self._recorded is None:
                self._recorded = deque()  # its connections may move here
                for each in self._links.values():
                    each.is_known = False  # until it answers that, too
                    each.say(self._hello)
            self._links[number] = link
            while len(self._heard) > _REMEMBERED:
                del self._heard[next(iter(self._heard))]
            self._selector.register(link, selectors.EVENT_READ)
            link.say(self._hello)
            for name, kinds in self._members.items():
                for (codec, records), count in kinds.items():
                    link.say(Presence(name, codec, records, count))

    @property
    def _hello(self) -> Hello:
        return Hello(-1 if self._keys is None else self._keys.cell, self._recorded is not None)

    async def acquainted(self) -> None:
        """Wait until each of the others sends what it publishes here, and has told of its members; not for ever."""
        self._acquainted = self._loop.create_future()
        self._check_acquainted()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._acquainted, ACQUAINTED_S)

    def _check_acquainted(self) -> None:
        waits = self._acquainted
        if waits is not None and not waits.done() and all(link.is_known for link in self._links.values()):
            waits.set_result(None)

    def settle(self) -> None:
        """No further connection comes from another worker."""
        with self._lock:
            if self._recorded is None:
                return
            self._recorded = None
            links = list(self._links.values())
        for link in links:
            link.say(Settled())

    def close(self) -> None:
        """Leave. May be repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._selector)
        with self._lock:
            links, self._links = list(self._links.values()), {}
            for link in links:
                link.flush()
                self._selector.unregister(link)
                link.close()
            self._selector.close()
        self.requests.close()

    def link(self, number: int) -> Link | None:
        """Return the link to a worker; None where it has ended. Safe from every thread."""
        return self._links.get(number)

    # -- the sockets ---------------------------------------------------------------------------------------------------

    def flush_soon(self, link: Link) -> None:
        """Write what waits for a worker in the loop's next turn: what is said until then goes along. On any thread."""
        with self._lock:
            if link in self._flushes:
                return
            self._flushes.add(link)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._flush, link)

    def _flush(self, link: Link) -> None:
        with self._lock:
            self._flushes.discard(link)
        link.flush()
        if link.is_lost and link.is_open:
            _logger.error("worker %d does not read what this one says: they know nothing of each other now", link.slot)
            self._end(link)

    def _watch(self, link: Link, for_room: bool) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if for_room else 0)
        with self._lock:
            if link.is_open and self._links.get(link.number) is link:
                self._selector.modify(link, events)

    def _readable(self) -> None:
        self.catch_up()
        self._hear_all()

    def catch_up(self) -> None:
        """As `Elsewhere.catch_up`. All else waits for the loop's next turn."""
        with self._lock:
            if self._is_closed:
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
        if asyncio._get_running_loop() is self._loop:  # noqa: SLF001  # the public one raises where there is none
            self._deliver_all()
            has = bool(self._inbox)
        if has and not had:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hear_all)

    def _read(self, link: Link) -> None:
        found, is_there = link.read()
        for said in found:
            match said:  # what says whom the next publication goes to holds at once
                case Presence():
                    _count(link.members, said.group, (said.codec, said.records), said.count)
                case Hello():
                    link.hello = said
                    link.wants_all = said.wants_all
                    link.say(Known())
                case Settled():
                    link.wants_all = False
                case Publication():
                    self._published.append((link, said))
                case _:
                    self._inbox.append((link, said))
        if not is_there:
            self._end(link)

    def _end(self, link: Link) -> None:
        """The other worker is gone: so are its members, at once."""
        with self._lock:
            if self._links.get(link.number) is not link:
                return
            del self._links[link.number]
            self._selector.unregister(link)
            link.close()
            link.members.clear()
            self._inbox.append((link, None))
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._hear_all)

    # -- what the others say -------------------------------------------------------------------------------------------

    def _deliver_all(self) -> None:
        while self._published:
            link, said = self._published.popleft()
            try:
                self._arrived(link, said)
            except Exception:
                _logger.exception("what worker %d has published is passed over", link.slot)

    def _hear_all(self) -> None:
        self._deliver_all()
        while self._inbox:
            link, said = self._inbox.popleft()
            try:
                self._hear(link, said)
            except Exception:
                _logger.exception("what worker %d has said is passed over", link.slot)

    def _hear(self, link: Link, said: AnySaid | None) -> None:
        match said:
            case Request():
                self.requests.serve(link, said)
            case Reply():
                self.requests.answered(said)
            case Dropped():
                self.requests.drop(link, said.number)
            case Displaced():
                registry = self._registries.get(said.registry)
                if registry is not None:
                    registry.displace(key_of(said.key), said.order)
            case Known():
                link.is_known = True
                self._check_acquainted()
            case None:
                self.requests.lost(link)
                self._check_acquainted()
                if not any(each.slot == self._slot and each.number < self.number for each in self._links.values()):
                    self.settle()

    # -- groups --------------------------------------------------------------------------------------------------------

    def members_of(self, name: str) -> int:
        """As `Elsewhere.members_of`."""
        with self._lock:
            return sum(sum(link.members.get(name, {}).values()) for link in self._links.values())

    def _text(self, codec: Codec[Any]) -> str:
        """Return what the workers know a codec by."""
        found = self._texts.get(id(codec))
        if found is None:
            if len(self._texts) >= _CODECS:
                self._texts.clear()
            found = self._texts[id(codec)] = codec, text_of(codec)  # with the codec, which so keeps its id
        return found[1]

    def _kind(self, member: Membership[Any]) -> Kind:
        kind = self._text(member.conn.codec), member.records
        if member.kind is not None and member.kind != kind:  # it speaks another codec by now
            with self._lock:
                self._change(member.group_name, member.kind, -1)
                self._change(member.group_name, kind, 1)
                member.kind = kind
        return kind

    def joined(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.joined`."""
        with self._lock:
            known = self._groups.get(group.name)
            if known is not None and known is not group and len(known):
                raise LocalProtocolError(f"there is another group called {group.name} that spans the workers")
            self._groups[group.name] = group
            member.kind = self._text(member.conn.codec), member.records
            self._codecs.setdefault(member.kind[0], member.conn.codec)
            self._change(group.name, member.kind, 1)

    def left(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.left`."""
        with self._lock:
            if member.kind is not None:
                self._change(group.name, member.kind, -1)
                member.kind = None
            floors = self._floors.get(group.name)
            if floors is not None:
                floors.pop(member.conn.id, None)

    def _change(self, name: str, kind: Kind, by: int) -> None:
        count = self._members.get(name, {}).get(kind, 0) + by
        _count(self._members, name, kind, count)
        if by > 0 and count == 1:
            # Written before whatever its connection is told, so that nobody who hears of it is ahead of this.
            self._changed.discard((name, kind))
            for link in list(self._links.values()):
                link.say(Presence(name, *kind, count))
            return
        if not self._changed:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.call_later, TOLD_AFTER_S, self._tell_changes)
        self._changed.add((name, kind))

    def _tell_changes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
            said = [Presence(name, *kind, self._members.get(name, {}).get(kind, 0)) for name, kind in changed]
            for link in list(self._links.values()):
                for each in said:
                    link.queue(encoded(each))
                self.flush_soon(link)

    def publish(
        self, group: Group[Any], frames: Frames, exclude: frozenset[int], on_slow: Any, key: Hashable
    ) -> tuple[int, int]:
        """As `Elsewhere.publish`."""
        name = group.name
        with self._lock:
            links = list(self._links.values())
            to_all = self._recorded is not None or any(link.wants_all for link in links)
            kinds = {kind for link in links for kind in link.members.get(name, ())}
            if to_all:
                kinds |= self._members.get(name, {}).keys()
            if not kinds:
                return 0, 0
            told = self._framed(frames, kinds, must=name not in self._members)
            publication = Publication(name, self._seq + 1, told, sorted(exclude), on_slow, key)
            data = encoded(publication)
            self._seq += 1
            there = 0
            for link in links:
                count = sum(link.members.get(name, {}).values())
                if not (to_all or count):
                    continue
                there += count
                if link.queue(data, may_drop=True):
                    self.flush_soon(link)
                else:
                    group.stats.unsent += count
            self._record(publication, self.number)
            return there, self._seq

    def _framed(self, frames: Frames, kinds: Iterable[Kind], *, must: bool) -> list[tuple[str, bool, bytes]]:
        """Encode a message for each codec; what is missing its members count as refused."""
        told = []
        refusal: Exception | None = None
        for text, records in kinds:
            codec = self._codecs.get(text)
            if codec is None:
                continue
            try:
                told.append((text, records, frames.for_codec(codec, records)))
            except (PenstockError, TypeError) as error:
                refusal = error
        if must and refusal is not None and not told:
            raise refusal
        return told

    def _arrived(self, link: Link, said: Publication) -> None:
        self._heard[link.number] = said.number
        self._record(said, link.number)
        group = self._groups.get(said.group)
        if group is None:
            return
        exclude = frozenset(said.exclude)
        floors = self._floors.get(said.group)
        if floors:
            exclude |= {number for number, floor in floors.items() if floor.get(link.number, 0) >= said.number}
            if self._recorded is None and not self._published and self._is_past(floors):
                del self._floors[said.group]
        self._deliver(group, said, link.number, exclude)

    def _deliver(
        self,
        group: Group[Any],
        said: Publication,
        worker: int,
        exclude: frozenset[int],
        only: Membership[Any] | None = None,
    ) -> None:
        frames = ArrivedFrames({(text, records): frame for text, records, frame in said.frames}, self._kind)
        on_slow: Any = said.on_slow
        group.deliver_arrived(frames, (worker, said.number), exclude, on_slow, key_of(said.key), only=only)

    def _is_past(self, floors: dict[int, Cursor]) -> bool:
        """Whether all has come that members had got in the worker before."""
        heard, links = self._heard, self._links
        return all(
            worker not in links or heard.get(worker, 0) >= number
            for floor in floors.values()
            for worker, number in floor.items()
        )

    # -- members that come from another worker, or go there ------------------------------------------------------------

    def _record(self, said: Publication, worker: int) -> None:
        recorded = self._recorded
        if recorded is None:
            return
        recorded.append(_Recorded(said, (worker, said.number)))
        self._recorded_bytes += _size(said)
        while self._recorded_bytes > RECORDED_BYTES and recorded:
            self._recorded_bytes -= _size(recorded.popleft().publication)

    def cursor(self) -> dict[int, int]:
        """As `Elsewhere.cursor`."""
        with self._lock:
            return {self.number: self._seq} | self._heard

    def catch_member_up(self, group: Group[Any], member: Membership[Any], cursor: Cursor) -> None:
        """As `Elsewhere.catch_member_up`."""
        with self._lock:
            self._floors.setdefault(group.name, {})[member.conn.id] = cursor
            recorded = list(self._recorded or ())
        for said, (worker, number) in recorded:
            if said.group == group.name and number > cursor.get(worker, 0):
                self._deliver(group, said, worker, frozenset(said.exclude), member)

    # -- registries ----------------------------------------------------------------------------------------------------

    def claim(self, registry: Registry[Any], hold: Hold[Any], *, refuses: bool, order: int | None) -> bool:
        """As `Elsewhere.claim`."""
        if self._keys is None:
            return True
        with self._lock:
            self._registries[registry.name] = registry
        key = registry.name, plain_key(hold.key)
        found = self._keys.claim(key, refuses=refuses, order=order, is_shared=hold.is_shared)
        if not found:
            return False
        hold.order = found
        return True

    def displace(self, registry: Registry[Any], hold: Hold[Any]) -> None:
        """As `Elsewhere.displace`."""
        if self._keys is None or not hold.order:
            return
        key = plain_key(hold.key)
        earlier = {cell for cell, order in self._keys.elsewhere((registry.name, key)) if order < hold.order}
        if earlier:
            with self._lock:
                links = [link for link in self._links.values() if link.hello is None or link.hello.cell in earlier]
            for link in links:
                link.say(Displaced(registry.name, key, hold.order))

    def unclaim(self, registry: Registry[Any], key: Hashable, order: int | None) -> None:
        """As `Elsewhere.unclaim`."""
        if self._keys is not None:
            self._keys.leave((registry.name, plain_key(key)), order)

    def put_off(self, work: Callable[[], object]) -> bool:
        """As `Elsewhere.put_off`."""
        if self._keys is None or not self._keys.is_deciding:
            return False
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work)
        return True

    def find(self, registry: Registry[Any], key: Hashable) -> list[tuple[int, DistantConnection]]:
        """As `Elsewhere.find`."""
        with self._lock:
            self._registries.setdefault(registry.name, registry)
        return self.find_named(registry.name, key)

    def find_named(self, name: str, key: Hashable) -> list[tuple[int, DistantConnection]]:
        """As `find`, of a registry by its name."""
        if self._keys is None:
            return []
        try:
            key = plain_key(key)
        except ConfigurationError:  # nobody can have it
            return []
        orders = dict(self._keys.elsewhere((name, key)))
        if not orders:
            return []
        self.catch_up()
        with self._lock:
            return [
                (orders[link.hello.cell], DistantConnection(self.requests, name, key, link.number))
                for link in sorted(self._links.values(), key=lambda each: each.number)
                if link.hello is not None and link.hello.cell in orders
            ]

    def registry(self, name: str) -> Registry[Any] | None:
        """Return the registry of that name that this worker has used."""
        return self._registries.get(name)


def _count(members: dict[str, dict[Kind, int]], name: str, kind: Kind, count: int) -> None:
    if count > 0:
        members.setdefault(name, {})[kind] = count
        return
    kinds = members.get(name)
    if kinds is not None:
        kinds.pop(kind, None)
        if not kinds:
            del members[name]


def _size(said: Publication) -> int:
    return 256 + sum(len(frame) for _, _, frame in said.frames)
