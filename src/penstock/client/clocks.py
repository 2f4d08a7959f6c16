"""Instants of a clock that may be one a test tells: a limit for a block, the earlier of two, a sleep."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ..core.contract import Clock, TimerHandle
from .waiting import after_a_look


class TimeoutAt:
    """Ends its block when the clock reaches an instant: `asyncio.timeout_at` on a clock of choice.

    ``with TimeoutAt(clock, when): await …`` ends the block by a CancelledError, which leaves it as a bare TimeoutError.

    Args:
        clock: Where time comes from.
        when: The instant, in seconds on that clock; None for never.

    Raises:
        TimeoutError: The instant came before the block's end.
    """

    def __init__(self, clock: Clock, when: float | None) -> None:
        self._clock = clock
        self._when = when
        self._timer: TimerHandle | None = None
        self._expired = False

    def __enter__(self) -> Self:
        if self._when is not None:
            task = asyncio.current_task()
            assert task is not None, "only a task can be interrupted"
            self._task = task
            self._cancelling = task.cancelling()
            self._timer = self._clock.call_at(self._when, self._expire)
        return self

    def _expire(self) -> None:
        after_a_look(self._give_up)

    def _give_up(self) -> None:
        if self._timer is not None:
            self._expired = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error


def earlier(first: float | None, second: float | None) -> float | None:
    """Return the earlier of two instants, where None is never."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait until a time has passed on a clock."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    timer = clock.call_at(clock.time() + seconds, end)
    try:
        await over
    finally:
        timer.cancel()
