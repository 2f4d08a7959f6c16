"""A registry: which connection is whose. One for each key, and the loser's end never takes the winner out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterator
from typing import Any, Generic, Literal, TypeVar, get_args

from ..config.kinds.words import check_word
from ..core.contract import ConnectionBase
from ..errors import ClosedError, KeyTakenError, LocalProtocolError
from . import elsewhere
from .elsewhere import Elsewhere, Scope, check_scope
from .keys import plain_key

C = TypeVar("C", bound=ConnectionBase[Any])

OnTaken = Literal["replace", "refuse", "join"]


class Hold(Generic[C]):
    """A connection's hold of a key, until `release`, the end of its ``async with`` or ``with`` block, or its end.

    Attributes:
        key: The key.
        conn: The connection.
        is_shared: Whether the key is for several: it, or another one after it, has joined.
        order: Which of the holds of all workers it is: a later one has a greater number. 0 where none of them know it.
    """

    __slots__ = ("_registry", "conn", "is_shared", "key", "order")

    def __init__(self, registry: Registry[C], key: Hashable, conn: C, *, is_shared: bool = False) -> None:
        self._registry = registry
        self.key = key
        self.conn = conn
        self.is_shared = is_shared
        self.order = 0

    def place(self, app: Any) -> tuple[str, str, Hashable, bool, int, Scope] | None:
        """As `Membership.place`: with the key, whether it is for several, which hold it is, and the scope."""
        name = self._registry.name
        if app is None or not app.has_registry(name, self._registry):
            return None
        return "key", name, self.key, self.is_shared, self.order, self._registry.scope

    def release(self) -> None:
        """Give the key up, if it is still this one's. May be repeated."""
        self._registry.release(self)

    def __enter__(self) -> C:
        return self.conn

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    async def __aenter__(self) -> C:
        return self.conn

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()


class Registry(Generic[C]):
    """Connections by key: a device's number, a user's name. All methods may be called from every thread.

    Args:
        name: What it is called.
        scope: ``workers``: a key has one connection in all workers of the server, and is found by each of them.
            ``process``: in this process.

    Attributes:
        name: As above.
        scope: As above.

    Raises:
        ConfigurationError: ``scope`` is none of these, or there is no name by which the workers know the registry.
    """

    def __init__(self, name: str = "", *, scope: Scope = "process") -> None:
        self._spans = check_scope(scope, name)
        self.name = name
        self.scope = scope
        self._lock = threading.RLock()  # closing a connection may have it release another key
        self._holds: dict[Hashable, list[Hold[C]]] = {}

    def __repr__(self) -> str:
        return f"<Registry {self.name}: {len(self)} keys>"

    def hold(self, key: Hashable, conn: C, *, on_taken: OnTaken = "replace") -> Hold[C]:
        """Have ``conn`` found by ``key`` until it ends, or gives the key up.

        Args:
            key: Whose connection it is. Where there are workers, and they are the scope, it is a str, bytes, a number
                of 64 bits, None, or a tuple of these: they are told of it.
            conn: The connection of a server.
            on_taken: What happens where another connection has the key. ``replace``: that one is closed, and found no
                more. ``refuse``: this one does not get it. ``join``: both have it; the latest is found first.

        Raises:
            KeyTakenError: Another one has it, and the policy is ``refuse``.
            ClosedError: ``conn`` is closing.
            LocalProtocolError: It is a client's, or stands for a datagram: nobody would tell of its end. Or there is
                another registry of this name that spans the workers.
            ConfigurationError: ``on_taken`` is none of these, or ``key`` is nothing that other workers can be told.
            LimitError: This worker has as many keys as it can (196,608), and other workers would not know of this one.
        """
        return self.take(key, conn, on_taken)

    def take(self, key: Hashable, conn: C, on_taken: OnTaken, order: int | None = None) -> Hold[C]:
        """As `hold`; ``order`` is that of a hold that comes from the worker before with its connection."""
        check_word("on_taken", on_taken, get_args(OnTaken))
        if conn.server is None or conn.is_datagram:
            raise LocalProtocolError("only a connection of a server can be held in a registry")
        if self._far is not None:
            plain_key(key)
        with self._lock:
            before = list(self._holds.get(key, ()))
            for other in before:
                if other.conn.id == conn.id:
                    return other
            if before and on_taken == "refuse":
                raise KeyTakenError(self.name, key)
            hold = Hold(self, key, conn, is_shared=on_taken == "join")
            if not conn.server.when_closed(conn, hold.release):
                raise ClosedError("the connection is closing: it holds no key")
            far = self._far
            if far is not None:
                try:
                    is_ours = far.claim(self, hold, refuses=on_taken == "refuse", order=order or None)
                except BaseException:
                    self._forget(hold)
                    raise
                if not is_ours:
                    self._forget(hold)
                    raise KeyTakenError(self.name, key)
                before = [other for other in before if other in self._holds.get(key, ())]  # one may have been collected
            if on_taken == "join":
                for other in before:
                    other.is_shared = True
            # The winner first: the losers' ends find that the key is not theirs.
            self._holds[key] = [*before, hold] if on_taken == "join" else [hold]
        if on_taken == "replace":
            for other in before:
                self._forget(other)
                _close(other.conn)
            if far is not None:
                far.displace(self, hold)
        return hold

    @property
    def _far(self) -> Elsewhere | None:
        """As of `Group`."""
        return elsewhere.current() if self._spans else None

    def displace(self, key: Hashable, order: int) -> None:
        """Another worker has a later hold of a key, which is for one: close those that are earlier."""
        with self._lock:
            lost = [hold for hold in self._holds.get(key, ()) if hold.order < order]
        for hold in lost:
            self.release(hold)
            _close(hold.conn)

    def release(self, hold: Hold[C]) -> None:
        """Take one hold out. May be repeated, and comes too late where another one has the key."""
        far = self._far
        if far is not None and far.put_off(hold.release):
            return
        with self._lock:
            holds = self._holds.get(hold.key, [])
            if hold in holds:
                holds.remove(hold)
                if far is not None:
                    far.unclaim(self, hold.key, max(each.order for each in holds) if holds else None)
                if not holds:
                    del self._holds[hold.key]
        self._forget(hold)

    @staticmethod
    def _forget(hold: Hold[C]) -> None:
        hold.conn.server.forget_closed(hold.conn, hold.release)

    def __getitem__(self, key: Hashable) -> C:
        """Return the connection that has a key: of several, the one that took it last.

        Where it is another worker's, that is a `DistantConnection`, which has ``request``, ``post`` and ``close`` and
        nothing else of a connection.
        """
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: Hashable) -> C | None:
        """Return the connection that has a key, as by ``registry[key]``, or None."""
        found = self._found(key)
        return found[-1][1] if found else None

    def all(self, key: Hashable) -> list[C]:
        """Return every connection that has a key, in the order in which they took it; of other workers, the latest."""
        return [conn for _, conn in self._found(key)]

    def here(self, key: Hashable) -> C | None:
        """Return the connection of this process that has a key; None where there is none, whoever else has it."""
        with self._lock:
            holds = self._holds.get(key)
            return holds[-1].conn if holds else None

    def sole_holds(self) -> list[Hold[C]]:
        """Return the holds of this process of keys that are for one, as far as other workers know them."""
        with self._lock:
            return [holds[0] for holds in self._holds.values() if holds[0].order and not holds[0].is_shared]

    def _found(self, key: Hashable) -> list[tuple[int, C]]:
        with self._lock:
            found: list[tuple[int, C]] = [(hold.order, hold.conn) for hold in self._holds.get(key, ())]
        far = self._far
        if far is not None:
            others: list[tuple[int, Any]] = far.find(self, key)
            if others:
                # A connection on its way to another worker has one order in both: of two, this one's is first.
                # Of two others it is that of the later worker, to which it goes.
                known = {order for order, _ in found if order}
                found += [each for each in dict(others).items() if each[0] not in known]
                found.sort(key=lambda each: each[0])
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._holds or (self._spans and bool(self._found(key)))

    def __len__(self) -> int:
        """How many keys are held, in this process."""
        return len(self._holds)

    def __iter__(self) -> Iterator[Hashable]:
        """Go through the keys that are held now, in this process."""
        with self._lock:
            return iter(list(self._holds))


def _close(conn: ConnectionBase[Any]) -> None:
    """Close another handler's connection, on its loop."""
    loop = conn.server.loop
    if asyncio._get_running_loop() is loop:  # noqa: SLF001  # the public one raises where there is none
        conn.close()
    else:
        loop.call_soon_threadsafe(conn.close)
