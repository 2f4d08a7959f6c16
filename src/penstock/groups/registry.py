"""A registry: which connection is whose. One for each key, and the loser's end never takes the winner out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Hashable, Iterator
from typing import Any, Generic, Literal, TypeVar, get_args

from ..config.kinds.words import check_word
from ..core.contract import ConnectionBase
from ..errors import ClosedError, KeyTakenError, LocalProtocolError

C = TypeVar("C", bound=ConnectionBase[Any])

OnTaken = Literal["replace", "refuse", "join"]


class Hold(Generic[C]):
    """A connection's hold of a key, until `release`, the end of its ``async with`` or ``with`` block, or its end.

    Attributes:
        key: The key.
        conn: The connection.
        is_shared: Whether the key is for several: it, or another one after it, has joined.
    """

    __slots__ = ("_registry", "conn", "is_shared", "key")

    def __init__(self, registry: Registry[C], key: Hashable, conn: C, *, is_shared: bool = False) -> None:
        self._registry = registry
        self.key = key
        self.conn = conn
        self.is_shared = is_shared

    def place(self, app: Any) -> tuple[str, str, Hashable, bool] | None:
        """As `Membership.place`: with the key, and whether it is for several."""
        name = self._registry.name
        if app is None or not app.has_registry(name, self._registry):
            return None
        return "key", name, self.key, self.is_shared

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

    Attributes:
        name: As above.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._lock = threading.RLock()  # closing a connection may have it release another key
        self._holds: dict[Hashable, list[Hold[C]]] = {}

    def __repr__(self) -> str:
        return f"<Registry {self.name}: {len(self)} keys>"

    def hold(self, key: Hashable, conn: C, *, on_taken: OnTaken = "replace") -> Hold[C]:
        """Have ``conn`` found by ``key`` until it ends, or gives the key up.

        Args:
            key: Whose connection it is.
            conn: The connection of a server.
            on_taken: What happens where another connection has the key. ``replace``: that one is closed, and found no
                more. ``refuse``: this one does not get it. ``join``: both have it; the latest is found first.

        Raises:
            KeyTakenError: Another one has it, and the policy is ``refuse``.
            ClosedError: ``conn`` is closing.
            LocalProtocolError: It is a client's, or stands for a datagram: nobody would tell of its end.
            ConfigurationError: ``on_taken`` is none of these.
        """
        check_word("on_taken", on_taken, get_args(OnTaken))
        if conn.server is None or conn.is_datagram:
            raise LocalProtocolError("only a connection of a server can be held in a registry")
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
            if on_taken == "join":
                for other in before:
                    other.is_shared = True
            # The winner first: the losers' ends find that the key is not theirs.
            self._holds[key] = [*before, hold] if on_taken == "join" else [hold]
        if on_taken == "replace":
            for other in before:
                self._forget(other)
                _close(other.conn)
        return hold

    def release(self, hold: Hold[C]) -> None:
        """Take one hold out. May be repeated, and comes too late where another one has the key."""
        with self._lock:
            holds = self._holds.get(hold.key, [])
            if hold in holds:
                holds.remove(hold)
                if not holds:
                    del self._holds[hold.key]
        self._forget(hold)

    @staticmethod
    def _forget(hold: Hold[C]) -> None:
        hold.conn.server.forget_closed(hold.conn, hold.release)

    def __getitem__(self, key: Hashable) -> C:
        """Return the connection that has a key: of several, the one that took it last."""
        with self._lock:
            return self._holds[key][-1].conn

    def get(self, key: Hashable) -> C | None:
        """Return the connection that has a key, or None."""
        with self._lock:
            holds = self._holds.get(key)
            return holds[-1].conn if holds else None

    def all(self, key: Hashable) -> list[C]:
        """Return every connection that has a key, in the order in which they took it."""
        with self._lock:
            return [hold.conn for hold in self._holds.get(key, ())]

    def __contains__(self, key: object) -> bool:
        return key in self._holds

    def __len__(self) -> int:
        """How many keys are held."""
        return len(self._holds)

    def __iter__(self) -> Iterator[Hashable]:
        """Go through the keys that are held now."""
        with self._lock:
            return iter(list(self._holds))


def _close(conn: ConnectionBase[Any]) -> None:
    """Close another handler's connection, on its loop."""
    loop = conn.server.loop
    if asyncio._get_running_loop() is loop:  # noqa: SLF001  # the public one raises where there is none
        conn.close()
    else:
        loop.call_soon_threadsafe(conn.close)
