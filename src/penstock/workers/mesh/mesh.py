"""What a worker knows of the others: who has members of which group, who has which key, and how to reach them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from ...codecs.base import Codec
from ...errors import ConfigurationError, LocalProtocolError, PenstockError
from ...groups.distant import DistantConnection
from ...groups.elsewhere import Cursor
from ...groups.group import Group
from ...groups.keys import plain_key
from ...groups.membership import Membership
from ...groups.publication import ArrivedFrames, Frames
from ...groups.registry import Hold, Registry
from .codecs import KnownCodecs
from .frames import (
    AnySaid,
    Displaced,
    Dropped,
    Hello,
    Known,
    Mark,
    Marked,
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
# Less than a worker waits for the answer to what it hands over.
ACQUAINTED_S: Final = 2.0

# Likewise one that is about to hand over, for what the others have published by then.
HEARD_S: Final = 2.0

# Likewise one that ends, for room for what it has said last.
LAST_WORDS_S: Final = 2.0

# After the worker before has ended, what it has handed over may not have been told of so far.
SETTLED_S: Final = 5.0

# When two workers get to know each other, later holds are told of: so many at a time, and the next ones after so long.
HOLDS_AT_ONCE: Final = 100
HOLDS_EVERY_S: Final = 0.01

# Members who come and go change a count, which is told after so long: a first one is told of at once.
TOLD_AFTER_S: Final = 0.05

# Of what was published lately, for connections that come from another worker.
RECORDED_BYTES: Final = 16 * 1024 * 1024

# Workers of which it is known what has come.
_REMEMBERED: Final = 4096

# So often is read what a worker has said that has ended: a socket holds less than that.
_LAST_READS: Final = 64

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
        codecs: Those of its services, by name: what members elsewhere speak is encoded by one of them.
        keys: The memory of all keys; None where there is none.
        takes_over: Whether connections of the worker before may come, where its slot had one.
        parted: Told the number of a worker that was cut, as it does not read: the two are to be introduced again.

    Attributes:
        number: As above.
        requests: What is asked of connections elsewhere.
        is_taking_over: Whether connections are coming: then `settle` is not called here.
    """

    def __init__(
        self,
        number: int,
        slot: int,
        codecs: Mapping[str, Codec[Any]],
        keys: SharedKeys | None,
        *,
        takes_over: bool = True,
        parted: Callable[[int], object] = lambda _: None,
    ) -> None:
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
        self._codecs = KnownCodecs(codecs, number)
        self._groups: WeakValueDictionary[str, Group[Any]] = WeakValueDictionary()
        self._registries: WeakValueDictionary[str, Registry[Any]] = WeakValueDictionary()
        self._members: dict[str, dict[Kind, int]] = {}
        self._changed: set[tuple[str, Kind]] = set()  # counts that the others are to be told
        self._recorded: deque[_Recorded] | None = None  # while connections may come from another worker
        self._recorded_bytes = 0
        self._has_forgotten = False
        self._floors: dict[str, dict[int, Cursor]] = {}  # by group, for each member that has come: what it had got
        self._acquainted: asyncio.Future[None] | None = None
        self._is_settled = not takes_over
        self.is_taking_over = False
        self._parted = parted
        self._last_mark = 0
        self._marks: dict[int, tuple[asyncio.Future[None], set[Link]]] = {}  # and who has not answered
        self._is_closed = False

    # -- life ----------------------------------------------------------------------------------------------------------

    def add(self, sock: socket.socket, number: int, slot: int) -> None:
        """Know another worker, at the other end of the socket; one that is known by now has cut the link before."""
        if self._is_closed:
            sock.close()
            return
        self.gone(number)
        link = Link(sock, number, slot, self._link_changed)
        with self._lock:
            if slot == self._slot and number < self.number and self._recorded is None and not self._is_settled:
                self._recorded = deque()  # its connections may move here
                for each in self._links.values():
                    each.is_known = False  # until it answers that, too
                    each.say(self._hello)
            self._links[number] = link
            while len(self._heard) > _REMEMBERED:
                del self._heard[next(iter(self._heard))]
            self._selector.register(link, selectors.EVENT_READ)
            link.put(self._hello)
            for name, kinds in self._members.items():
                for (codec, records), count in kinds.items():
                    link.put(Presence(name, codec, records, count))
            link.flush()

    def gone(self, number: int) -> None:
        """A worker has ended, whichever child of it has copies of its sockets: what it has said is heard."""
        with self._lock:
            link = self._links.get(number)
            if link is None:
                return
            for _ in range(_LAST_READS):
                if not link.is_open or not self._read(link):
                    break
            self._end(link)

    @property
    def _hello(self) -> Hello:
        return Hello(-1 if self._keys is None else self._keys.cell, self._recorded is not None)

    async def acquainted(self) -> None:
        """Wait until each of the others sends what it publishes here, and has told of its members; not for ever."""
        self._acquainted = self._loop.create_future()
        self._check_acquainted()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._acquainted, ACQUAINTED_S)

    async def heard(self) -> None:
        """Wait until all has come that the others have published by now; not for ever.

        A successor gets from each of them what is published after that one knew it, which has been by now.
        """
        with self._lock:
            links = set(self._links.values())
            self._last_mark += 1
            number, heard = self._last_mark, self._loop.create_future()
            self._marks[number] = heard, set(links)
        if not links:
            heard.set_result(None)
        for link in links:
            link.say(Mark(number))
        try:
            await asyncio.wait_for(heard, HEARD_S)
        except TimeoutError:
            slots = ", ".join(str(link.slot) for link in self._marks[number][1])
            _logger.error("worker %s has not said what it has published: members that move may miss it", slots)
        finally:
            del self._marks[number]

    def _has_marked(self, link: Link, number: int) -> None:
        heard, left = self._marks.get(number, (None, set()))
        left.discard(link)
        if heard is not None and not left and not heard.done():
            heard.set_result(None)

    def _check_acquainted(self) -> None:
        waits = self._acquainted
        if waits is not None and not waits.done() and all(link.is_known for link in self._links.values()):
            waits.set_result(None)

    def settle(self) -> None:
        """No further connection comes from another worker."""
        with self._lock:
            self._is_settled = True
            if self._recorded is None:
                return
            self._recorded = None
            self._recorded_bytes = 0
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
            until = time.monotonic() + LAST_WORDS_S
            for link in links:
                link.drain(until)
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
            _logger.error(
                "worker %d does not read: what waits for it is given up, and they get to know each other anew",
                link.slot,
            )
            self._end(link)
            self._parted(link.number)

    def _link_changed(self, link: Link) -> None:
        with self._lock:  # two threads may come in another order than they have changed it
            if link.is_open and self._links.get(link.number) is link:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.waits else 0)
                self._selector.modify(link, events)
                if link.is_lost:
                    self.flush_soon(link)

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

    def _read(self, link: Link) -> bool:
        """Take note of what a worker has said; return whether that was anything."""
        found, is_there = link.read()
        for said in found:
            match said:  # what says whom the next publication goes to holds at once
                case Presence():
                    _count(link.members, said.group, (said.codec, said.records), said.count)
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
            case Marked():
                self._has_marked(link, said.number)
            case Hello():
                self._tell_holds(link)
            case None:
                self.requests.lost(link)
                self._check_acquainted()
                for number in list(self._marks):
                    self._has_marked(link, number)
                if self._recorded is not None:
                    self._loop.call_later(SETTLED_S, self._settle_alone)

    def _settle_alone(self) -> None:
        """Where no worker is left that had this one's slot, and none is handing over, no connection comes."""
        if not self.is_taking_over and not any(
            each.slot == self._slot and each.number < self.number for each in self._links.values()
        ):
            self.settle()

    # -- groups --------------------------------------------------------------------------------------------------------

    def members_of(self, name: str) -> int:
        """As `Elsewhere.members_of`."""
        with self._lock:
            return sum(sum(link.members.get(name, {}).values()) for link in self._links.values())

    def _kind(self, member: Membership[Any]) -> Kind:
        """Return what the workers know a member's codec by; tell them where it speaks another one by now."""
        kind = self._codecs.text(member.conn.codec), member.records
        if member.kind is not None and member.kind != kind:
            with self._lock:
                if member.kind is not None:  # else it has left
                    self._change(member.group_name, kind, 1)
                    self._change(member.group_name, member.kind, -1)
                    member.kind = kind
        return kind

    def codec_changed(self, member: Membership[Any]) -> None:
        """As `Elsewhere.codec_changed`."""
        self._kind(member)

    def joined(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.joined`."""
        with self._lock:
            known = self._groups.get(group.name)
            if known is not None and known is not group and len(known):
                raise LocalProtocolError(f"there is another group called {group.name} that spans the workers")
            self._groups[group.name] = group
            member.kind = self._codecs.text(member.conn.codec), member.records
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
                if not floors:
                    del self._floors[group.name]

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
                    link.put(each)
                self.flush_soon(link)

    def publish(
        self, group: Group[Any], frames: Frames, exclude: frozenset[int], on_slow: Any, key: Hashable
    ) -> tuple[int, int]:
        """As `Elsewhere.publish`."""
        name = group.name
        with self._lock:
            links = list(self._links.values())
            wanted = self._recorded is not None or any(link.wants_all for link in links)
            kinds = {kind for link in links for kind in link.members.get(name, ())}
            if wanted:
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
                if not (link.wants_all or count):
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
            codec = self._codecs.by_text(text)
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
        with self._lock:
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
            if not self._has_forgotten:
                self._has_forgotten = True
                _logger.error("more is published than is remembered for members that move: they may miss some of it")
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
            known = self._registries.get(registry.name)
            if known is not None and known is not registry and len(known):  # each would take out keys of the other
                raise LocalProtocolError(f"there is another registry called {registry.name} that spans the workers")
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

    def _tell_holds(self, link: Link) -> None:
        """A worker is known, or known again: have it close what holds a key of which there is a later hold here."""
        with self._lock:
            registries = list(self._registries.values())
        holds = [(registry.name, hold) for registry in registries for hold in registry.sole_holds()]
        if self._keys is not None and holds:
            self._tell_some_holds(link, self._keys, holds)

    def _tell_some_holds(self, link: Link, keys: SharedKeys, holds: list[tuple[str, Hold[Any]]]) -> None:
        assert link.hello is not None
        if not link.is_open:
            return
        for _ in range(min(HOLDS_AT_ONCE, len(holds))):
            name, hold = holds.pop()
            key = plain_key(hold.key)
            others = keys.elsewhere((name, key))
            if any(cell == link.hello.cell and order < hold.order for cell, order in others):
                link.say(Displaced(name, key, hold.order))
        if holds:
            self._loop.call_later(HOLDS_EVERY_S, self._tell_some_holds, link, keys, holds)

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
