"""Calls that may hang, beside a loop: in a thread that nobody waits for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ..errors import LimitError

R = TypeVar("R")

# Without memory even to tell the loop: after so long it is tried again.
_WITHOUT_MEMORY_S: Final = 0.1
# A thread that has not begun by then had no memory to begin with. On a busy machine one begins within milliseconds.
_BEGINS_S: Final = 10.0


class _Started(threading.Event):
    """Says that a thread has begun. `Thread.start` waits for it: without memory to begin with, for ever."""

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self._patience_s = patience_s

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(self._patience_s if timeout is None else timeout)


def _start(thread: threading.Thread, patience_s: float) -> bool:
    """Start a thread; return whether it has begun within that time.

    Raises:
        RuntimeError: The system gives none.
    """
    thread._started = started = _Started(patience_s)  # type: ignore[attr-defined]  # noqa: SLF001  # since Python 3.0
    thread.start()
    return started.is_set()


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that a server cannot do without.

    Raises:
        LimitError: The system gives none, or no memory for it to begin with.
    """
    try:
        has_begun = _start(thread, _BEGINS_S)
    except RuntimeError as error:
        raise LimitError(
            f"the system gives no thread ({thread.name}): raise ulimit -u or TasksMax=, or have clone(2) allowed"
        ) from error
    if not has_begun:
        raise LimitError(f"the system gives no memory for a thread to begin ({thread.name})")


async def aside(function: Callable[[], R], name: str) -> R:
    """Call a function that may hang: a resolver, a file on a mount that does not answer.

    Not in the loop's executor: it has few threads, which calls that hang would occupy, and both the loop and the
    interpreter wait for them at their end.

    Args:
        function: What to call. What it raises is raised here.
        name: What the thread is called.

    Raises:
        MemoryError: There was no memory for the thread to begin with. Should it begin later, its answer is nobody's.
        RuntimeError: The system gives no thread.

    Cancelling it leaves the thread to itself.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[R] = loop.create_future()
    begun = threading.Event()

    def tell(result: Callable[[], None]) -> None:
        if not answer.done():
            result()

    def run() -> None:
        begun.set()
        try:
            found = function()
        except Exception as error:
            failure = error  # the name of an except clause is gone after it
            result: Callable[[], None] = lambda: answer.set_exception(failure)  # noqa: E731
        else:
            result = lambda: answer.set_result(found)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            while not _told(loop, tell, result):
                time.sleep(_WITHOUT_MEMORY_S)

    _start(threading.Thread(target=run, name=name, daemon=True), 0.0)
    try:
        await asyncio.wait((answer,), timeout=_BEGINS_S)
        if not begun.is_set():
            raise MemoryError(f"no memory for a thread to begin ({name})")
        return await answer
    finally:
        if not answer.cancel() and not answer.cancelled():
            answer.exception()  # who is cancelled does not ask for it


def _told(
    loop: asyncio.AbstractEventLoop, tell: Callable[[Callable[[], None]], None], what: Callable[[], None]
) -> bool:
    try:
        loop.call_soon_threadsafe(tell, what)
    except MemoryError:
        return False
    return True
