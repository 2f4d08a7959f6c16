"""Twisted's reactor on the loop that serves.

A program imports ``twisted.internet.reactor`` before any loop runs, and one process may run several loops in turn. So
this reactor has none of its own: it waits for the server's, and keeps what is to be called later until then. It is for
protocols that call `callLater`, `deferToThread` and the like. Connections are the server's.

Only what serves Twisted's protocols imports this, for it needs Twisted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor

from ..errors import ApplicationError


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

    def join(self, server: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Run on the loop of a server; with the first of them, what waits for the reactor's start is called."""
        self._servers.append(server)
        if loop is self._loop:
            return
        self._loop = loop
        self._scheduledAt = self._timerHandle = None
        if not self._started:
            self.startRunning(installSignalHandlers=False)
        self._reschedule()  # type: ignore[no-untyped-call]

    def leave(self, server: Any) -> None:
        """End with the last server: what waits for the reactor's end is called, and the threads of its pool end."""
        self._servers.remove(server)
        if self._servers:
            return
        self.fireSystemEvent("shutdown")
        timer: Any = self._timerHandle
        if timer is not None:
            timer.cancel()
        self._loop = None

    def crash(self) -> None:
        """End what is the reactor's; the loop goes on, for it is the server's."""
        super(AsyncioSelectorReactor, self).crash()

    # -- what programs call --------------------------------------------------------------------------------------------

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> Any:  # noqa: A002, N802
        """Have something called later; before the server runs, that long after its start."""
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
