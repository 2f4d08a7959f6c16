"""Which keys of registries are held here, and which elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from typing import Any, Final
from weakref import WeakValueDictionary

from ...core.handover import key_of
from ...errors import ConfigurationError, LocalProtocolError
from ...groups.distant import DistantConnection
from ...groups.keys import plain_key
from ...groups.registry import Hold, Registry
from .frames import Displaced
from .keys import SharedKeys
from .link import Link
from .links import Links
from .requests import Requests

# When two workers get to know each other, later holds are told of: so many at a time, and the next ones after so long.
HOLDS_AT_ONCE: Final = 100
HOLDS_EVERY_S: Final = 0.01


class Claims:
    """The registries' part of `penstock.groups.elsewhere.Elsewhere`, whose methods these are.

    Args:
        links: To the others.
        keys: The memory of all keys; None where there is none.
        requests: What is asked of connections elsewhere.
    """

    def __init__(self, links: Links, keys: SharedKeys | None, requests: Requests) -> None:
        self._links = links
        self._keys = keys
        self._requests = requests
        self._registries: WeakValueDictionary[str, Registry[Any]] = WeakValueDictionary()

    @property
    def cell(self) -> int:
        """Which cell of the memory is this worker's; -1 for none."""
        return -1 if self._keys is None else self._keys.cell

    def claim(self, registry: Registry[Any], hold: Hold[Any], *, refuses: bool, order: int | None) -> bool:
        """As `Elsewhere.claim`."""
        if self._keys is None:
            return True
        with self._links.lock:
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
            with self._links.lock:
                links = [link for link in self._links if link.hello is None or link.hello.cell in earlier]
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
            self._links.loop.call_soon_threadsafe(work)
        return True

    def find(self, registry: Registry[Any], key: Hashable) -> list[tuple[int, DistantConnection]]:
        """As `Elsewhere.find`."""
        with self._links.lock:
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
        self._links.catch_up()
        with self._links.lock:
            return [
                (orders[link.hello.cell], DistantConnection(self._requests, name, key, link.number))
                for link in sorted(self._links, key=lambda each: each.number)
                if link.hello is not None and link.hello.cell in orders
            ]

    def registry(self, name: str) -> Registry[Any] | None:
        """Return the registry of that name that this worker has used."""
        return self._registries.get(name)

    # -- what the others say -------------------------------------------------------------------------------------------

    def displaced(self, said: Displaced) -> None:
        """Another worker has a later hold of a key."""
        registry = self._registries.get(said.registry)
        if registry is not None:
            registry.displace(key_of(said.key), said.order)

    def tell_holds(self, link: Link) -> None:
        """A worker is known, or known again: have it close what holds a key of which there is a later hold here."""
        with self._links.lock:
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
            self._links.loop.call_later(HOLDS_EVERY_S, self._tell_some_holds, link, keys, holds)
