"""Who wants to know that one connection has ended, or that its peer reads again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.contract import ConnectionBase
from ..core.events import Closed, Event

Callback = Callable[[], object]


class Ends:
    """An observer with a list for each connection that somebody asked about; the others cost a look at a dict.

    The callbacks are called on the engine's thread, once, when the handler has ended too.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, list[Callback]] = {}

    def add(self, conn: ConnectionBase[Any], callback: Callback) -> bool:
        """Have ``callback`` called when the connection has ended.

        Returns:
            False when it is closing already: then nothing will be called.
        """
        # First the list, then the look: a connection whose `closed` event comes in between is seen to be closing.
        self._waiting.setdefault(conn.id, []).append(callback)
        if conn.close_reason is None:
            return True
        self.remove(conn, callback)
        return False

    def remove(self, conn: ConnectionBase[Any], callback: Callback) -> None:
        """Have it not called. May be repeated."""
        waiting = self._waiting.get(conn.id)
        if waiting is not None and callback in waiting:
            waiting.remove(callback)
            if not waiting:
                self._waiting.pop(conn.id, None)

    def observe(self, event: Event, /) -> None:
        """Tell those who asked for this connection."""
        if type(event) is Closed:
            for callback in self._waiting.pop(event.connection.id, ()):
                callback()
