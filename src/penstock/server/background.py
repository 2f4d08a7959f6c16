"""Background tasks on a server's loop: started from any thread, ended with what they belong to, failures told once."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any, Final

from ..core.background import Work, is_failure
from ..core.contract import Clock, ConnectionBase, TimerHandle
from ..core.interrupts import is_interrupt
from ..errors import ClosedError

# What a task has to clean up in, also where the drain's time is over.
CLEAN_UP_S: Final = 1.0

Tell = Callable[["ConnectionBase[Any] | None", str, BaseException], object]


class RunningTask:
    """One of them.

    Attributes:
        name: What logs call it.
        conn: The connection that it belongs to, if it is one's.
        done: Whether it has ended.
        finish: Its connection is to be told when it has ended.
    """

    __slots__ = ("_loop", "_over", "_task", "_tell", "_work", "conn", "done", "finish", "is_cancelled", "name")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        conn: ConnectionBase[Any] | None,
        work: Work,
        name: str,
        *,
        tell: Tell,
        over: Callable[[RunningTask], object],
        finish: bool = False,
    ) -> None:
        self.name = name
        self.finish = finish
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

    def give_up(self) -> None:
        """Have nothing wait for it any more, the end of the loop included. On the loop."""
        if self._task is not None:
            asyncio._unregister_task(self._task)  # noqa: SLF001  # documented, for loops and tasks of one's own

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
        self._deadline: TimerHandle | None = None

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def owners(self) -> set[int]:
        """Return the ids of the connections that have any."""
        return {task.conn.id for task in tuple(self._running) if task.conn is not None}

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        conn: ConnectionBase[Any] | None,
        work: Work,
        name: str,
        *,
        finish: bool = False,
    ) -> RunningTask:
        """Start one, from any thread, in a copy of the caller's context.

        Raises:
            TypeError: It is no coroutine.
            ClosedError: The end has begun.
        """
        if not asyncio.iscoroutine(work):
            raise TypeError(f"a background task is a coroutine: write task(work()), not task(work); got {work!r}")
        task = RunningTask(loop, conn, work, name, tell=self._tell, over=self._task_over, finish=finish)
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

    async def give_back(self) -> None:
        """Cancel all, and wait until they have ended; others may be started then.

        Those that have not ended within `CLEAN_UP_S` are told of and given up.
        """
        if not self._running:
            return
        await asyncio.sleep(0)  # all have had their first step, and so come to their ends by themselves
        over = asyncio.Event()
        self._then = over.set
        for task in tuple(self._running):
            task.cancel()
        self._look()
        try:
            async with asyncio.timeout(CLEAN_UP_S):
                await over.wait()
        except TimeoutError:
            self._give_up()
        finally:
            self._then = None

    def end(self, then: Callable[[], object], clock: Clock, at: float | None) -> None:
        """Cancel all, start no more, and call ``then`` when the last one has ended. On the loop.

        Args:
            then: Called once.
            clock: Where time comes from.
            at: When those that have not ended are told of and given up, though not before `CLEAN_UP_S`; None for never.
        """
        self._ending = True
        self._then = then
        for task in tuple(self._running):
            task.cancel()
        if at is not None and self._running:
            self._deadline = clock.call_at(max(at, clock.time() + CLEAN_UP_S), self._give_up)
        self._look()

    def _give_up(self) -> None:
        given_up, self._running = self._running, set()
        for task in given_up:
            task.give_up()
            self._tell(task.conn, task.name, TimeoutError("it was cancelled and has not ended: it is given up"))
        self._look()

    def _task_over(self, task: RunningTask) -> None:
        self._running.discard(task)
        if self._over is not None:
            self._over(task)
        self._look()

    def _look(self) -> None:
        if self._then is not None and not self._running:
            then, self._then = self._then, None
            if self._deadline is not None:
                self._deadline.cancel()
            then()


def _is_running(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this thread is at work for that loop."""
    return asyncio._get_running_loop() is loop  # noqa: SLF001  # the public one raises where there is none
