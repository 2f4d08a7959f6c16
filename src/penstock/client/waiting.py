"""Waiting for what others settle: a future until an instant, a fact until it is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self, TypeVar

from ..core.contract import Clock
from ..core.turns import turn_of
from ..errors import Phase, TimedOutError

T = TypeVar("T")


async def take_turn() -> None:
    """Whoever calls goes on at once, or raises: let the running loop turn before that when it is its turn (law 12)."""
    await turn_of(asyncio.get_running_loop()).take()


class Wait(NamedTuple):
    """How long somebody waits.

    Attributes:
        until: The instant, on a clock.
        timeout_s: What was asked for, in seconds.
    """

    until: float
    timeout_s: float

    @classmethod
    def of(cls, clock: Clock, timeout_s: float | None) -> Self | None:
        """Begin to count; None is for ever."""
        return None if timeout_s is None else cls(clock.time() + timeout_s, timeout_s)


def after_a_look(callback: Callable[[], object]) -> None:
    """Call it when the loop has polled and whoever that woke has run: what came in time is met first (law 11)."""
    call_soon = asyncio.get_running_loop().call_soon
    call_soon(call_soon, call_soon, callback)


async def wait(clock: Clock, future: asyncio.Future[T], limit: Wait | None, phase: Callable[[], Phase]) -> T:
    """Return a future's result.

    Raises:
        TimedOutError: The limit came first; ``phase`` is asked then what was being waited for.
    """
    if limit is None:
        return await future
    timer = clock.call_at(
        limit.until, lambda: after_a_look(lambda: _fail(future, TimedOutError(phase(), limit.timeout_s)))
    )
    try:
        return await future
    finally:
        timer.cancel()


class Facts:
    """Facts that are waited for. Whoever changes what they are about calls `look`."""

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
