"""Waiting for what others settle: a future until an instant, a fact until it is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ..core.contract import Clock
from ..core.deadline import Deadline
from ..core.turns import turn_of
from ..errors import Phase

T = TypeVar("T")


async def take_turn() -> None:
    """Let the running loop turn when it is its turn, for a caller that goes on at once, or raises (law 12)."""
    await turn_of(asyncio.get_running_loop()).take()


def after_a_look(callback: Callable[[], object]) -> None:
    """Call it when the loop has polled and whoever that woke has run: what came in time is met first (law 11)."""
    call_soon = asyncio.get_running_loop().call_soon
    call_soon(call_soon, call_soon, callback)


async def wait(clock: Clock, future: asyncio.Future[T], deadline: Deadline | None, phase: Callable[[], Phase]) -> T:
    """Return a future's result.

    Raises:
        TimedOutError: The deadline came first; ``phase`` is asked then what was being waited for.
    """
    if deadline is None:
        return await future
    timer = clock.call_at(deadline.at, lambda: after_a_look(lambda: _fail(future, deadline.error(phase()))))
    try:
        return await future
    finally:
        timer.cancel()


class Facts:
    """Facts that are waited for. A change of what they are about is followed by a call of `look`."""

    def __init__(self) -> None:
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def become(self, fact: Callable[[], bool]) -> asyncio.Future[None]:
        """Return a future that is settled once `look` finds the fact true."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((fact, waiter))
        return waiter

    def look(self) -> None:
        """Something changed."""
        if not self._waiters:
            return
        for fact, waiter in self._waiters:
            if not waiter.done() and fact():
                waiter.set_result(None)
        self._waiters = [pair for pair in self._waiters if not pair[1].done()]

    def fail(self, error: Exception) -> None:
        """None of them will ever be true."""
        for _, waiter in self._waiters:
            _fail(waiter, error)
        self._waiters.clear()


def _fail(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
