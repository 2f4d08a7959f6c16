"""What a task awaits while it waits for a message: a future that resumes it at once, and not a turn of the loop later.

A task that awaits a future is told of its result by way of `call_soon`. When a transport has just handed over what was
waited for, and no task is running, there is nothing to wait for any more: `Waiter.wake` calls the task's own callback
there and then, in the context it asked for. `asyncio.current_task`, timeouts, cancellation and context variables are as
ever. The compiled engine does the same for its conversations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Self


class Waiter:
    """As much of an `asyncio.Future` as the one task that awaits it, and the one connection that wakes it, ask for.

    Args:
        loop: The task's.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_context", "_done", "_error", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop  # where a task looks for it, too
        self._asyncio_future_blocking = False  # what a task looks for in what it is given to wait for
        self._done = False
        self._error: BaseException | None = None
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None

    def __await__(self) -> Generator[Self, None, None]:
        if not self._done:
            self._asyncio_future_blocking = True
            yield self
        if self._error is not None:
            raise self._error

    def done(self) -> bool:
        """Whether it was woken, given an exception, or cancelled."""
        return self._done

    def result(self) -> None:
        """Return nothing, or raise what it was given. A task asks before it goes on."""
        if self._error is not None:
            raise self._error

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call ``callback(self)`` when it is done. There is one task that awaits it, and so one callback."""
        self._callback, self._context = callback, context
        if self._done:
            self._settle()

    def cancel(self, msg: object = None) -> bool:
        """Have the task raise CancelledError at the loop's next turn; return whether that was possible."""
        if self._done:
            return False
        self.set_exception(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))
        return True

    def set_result(self, result: None) -> None:
        """Resume the task at the loop's next turn."""
        self._settle()

    def set_exception(self, error: BaseException) -> None:
        """Have the task raise ``error`` at the loop's next turn."""
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self._done = True
        if self._callback is not None:
            self._loop.call_soon(self._callback, self, context=self._context)

    def wake(self) -> None:
        """Resume the task, if nothing has yet: now if no task is running, else at the loop's next turn.

        Called by a transport that has nothing left to do: what the task does before it waits again happens in here.
        """
        if self._done:
            return
        callback, context = self._callback, self._context
        if callback is None or context is None:
            self._settle()
            return
        self._done = True
        try:
            context.run(callback, self)
        except RuntimeError:  # another task is running: none can be entered in the middle of it
            self._settle()
        except (SystemExit, KeyboardInterrupt) as error:
            # They end the loop; a transport would take them for an error of its own.
            self._loop.call_soon(raise_it, error)


def raise_it(error: BaseException) -> None:
    """Raise what is to end the loop, called by the loop itself."""
    raise error
