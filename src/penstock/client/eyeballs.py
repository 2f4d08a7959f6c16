"""Happy eyeballs (RFC 8305): several addresses tried, each a little after the one before; the first to answer wins."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from ..core.contract import Clock, TimerHandle

T = TypeVar("T")
R = TypeVar("R")

# RFC 8305 section 5, Connection Attempt Delay: 250 ms recommended.
STAGGER_S: Final = 0.25


def interleave(items: Sequence[T], family_of: Callable[[T], int]) -> list[T]:
    """Order addresses as RFC 8305 section 4 says: families take turns, beginning with the system's first choice.

    Within a family the system's order (RFC 6724) stays.
    """
    by_family: dict[int, list[T]] = {}
    for item in items:
        by_family.setdefault(family_of(item), []).append(item)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_family.values()))
    return [item for item in turns if item is not None]


class NoneAnsweredError(Exception):
    """Every attempt failed.

    Attributes:
        failures: Each candidate with its error, in the order they failed.
    """

    def __init__(self, failures: Sequence[tuple[Any, OSError]]) -> None:
        super().__init__(failures)
        self.failures = failures


async def race(
    candidates: Sequence[T],
    attempt: Callable[[T], Coroutine[Any, Any, R]],
    *,
    discard: Callable[[R], object],
    clock: Clock,
    stagger_s: float = STAGGER_S,
) -> R:
    """Attempt each candidate in turn until one succeeds.

    The next one starts when the one before it has failed, or after ``stagger_s`` seconds, whichever comes first; those
    that were started go on. When one has won the others are cancelled.

    Args:
        candidates: In order of preference, at least one.
        attempt: Tries one of them. Cancelled, it leaves nothing open.
        discard: Closes what an attempt returned that did not win.
        clock: Where time comes from.
        stagger_s: Seconds between the starts of two attempts.

    Raises:
        NoneAnsweredError: All failed with OSError.

    Cancelling it, like any other exception of an attempt, ends all attempts: nothing is left open.
    """
    if len(candidates) == 1:
        try:
            return await attempt(candidates[0])
        except OSError as error:
            raise NoneAnsweredError([(candidates[0], error)]) from error
    loop = asyncio.get_running_loop()
    waiting = deque(candidates)
    running: dict[asyncio.Task[R], T] = {}
    failures: list[tuple[T, OSError]] = []
    winners: list[R] = []
    try:
        while True:
            timer: TimerHandle | None = None
            turn: asyncio.Future[None] = loop.create_future()
            if waiting:
                candidate = waiting.popleft()
                running[loop.create_task(attempt(candidate))] = candidate
            if waiting:
                timer = clock.call_at(clock.time() + stagger_s, functools.partial(_settle, turn))
            try:
                waited_for: list[asyncio.Future[Any]] = [turn, *running]
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            finally:
                turn.cancel()
                if timer is not None:
                    timer.cancel()
            for task in [task for task in running if task.done()]:
                candidate = running.pop(task)
                try:
                    winners.append(task.result())
                except OSError as error:
                    failures.append((candidate, error))
            if winners:
                break
            if not running and not waiting:
                raise NoneAnsweredError(failures)
        await _end(running, discard)
    except BaseException:
        for winner in winners:
            discard(winner)
        winners.clear()
        await _end(running, discard)
        raise
    winner, *others = winners
    for other in others:
        discard(other)
    return winner


def _settle(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


async def _end(running: dict[asyncio.Task[R], T], discard: Callable[[R], object]) -> None:
    """Cancel the attempts that are left and wait until they have ended, also when this task is cancelled meanwhile.

    They close their sockets; what one of them returned all the same is discarded.
    """
    for task in running:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while any(not task.done() for task in running):
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in running:
        if not task.cancelled() and task.exception() is None:
            discard(task.result())
    running.clear()
    if cancelled is not None:
        raise cancelled
