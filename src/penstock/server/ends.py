"""What others want to know of a connection: that it has ended, that its peer does not read, that it reads again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.contract import ConnectionBase
from ..core.events import Closed, Event, ReadingPaused, ReadingResumed

Callback = Callable[[], object]


class Ends:
    """An observer with a list for each connection that somebody asked about; the others cost a look at a dict.

    The callbacks are called on the engine's thread: at the end once, when the handler has ended too.

    Attributes:
        slow: The ids of the connections whose output is over the high watermark.
    """

    def __init__(self) -> None:
        self.slow: set[int] = set()
        self._closed: dict[int, list[Callback]] = {}
        self._resumed: dict[int, list[Callback]] = {}

    def add(self, conn: ConnectionBase[Any], closed: Callback, resumed: Callback | None = None) -> bool:
        """Have ``closed`` called when the connection has ended, and ``resumed`` whenever its peer reads again.

        Returns:
            False when it is closing already: then nothing will be called.
        """
        # First the list, then the look: a connection whose `closed` event comes in between is seen to be closing.
        self._closed.setdefault(conn.id, []).append(closed)
        if resumed is not None:
            self._resumed.setdefault(conn.id, []).append(resumed)
        if conn.close_reason is None:
            return True
        self.remove(conn, closed, resumed)
        return False

    def remove(self, conn: ConnectionBase[Any], closed: Callback, resumed: Callback | None = None) -> None:
        """Have them not called. May be repeated."""
        for callbacks, callback in ((self._closed, closed), (self._resumed, resumed)):
            waiting = callbacks.get(conn.id)
            if waiting is not None and callback in waiting:
                waiting.remove(callback)
                if not waiting:
                    callbacks.pop(conn.id, None)

    def observe(self, event: Event, /) -> None:
        """Tell those who asked for this connection."""
        kind = type(event)
        if kind is Closed:
            number = event.connection.id  # type: ignore[union-attr]  # mypy narrows no type by identity
            self.slow.discard(number)
            self._resumed.pop(number, None)
            for callback in self._closed.pop(number, ()):
                callback()
        elif kind is ReadingPaused:
            self.slow.add(event.connection.id)  # type: ignore[union-attr]
        elif kind is ReadingResumed:
            number = event.connection.id  # type: ignore[union-attr]
            self.slow.discard(number)
            for callback in tuple(self._resumed.get(number, ())):
                callback()
