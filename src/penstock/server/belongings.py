"""What belongs to a server's connections: background tasks, callbacks at their ends, places in groups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ..core.background import BackgroundTask, Work
from ..core.contract import ConnectionBase
from ..core.events import TaskFailed
from .background import Background, RunningTask
from .ends import Ends
from .observers import Observers


class Belongings:
    """The part of a server that its connections, its application and its groups turn to.

    Args:
        app: The application, or None.
        observers: Told of the tasks that fail.

    Attributes:
        codec_changed: Called with a connection that speaks another codec from now on; None as long as there is nobody
            to tell: some protocols change it for each message.
    """

    def __init__(self, app: Any, observers: Observers) -> None:
        self.app = app
        self._observers = observers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._background = Background(self._task_failed, self._task_over)
        self._ends: Ends | None = None
        self.codec_changed: Callable[[ConnectionBase[Any]], None] | None = None
        self._ends_lock = threading.RLock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves in."""
        assert self._loop is not None, "the server was not started"
        return self._loop

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def start_task(self, conn: ConnectionBase[Any], work: Work, name: str, *, finish: bool = False) -> BackgroundTask:
        """Run ``work`` until ``conn`` has ended: what `ConnectionBase.task` does. Safe from every thread."""
        if finish:
            conn.task_begun()
        try:
            task = self._background.start(self.loop, conn, work, name, finish=finish)
        except BaseException:
            if finish:
                conn.task_over()
            raise
        if not (conn.is_datagram or self.when_closed(conn, task.cancel)):
            task.cancel()
        elif task.done:  # at once, or on the loop's thread meanwhile: before there was anything to forget
            self._task_over(task)
        return task

    def start_lasting(self, work: Work, name: str) -> BackgroundTask:
        """Run ``work`` until the server has stopped: then it is cancelled, and waited for. Safe from every thread."""
        return self._background.start(self.loop, None, work, name)

    def _task_over(self, task: RunningTask) -> None:
        if task.conn is not None:
            self.forget_closed(task.conn, task.cancel)
            if task.finish:
                task.finish = False
                task.conn.task_over()

    def _task_failed(self, conn: ConnectionBase[Any] | None, name: str, error: BaseException) -> None:
        self._observers.emit(TaskFailed(conn, name, error))

    # -- ends ----------------------------------------------------------------------------------------------------------

    def when_closed(
        self, conn: ConnectionBase[Any], closed: Callable[[], object], resumed: Callable[[], object] | None = None
    ) -> bool:
        """Have ``closed`` called once a connection and its handler have ended, on the engine's thread.

        Args:
            conn: The connection.
            closed: Called then.
            resumed: Called whenever its output has sunk from over the high watermark to the low one.

        Returns:
            False when the connection is closing already: then nothing will be called.
        """
        with self._ends_lock:  # threads may be the first two to ask
            if self._ends is None:
                self._ends = Ends()
                self.codec_changed = self._tell_codec_changed
                self._observers.append(self._ends)
        return self._ends.add(conn, closed, resumed)

    def forget_closed(
        self, conn: ConnectionBase[Any], closed: Callable[[], object], resumed: Callable[[], object] | None = None
    ) -> None:
        """Have callbacks of `when_closed` not called. May be repeated."""
        if self._ends is not None:
            self._ends.remove(conn, closed, resumed)

    @property
    def slow_connections(self) -> Collection[int]:
        """The ids of the connections whose output is over the high watermark, once `when_closed` was asked."""
        return () if self._ends is None else self._ends.slow

    # -- places --------------------------------------------------------------------------------------------------------

    def busy(self) -> set[int]:
        """Return the ids of connections that have background tasks here."""
        return self._background.owners()

    def places_of(self, conn: ConnectionBase[Any]) -> list[Sequence[Any]]:
        """Return the application's groups and keys that a connection has, each as `App.take_place` has it."""
        places = [each.place(self.app) for each in self._owners(conn) if hasattr(each, "place")]
        return [place for place in places if place is not None]

    def _tell_codec_changed(self, conn: ConnectionBase[Any]) -> None:
        """Tell the groups of a connection that it speaks another codec from now on."""
        for each in self._owners(conn):
            if hasattr(each, "codec_changed"):
                each.codec_changed()

    def waiting_for(self, conn: ConnectionBase[Any]) -> bytes:
        """Give away what groups have for a connection whose peer does not read."""
        return b"".join(each.take_waiting() for each in self._owners(conn) if hasattr(each, "take_waiting"))

    def stays(self, conn: ConnectionBase[Any]) -> None:
        """Tell the groups of a connection, which was to move, that it does not."""
        for each in self._owners(conn):
            if hasattr(each, "stays"):
                each.stays()

    def _owners(self, conn: ConnectionBase[Any]) -> list[Any]:
        return [] if self._ends is None else self._ends.owners(conn.id)

    def take_places(self, conn: ConnectionBase[Any], places: Iterable[Sequence[Any]]) -> None:
        """Have a connection that comes from another process in the groups and under the keys that it had there."""
        if self.app is not None:
            for place in places:
                self.app.take_place(conn, place)
