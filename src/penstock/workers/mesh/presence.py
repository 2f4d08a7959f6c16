"""Who is in which group: the members of this worker, and what the others are told of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from ...errors import LocalProtocolError
from ...groups.group import Group
from ...groups.membership import Membership
from .codecs import KnownCodecs
from .frames import Presence
from .link import Kind, Link

if TYPE_CHECKING:
    from .links import Links

# Members who come and go change a count, which is told after so long: a first one is told of at once.
TOLD_AFTER_S: Final = 0.05


class Presences:
    """Counts the members of each group by what they speak, under the lock of the links.

    Args:
        links: To the others.
        codecs: What members speak.

    Attributes:
        groups: Those that have or had members here, by name.
    """

    def __init__(self, links: Links, codecs: KnownCodecs) -> None:
        self.groups: WeakValueDictionary[str, Group[Any]] = WeakValueDictionary()
        self._links = links
        self._codecs = codecs
        self._members: dict[str, dict[Kind, int]] = {}
        self._changed: set[tuple[str, Kind]] = set()  # counts that the others are to be told

    def here(self, name: str) -> dict[Kind, int]:
        """Return how many members a group has here, by what they speak."""
        return self._members.get(name, {})

    def elsewhere(self, name: str) -> int:
        """As `Elsewhere.members_of`."""
        with self._links.lock:
            return sum(members_of(link, name) for link in self._links)

    def tell_all(self, link: Link) -> None:
        """Tell a worker that is new of all of them."""
        for name, kinds in self._members.items():
            for (codec, records), count in kinds.items():
                link.put(Presence(name, codec, records, count))

    def kind(self, member: Membership[Any]) -> Kind:
        """Return what the workers know a member's codec by; tell them where it speaks another one by now."""
        kind = self._codecs.text(member.conn.codec), member.records
        if member.kind is not None and member.kind != kind:
            with self._links.lock:
                if member.kind is not None:  # else it has left
                    self._change(member.group_name, kind, 1)
                    self._change(member.group_name, member.kind, -1)
                    member.kind = kind
        return kind

    def joined(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.joined`."""
        with self._links.lock:
            known = self.groups.get(group.name)
            if known is not None and known is not group and len(known):
                raise LocalProtocolError(f"there is another group called {group.name} that spans the workers")
            self.groups[group.name] = group
            member.kind = self._codecs.text(member.conn.codec), member.records
            self._change(group.name, member.kind, 1)

    def left(self, group: Group[Any], member: Membership[Any]) -> None:
        """As `Elsewhere.left`, under the lock."""
        if member.kind is not None:
            self._change(group.name, member.kind, -1)
            member.kind = None

    def _change(self, name: str, kind: Kind, by: int) -> None:
        count = self.here(name).get(kind, 0) + by
        count_members(self._members, name, kind, count)
        if by > 0 and count == 1:
            # Written before whatever its connection is told, so that nobody who hears of it is ahead of this.
            self._changed.discard((name, kind))
            for link in self._links:
                link.say(Presence(name, *kind, count))
            return
        if not self._changed:
            loop = self._links.loop
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(loop.call_later, TOLD_AFTER_S, self._tell_changes)
        self._changed.add((name, kind))

    def _tell_changes(self) -> None:
        with self._links.lock:
            changed, self._changed = self._changed, set()
            said = [Presence(name, *kind, self.here(name).get(kind, 0)) for name, kind in changed]
            for link in self._links:
                for each in said:
                    link.put(each)
                self._links.flush_soon(link)


def members_of(link: Link, name: str) -> int:
    """Return how many members a group has in another worker, as far as that has told."""
    return sum(link.members.get(name, {}).values())


def count_members(members: dict[str, dict[Kind, int]], name: str, kind: Kind, count: int) -> None:
    """Take note of how many members of a group speak something."""
    if count > 0:
        members.setdefault(name, {})[kind] = count
        return
    kinds = members.get(name)
    if kinds is not None:
        kinds.pop(kind, None)
        if not kinds:
            del members[name]
