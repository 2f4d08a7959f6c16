"""What a worker knows of the others: who has members of which group, who has which key, and how to reach them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final

from ...codecs.base import Codec
from ...core.handover import key_of
from ...errors import PenstockError
from ...groups.distant import DistantConnection
from ...groups.elsewhere import Cursor
from ...groups.group import Group
from ...groups.membership import Membership
from ...groups.publication import ArrivedFrames, Frames
from ...groups.registry import Hold, Registry
from .claims import Claims
from .codecs import KnownCodecs
from .frames import (
    AnySaid,
    Displaced,
    Dropped,
    Hello,
    Known,
    Mark,
    Marked,
    Publication,
    Reply,
    Request,
    Settled,
    encoded,
)
from .keys import SharedKeys
from .link import Kind, Link
from .links import Links
from .presence import Presences, members_of
from .records import Records
from .requests import Requests

# How long a worker that begins waits for the others: one that is held knows it later, and until then sends it nothing.
# Less than a worker waits for the answer to what it hands over.
ACQUAINTED_S: Final = 2.0

# Likewise one that is about to hand over, for what the others have published by then.
HEARD_S: Final = 2.0

# After the worker before has ended, what it has handed over may not have been told of so far.
SETTLED_S: Final = 5.0

_logger: Final = logging.getLogger("penstock")


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
        self._slot = slot
        self._links = Links(self._hear, self._arrived, parted)
        self._lock = self._links.lock
        self.requests = Requests(self)
        self._codecs = KnownCodecs(codecs, number)
        self._presences = Presences(self._links, self._codecs)
        self._records = Records(self._links)
        self._claims = Claims(self._links, keys, self.requests)
        self._seq = 0
        self._acquainted: asyncio.Future[None] | None = None
        self._is_settled = not takes_over
        self.is_taking_over = False
        self._last_mark = 0
        self._marks: dict[int, tuple[asyncio.Future[None], set[Link]]] = {}  # and who has not answered

    # -- life ----------------------------------------------------------------------------------------------------------

    def add(self, sock: socket.socket, number: int, slot: int) -> None:
        """Know another worker, at the other end of the socket; one that is known by now has cut the link before."""
        if self._links.is_closed:
            sock.close()
            return
        self.gone(number)
        with self._lock:
            if slot == self._slot and number < self.number and not self._records.is_on and not self._is_settled:
                self._records.begin()  # its connections may move here
                for each in self._links:
                    each.is_known = False  # until it answers that, too
                    each.say(self._hello)
            self._records.trim()
            link = self._links.add(sock, number, slot)
            link.put(self._hello)
            self._presences.tell_all(link)
            link.flush()

    def gone(self, number: int) -> None:
        """A worker has ended, whichever child of it has copies of its sockets: what it has said is heard."""
        self._links.gone(number)

    @property
    def _hello(self) -> Hello:
        return Hello(self._claims.cell, self._records.is_on)

    async def acquainted(self) -> None:
        """Wait until each of the others sends what it publishes here, and has told of its members; not for ever."""
        self._acquainted = self._links.loop.create_future()
        self._check_acquainted()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._acquainted, ACQUAINTED_S)

    def _check_acquainted(self) -> None:
        waits = self._acquainted
        if waits is not None and not waits.done() and all(link.is_known for link in self._links):
            waits.set_result(None)

    async def heard(self) -> None:
        """Wait until all has come that the others have published by now; not for ever.

        A successor gets from each of them what is published after that one knew it, which has been by now.
        """
        with self._lock:
            links = set(self._links)
            self._last_mark += 1
            number, heard = self._last_mark, self._links.loop.create_future()
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

    def settle(self) -> None:
        """No further connection comes from another worker."""
        with self._lock:
            self._is_settled = True
            if not self._records.is_on:
                return
            self._records.end()
            links = list(self._links)
        for link in links:
            link.say(Settled())

    def _settle_alone(self) -> None:
        """Where no worker is left that had this one's slot, and none is handing over, no connection comes."""
        if not self.is_taking_over and not any(
            each.slot == self._slot and each.number < self.number for each in self._links
        ):
            self.settle()

    async def leave(self) -> None:
        """Say all that was to be said, not for ever, then close. The loop goes on meanwhile."""
        try:
            await self._links.leave()
        finally:
            self.requests.close()

    def close(self) -> None:
        """Be gone at once. May be repeated."""
        if not self._links.is_closed:
            self._links.close()
            self.requests.close()

    def link(self, number: int) -> Link | None:
        """Return the link to a worker; None where it has ended. Safe from every thread."""
        return self._links.get(number)

    def flush_soon(self, link: Link) -> None:
        """As `Links.flush_soon`."""
        self._links.flush_soon(link)

    def catch_up(self) -> None:
        """As `Elsewhere.catch_up`."""
        self._links.catch_up()

    # -- what the others say -------------------------------------------------------------------------------------------

    def _hear(self, link: Link, said: AnySaid | None) -> None:
        match said:
            case Request():
                self.requests.serve(link, said)
            case Reply():
                self.requests.answered(said)
            case Dropped():
                self.requests.drop(link, said.number)
            case Displaced():
                self._claims.displaced(said)
            case Known():
                link.is_known = True
                self._check_acquainted()
            case Marked():
                self._has_marked(link, said.number)
            case Hello():
                self._claims.tell_holds(link)
            case None:
                self.requests.lost(link)
                self._check_acquainted()
                for number in list(self._marks):
                    self._has_marked(link, number)
                if self._records.is_on:
                    self._links.loop.call_later(SETTLED_S, self._settle_alone)

    # -- groups --------------------------------------------------------------------------------------------------------

    def members_of(self, name: str) -> int:
        """As `Elsewhere.members_of`."""
        return self._presences.elsewhere(name)

    def codec_changed(self, member: Membership[Any]) -> None:
        """As `Elsewhere.codec_changed`."""
        self._presences.kind(member)

    def joined(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.joined`."""
        self._presences.joined(group, member)

    def left(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.left`."""
        with self._lock:
            self._presences.left(group, member)
            self._records.left(group.name, member.conn.id)

    def publish(
        self, group: Group[Any], frames: Frames, exclude: frozenset[int], on_slow: Any, key: Hashable
    ) -> tuple[int, int]:
        """As `Elsewhere.publish`."""
        name = group.name
        with self._lock:
            links = list(self._links)
            here = self._presences.here(name)
            kinds = {kind for link in links for kind in link.members.get(name, ())}
            if self._records.is_on or any(link.wants_all for link in links):
                kinds |= here.keys()
            if not kinds:
                return 0, 0
            told = self._framed(frames, kinds, must=not here)
            publication = Publication(name, self._seq + 1, told, sorted(exclude), on_slow, key)
            data = encoded(publication)
            self._seq += 1
            there = 0
            for link in links:
                count = members_of(link, name)
                if not (link.wants_all or count):
                    continue
                there += count
                if link.queue(data, may_drop=True):
                    self.flush_soon(link)
                else:
                    group.stats.unsent += count
            self._records.add(publication, self.number)
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
        self._records.heard[link.number] = said.number
        with self._lock:
            self._records.add(said, link.number)
        group = self._presences.groups.get(said.group)
        if group is None:
            return
        with self._lock:
            exclude = frozenset(said.exclude) | self._records.who_has(said, link.number)
        self._deliver(group, said, link.number, exclude)

    def _deliver(
        self,
        group: Group[Any],
        said: Publication,
        worker: int,
        exclude: frozenset[int],
        only: Membership[Any] | None = None,
    ) -> None:
        frames = ArrivedFrames({(text, records): frame for text, records, frame in said.frames}, self._presences.kind)
        on_slow: Any = said.on_slow
        group.deliver_arrived(frames, (worker, said.number), exclude, on_slow, key_of(said.key), only=only)

    def cursor(self) -> dict[int, int]:
        """As `Elsewhere.cursor`."""
        with self._lock:
            return {self.number: self._seq} | self._records.heard

    def catch_member_up(self, group: Group[Any], member: Membership[Any], cursor: Cursor) -> None:
        """As `Elsewhere.catch_member_up`."""
        with self._lock:
            missed = self._records.comes(group.name, member.conn.id, cursor)
        for said, worker in missed:
            self._deliver(group, said, worker, frozenset(said.exclude), member)

    # -- registries ----------------------------------------------------------------------------------------------------

    def claim(self, registry: Registry[Any], hold: Hold[Any], *, refuses: bool, order: int | None) -> bool:
        """As `Elsewhere.claim`."""
        return self._claims.claim(registry, hold, refuses=refuses, order=order)

    def displace(self, registry: Registry[Any], hold: Hold[Any]) -> None:
        """As `Elsewhere.displace`."""
        self._claims.displace(registry, hold)

    def unclaim(self, registry: Registry[Any], key: Hashable, order: int | None) -> None:
        """As `Elsewhere.unclaim`."""
        self._claims.unclaim(registry, key, order)

    def put_off(self, work: Callable[[], object]) -> bool:
        """As `Elsewhere.put_off`."""
        return self._claims.put_off(work)

    def find(self, registry: Registry[Any], key: Hashable) -> list[tuple[int, DistantConnection]]:
        """As `Elsewhere.find`."""
        return self._claims.find(registry, key)

    def find_named(self, name: str, key: Hashable) -> list[tuple[int, DistantConnection]]:
        """As `find`, of a registry by its name."""
        return self._claims.find_named(name, key)

    def registry(self, name: str) -> Registry[Any] | None:
        """Return the registry of that name that this worker has used."""
        return self._claims.registry(name)
