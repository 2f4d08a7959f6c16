"""Twisted's reactor on the loop that serves.

A program imports ``twisted.internet.reactor`` before any loop runs, and one process may run several loops in turn. So
this reactor has none of its own: it waits for the server's, and keeps what is to be called later until then. It is for
protocols that call `callLater`, `deferToThread` and the like. Connections are the server's.

Only what serves Twisted's protocols imports this, for it needs Twisted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor

from ..errors import ApplicationError

LONGEST_END_S: Final = 0.5  # the server gives its tasks a second to end


def make() -> ServersReactor:
    """Make one, and install it."""
    reactor = ServersReactor()
    installReactor(reactor)  # type: ignore[no-untyped-call]
    return reactor


class ServersReactor(AsyncioSelectorReactor):
    """The reactor of a process whose servers run the loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._servers: list[Any] = []
        super().__init__(_NoLoop())  # type: ignore[arg-type]  # `_asyncioEventloop` says which one it is

    @property
    def _asyncioEventloop(self) -> asyncio.AbstractEventLoop:  # noqa: N802
        if self._loop is None:
            raise RuntimeError("no loop runs yet: penstock serves once the module is loaded")
        return self._loop

    @_asyncioEventloop.setter
    def _asyncioEventloop(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: N802
        """Leave it: the loop is the one that runs."""

    def installWaker(self) -> None:  # noqa: N802
        """Do nothing: the loop wakes by itself for what another thread calls."""

    # -- the servers ---------------------------------------------------------------------------------------------------

    def has(self, server: Any) -> bool:
        """Whether it runs on the loop of a server."""
        return server in self._servers

    def join(self, server: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Run on the loop of a server until that stops; with the first one call what waits for the reactor's start.

        Raises:
            ApplicationError: It runs on the loop of another one.
        """
        if self._servers and self._loop is not None and self._loop is not loop:
            if not self._loop.is_closed():
                raise ApplicationError(
                    f"Twisted's reactor runs on the loop of {self._servers[0].service.name}: one process has one. "
                    f"Serve {server.service.name} on that loop, as services of an App, or in a process of its own"
                )
            self._end()  # that loop was closed before its servers could stop
        server.start_lasting(self._stay(server), name="Twisted's reactor")
        self._servers.append(server)
        if loop is not self._loop:
            self._loop = loop
            self._begin()

    async def _stay(self, server: Any) -> None:
        """End with the last server: what waits for the reactor's end is called, and the threads of its pool end."""
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # the factories that are told to end with it come first
            if self._servers == [server]:
                await self._shut_down()
            if server in self._servers:
                self._servers.remove(server)
                if not self._servers:
                    self._end()
                elif not self._started:  # another one has come meanwhile
                    self._begin()

    def _begin(self) -> None:
        self._scheduledAt = self._timerHandle = None
        if not self._started:
            self.startRunning(installSignalHandlers=False)
        self._reschedule()  # type: ignore[no-untyped-call]

    async def _shut_down(self) -> None:
        """Call what waits for the end. What returns a Deferred is waited for, for `LONGEST_END_S`."""
        over = asyncio.Event()
        self.addSystemEventTrigger("after", "shutdown", over.set)
        self.fireSystemEvent("shutdown")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_END_S):
                    await over.wait()
        finally:
            event: Any = self._eventTriggers.pop("shutdown")
            event._continueFiring(None)  # noqa: SLF001 - a Deferred that comes later finds nothing left to be called
            for trigger in (self.crash, self.disconnectAll):
                self.addSystemEventTrigger("during", "shutdown", trigger)

    def _end(self) -> None:
        """Be on no loop, ready for another one."""
        timer: Any = self._timerHandle
        if timer is not None:
            timer.cancel()
        if self._started:
            self.crash()
        self._servers.clear()
        self._loop = None

    def crash(self) -> None:
        """End what is the reactor's; the loop goes on, for it is the server's."""
        super(AsyncioSelectorReactor, self).crash()

    # -- what programs call --------------------------------------------------------------------------------------------

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:  # noqa: A002, N802
        """Have something called later; before a server has begun the reactor, that long after it has."""
        if self._loop is None:
            return super(AsyncioSelectorReactor, self).callLater(delay, callable, *args, **kw)
        return super().callLater(delay, callable, *args, **kw)  # type: ignore[no-untyped-call]

    def run(self, installSignalHandlers: bool = True) -> None:  # noqa: N803
        """Refuse: the server runs the loop.

        Raises:
            ApplicationError: Always.
        """
        raise ApplicationError('penstock runs the loop: leave reactor.run() to `if __name__ == "__main__"`')

    def stop(self) -> None:
        """Have the servers drain."""
        for server in self._servers:
            server.begin_drain()


class _NoLoop:
    """What the reactor is made with; it is never asked for anything."""
