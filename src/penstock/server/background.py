"""Background tasks on a server's loop: started from any thread, ended with what they belong to, failures told once."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any

from ..core.background import Work, is_failure
from ..core.contract import ConnectionBase
from ..core.interrupts import is_interrupt
from ..errors import ClosedError

Tell = Callable[["ConnectionBase[Any] | None", str, BaseException], object]


class RunningTask:
    """One of them.

    Attributes:
        name: What logs call it.
        conn: The connection that it belongs to, if it is one's.
        done: Whether it has ended.
    """

    __slots__ = ("_loop", "_over", "_task", "_tell", "_work", "conn", "done", "is_cancelled", "name")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        conn: ConnectionBase[Any] | None,
        work: Work,
        name: str,
        *,
        tell: Tell,
        over: Callable[[RunningTask], object],
    ) -> None:
        self.name = name
        self.done = self.is_cancelled = False
        self._loop = loop
        self.conn = conn
        self._work = work
        self._tell = tell
        self._over = over
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start it, on the loop."""
        if self.is_cancelled:
            self._ended(None)
            return
        self._task = self._loop.create_task(self._run(), name=self.name)
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Have it end. Once: a task that cleans up is not disturbed by those who want its end, too."""
        if self.is_cancelled:
            return
        self.is_cancelled = True
        if _is_running(self._loop):
            self._cancel()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the task with it
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            if is_failure(self.conn, error):
                self._tell(self.conn, self.name, error)

    def _ended(self, _task: object) -> None:
        self._work.close()  # cancelled before its first step it was never awaited
        self.done = True
        self._over(self)


class Background:
    """All tasks that end together.

    Args:
        tell: Called on the loop with what one raised: its connection if it has one, its name, the error.
        over: Called on the loop with each that has ended.
    """

    def __init__(self, tell: Tell, over: Callable[[RunningTask], object] | None = None) -> None:
        self._tell = tell
        self._over = over
        self._running: set[RunningTask] = set()
        self._then: Callable[[], object] | None = None
        self._ending = False

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def start(
        self, loop: asyncio.AbstractEventLoop, conn: ConnectionBase[Any] | None, work: Work, name: str
    ) -> RunningTask:
        """Start one, from any thread, in a copy of the caller's context.

        Raises:
            TypeError: It is no coroutine.
            ClosedError: The end has begun.
        """
        if not asyncio.iscoroutine(work):
            raise TypeError(f"a background task is a coroutine: write task(work()), not task(work); got {work!r}")
        task = RunningTask(loop, conn, work, name, tell=self._tell, over=self._task_over)
        try:
            if self._ending:
                raise ClosedError("it is too late for another background task: the end has begun")
            self._running.add(task)
            if _is_running(loop):
                task.begin()
            else:
                loop.call_soon_threadsafe(task.begin, context=contextvars.copy_context())
        except BaseException as error:
            self._running.discard(task)
            work.close()
            if isinstance(error, RuntimeError):  # the loop is closed
                raise ClosedError(str(error)) from error
            raise
        return task

    def end(self, then: Callable[[], object]) -> None:
        """Cancel all, start no more, and call ``then`` when the last one has ended. On the loop."""
        self._ending = True
        self._then = then
        for task in tuple(self._running):
            task.cancel()
        self._look()

    def _task_over(self, task: RunningTask) -> None:
        self._running.discard(task)
        if self._over is not None:
            self._over(task)
        self._look()

    def _look(self) -> None:
        if self._then is not None and not self._running:
            then, self._then = self._then, None
            then()


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread is at work for that loop."""
    return asyncio._get_running_loop() is loop  # noqa: SLF001  # the public one raises where there is none
