"""Telling what happens: every event to every observer, and those who wait for a fact that it is worth another look."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..core.events import Closed, CountingObserver, DatagramHandled, Event, HandlerFailed, Observer
from ..core.interrupts import is_interrupt
from ..core.replies import explained
from ..core.service import Service
from ..core.texts import text_of
from ..core.turns import turn_of
from ..telemetry.log import Pace, logger


class Observers:
    """The observers of one server, or of an application. What one of them raises is logged, once a second at most.

    Args:
        service: Whose codec explains why a handler failed; None where no handler is anybody's.
        observers: Told in this order.
    """

    def __init__(self, service: Service[Any] | None, observers: Iterable[Observer]) -> None:
        self._service = service
        self._observers = list(observers)
        self._failures = Pace(1, time.monotonic)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def append(self, observer: Observer) -> None:
        """Have another one told, from now on. Safe from every thread."""
        self._observers.append(observer)

    def emit(self, event: Event) -> None:
        """Tell all of them. Safe from every thread.

        Raises:
            BaseException: An interrupt of the process that came meanwhile, when all have been told.
        """
        if type(event) is HandlerFailed and self._service is not None:
            event = _explained(event, self._service)
        interrupt: BaseException | None = None
        for observer in self._observers:
            try:
                observer.observe(event)
            except BaseException as error:
                interrupt = self._failed(observer, event, error) or interrupt
        self._all_told(interrupt)

    def only_counts(self, kind: type[Event]) -> bool:
        """Say whether the number of a kind's events is all that the observers want to know, as of now.

        One that fails to say so is told of each.

        Raises:
            BaseException: An interrupt of the process that came meanwhile.
        """
        for observer in self._observers:
            if not isinstance(observer, CountingObserver):
                return False
            try:
                if not observer.only_counts(kind):
                    return False
            except BaseException as error:
                if self._failed(observer, kind, error) is not None:
                    raise
                return False
        return True

    def count(self, kind: type[Event], count: int) -> None:
        """Tell all of them how many events of a kind there were. Safe from every thread.

        Raises:
            BaseException: As of `emit`.
        """
        interrupt: BaseException | None = None
        for observer in self._observers:
            if isinstance(observer, CountingObserver):  # another one came too late for these
                try:
                    observer.count(kind, count)
                except BaseException as error:
                    interrupt = self._failed(observer, kind, error) or interrupt
        self._all_told(interrupt)

    def _all_told(self, interrupt: BaseException | None) -> None:
        self._wake_soon()
        if interrupt is not None:
            raise interrupt

    def _wake_soon(self) -> None:
        if self._waiters:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._wake)

    async def wait_until(self, fact: Callable[[], bool]) -> None:
        """Wait until ``fact()`` is true; it is asked again after every event."""
        self._loop = asyncio.get_running_loop()
        await turn_of(self._loop).take()
        while True:
            # Before the fact is looked at: an engine's thread may make it true right after.
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            if fact():
                return
            await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _failed(self, observer: object, event: Event | type[Event], error: BaseException) -> BaseException | None:
        """Log what an observer has raised, which is no connection's; or return it: an interrupt goes on."""
        if is_interrupt(error):
            return error
        more = self._failures.more()
        if more is not None:
            with contextlib.suppress(Exception):  # the log itself may be what fails
                logger.error("observer %s failed at %s%s", text_of(observer), event.name, more, exc_info=error)
        return None


def _explained(event: HandlerFailed, service: Service[Any]) -> HandlerFailed:
    conn = event.connection
    codec = (service if conn is None else conn).codec
    return HandlerFailed(conn, explained(event.error, service, codec))


class Once:
    """An observer that ends a server after its first connection or datagram.

    Args:
        end: Begins to end it. Safe from every thread.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end

    def observe(self, event: Event, /) -> None:
        """Look whether it was one of these."""
        if isinstance(event, Closed | DatagramHandled):
            self._end()
