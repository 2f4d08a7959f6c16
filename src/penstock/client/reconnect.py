"""One connection after another: made, greeted, used until it ends, and made anew after a wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from ..core.contract import Clock, Connection
from ..engines.client import ClientConnection
from ..errors import EndOfStreamError, PenstockError, Phase, TimedOutError
from ..reasons import CloseReason
from .backoff import Backoff
from .clocks import TimeoutAt, sleep
from .delivery import ClientStats
from .state import ClientState, StateChange
from .typed import Hello

M = TypeVar("M")


class Connect(Protocol[M]):
    """Makes a connection, as `connect` does."""

    def __call__(self, *, clock: Clock) -> Awaitable[Connection[M]]:
        """Connect; raise a PenstockError where that cannot be."""


class Reconnector(Generic[M]):
    """Stays connected.

    Args:
        connect: Makes one connection, given a clock.
        hello: Called with it before anything else is done with it; None for nothing.
        hello_s: How long that may take, in seconds; None for ever.
        backoff: How long to wait between attempts.
        random: Returns a number from 0 to 1: the jitter.
        stats: Connects and failures are counted there.
    """

    def __init__(
        self,
        connect: Connect[M],
        hello: Hello[M] | None,
        *,
        hello_s: float | None,
        backoff: Backoff,
        random: Callable[[], float],
        stats: ClientStats,
    ) -> None:
        self._connect = connect
        self._hello = hello
        self._hello_s = hello_s
        self._backoff = backoff
        self._random = random
        self._stats = stats
        self._latest: Connection[M] | None = None

    async def run(
        self,
        clock: Clock,
        *,
        use: Callable[[ClientConnection[M]], Awaitable[Exception]],
        lost: Callable[[CloseReason], object],
        change: Callable[[StateChange], object],
    ) -> None:
        """Connect, use, wait, again, until cancelled. What is raised is a hook's, or a bug.

        Args:
            clock: Where time comes from.
            use: Uses a connection until it ends; returns what ended it.
            lost: Called when it has ended, or was refused its hello, with why.
            change: Told what is being done.
        """
        failures = 0
        while True:
            began_at = clock.time()
            was_connected, error = await self._once(clock, use, lost)
            lived_s = clock.time() - began_at
            failures = 0 if was_connected and lived_s >= self._backoff.reset_after_s else failures
            wait_s = self._backoff.wait_s(failures, self._random)
            failures += 1
            change(StateChange(ClientState.AWAY, error, wait_s))
            await sleep(clock, wait_s)
            change(StateChange(ClientState.CONNECTING))

    async def wait_closed(self) -> None:
        """Wait until the last connection is gone, if there was one."""
        if self._latest is not None:
            await self._latest.wait_closed()

    async def _once(
        self,
        clock: Clock,
        use: Callable[[ClientConnection[M]], Awaitable[Exception]],
        lost: Callable[[CloseReason], object],
    ) -> tuple[bool, Exception]:
        """Return whether there ever was a connection to use, and what ended it."""
        conn: Connection[M] | None = None
        connected = False
        try:
            conn = self._latest = await self._connect(clock=clock)
            assert isinstance(conn, ClientConnection)
            await self._greet(clock, conn)
            connected = True
            self._stats.connects += 1
            ended = await use(conn)
            if not isinstance(ended, EndOfStreamError):
                conn.abort()  # nobody is left to say goodbye to
            return True, ended
        except Exception as error:
            if conn is not None:
                conn.abort()
            if not isinstance(error, PenstockError | OSError):
                raise
            self._stats.failures += not connected
            return connected, error
        finally:
            if conn is not None:
                conn.close()
                lost(conn.close_reason or CloseReason.DONE)

    async def _greet(self, clock: Clock, conn: Connection[M]) -> None:
        if self._hello is None:
            return
        hello_s = self._hello_s
        try:
            with TimeoutAt(clock, None if hello_s is None else clock.time() + hello_s):
                await self._hello(conn)
        except TimeoutError as error:
            if isinstance(error, TimedOutError) or hello_s is None:
                raise
            raise TimedOutError(Phase.HANDSHAKE, hello_s) from None
