"""What others want to know of a connection: that it has ended, that its peer does not read, that it reads again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from ..core.contract import ConnectionBase
from ..core.events import Closed, Event, ReadingPaused, ReadingResumed
from ..core.interrupts import is_interrupt

Callback = Callable[[], object]


class Ends:
    """An observer with a table for each connection that somebody asked about; the others cost a look at a dict.

    The callbacks are called on the engine's thread: at the end once, when the handler has ended too. A callback that
    raises keeps none of the others from being called. All methods are safe from every thread.

    Attributes:
        slow: The ids of the connections whose output is over the high watermark.
    """

    def __init__(self) -> None:
        self.slow: set[int] = set()
        # Tables by callback, in order: one is found at once, however many there are.
        self._closed: dict[int, dict[Callback, None]] = {}
        self._resumed: dict[int, dict[Callback, None]] = {}
        # Reentrant: the collector may run a finalizer that takes it again in the same thread.
        self._lock = threading.RLock()

    def add(self, conn: ConnectionBase[Any], closed: Callback, resumed: Callback | None = None) -> bool:
        """Have ``closed`` called when the connection has ended, and ``resumed`` whenever its peer reads again.

        Returns:
            False when it is closing already: then nothing will be called.
        """
        # First the table, then the look: a connection whose `closed` event comes in between is seen to be closing.
        with self._lock:
            self._closed.setdefault(conn.id, {})[closed] = None
            if resumed is not None:
                self._resumed.setdefault(conn.id, {})[resumed] = None
        paused: Any = conn  # every connection of a server tells
        if resumed is not None and paused.output_paused:  # by an event that came before anybody asked
            self.slow.add(conn.id)
            if not paused.output_paused:  # another thread has sent meanwhile
                self.slow.discard(conn.id)
        if conn.close_reason is None:
            return True
        self.slow.discard(conn.id)
        self.remove(conn, closed, resumed)
        return False

    def remove(self, conn: ConnectionBase[Any], closed: Callback, resumed: Callback | None = None) -> None:
        """Have them not called. May be repeated."""
        with self._lock:
            _take_out(self._closed, conn.id, closed)
            if resumed is not None:
                _take_out(self._resumed, conn.id, resumed)

    def owners(self, number: int) -> list[Any]:
        """Return what asked to be told of a connection's end: whose methods the callbacks are."""
        with self._lock:
            return [getattr(closed, "__self__", None) for closed in self._closed.get(number, ())]

    def observe(self, event: Event, /) -> None:
        """Tell those who asked for this connection."""
        kind = type(event)
        if kind is Closed:
            number = event.connection.id  # type: ignore[union-attr]  # mypy narrows no type by identity
            self.slow.discard(number)
            with self._lock:
                self._resumed.pop(number, None)
                callbacks = tuple(self._closed.pop(number, ()))
            _call_all(callbacks)
        elif kind is ReadingPaused:
            self.slow.add(event.connection.id)  # type: ignore[union-attr]
        elif kind is ReadingResumed:
            number = event.connection.id  # type: ignore[union-attr]
            self.slow.discard(number)
            with self._lock:
                callbacks = tuple(self._resumed.get(number, ()))
            _call_all(callbacks)


def _take_out(tables: dict[int, dict[Callback, None]], number: int, callback: Callback) -> None:
    table = tables.get(number)
    if table is not None:
        table.pop(callback, None)
        if not table:
            tables.pop(number, None)


def _call_all(callbacks: Iterable[Callback]) -> None:
    """Call every one; then raise what one of them raised: an interrupt first."""
    errors: list[BaseException] = []
    for callback in callbacks:
        try:
            callback()
        except BaseException as error:
            errors.append(error)
    interrupts = list(filter(is_interrupt, errors))
    if len(errors) > 1 and not interrupts:
        raise BaseExceptionGroup("callbacks of a connection failed", errors)
    for first in interrupts or errors:
        raise first
