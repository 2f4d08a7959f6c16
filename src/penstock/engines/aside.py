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


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that a server cannot do without.

    Raises:
        LimitError: The system gives none.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise LimitError(
            f"the system gives no thread ({thread.name}): raise ulimit -u or TasksMax=, or have clone(2) allowed"
        ) from error


async def aside(function: Callable[[], R], name: str) -> R:
    """Call a function that may hang: a resolver, a file on a mount that does not answer.

    Not in the loop's executor: it has few threads, which calls that hang would occupy, and both the loop and the
    interpreter wait for them at their end.

    Args:
        function: What to call. What it raises is raised here.
        name: What the thread is called.

    Raises:
        RuntimeError: The system gives no thread.

    Cancelling it leaves the thread to itself.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[R] = loop.create_future()

    def tell(result: Callable[[], None]) -> None:
        if not answer.done():
            result()

    def run() -> None:
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

    threading.Thread(target=run, name=name, daemon=True).start()
    return await answer


def _told(
    loop: asyncio.AbstractEventLoop, tell: Callable[[Callable[[], None]], None], what: Callable[[], None]
) -> bool:
    try:
        loop.call_soon_threadsafe(tell, what)
    except MemoryError:
        return False
    return True
