"""A server beside the test, in a thread with a loop of its own, so that a plain blocking socket can be its peer."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from ..server.api import Target, serve
from ..server.server import Server

T = TypeVar("T")

# Far more than any fact takes to come true, so that a hang becomes a failure that says where.
PATIENCE_S = 20.0
ASK_AGAIN_S = 0.05


class ServerThread:
    """Serve in a thread from ``with`` to the end of its block, which drains; every wait is for a fact.

    Args:
        target: What `penstock.serve` takes.
        bind: Where to listen.
        loop_factory: Makes the loop; None for asyncio's selector loop.
        options: As `penstock.serve`.

    Attributes:
        server: The server. Its methods belong to its thread: go through `call`.
    """

    server: Server

    def __init__(
        self,
        target: Target,
        *,
        bind: str | Sequence[str] = "tcp://127.0.0.1:0",
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        **options: Any,
    ) -> None:
        self._make: Callable[[], Server] = lambda: serve(target, bind=bind, **options)
        self._loop_factory: Callable[[], asyncio.AbstractEventLoop] = loop_factory or asyncio.SelectorEventLoop
        self._thread = threading.Thread(target=self._run, name="penstock-server", daemon=True)
        self._ready: Future[None] = Future()
        self._finish: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._ready.result(PATIENCE_S)
        except BaseException:
            self._thread.join()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._loop is not None
        assert self._finish is not None
        self._loop.call_soon_threadsafe(self._finish.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the server did not stop"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._finish = asyncio.Event()
        try:
            self.server = self._make()
            await self.server.start()
        except BaseException as error:
            self._ready.set_exception(error)
            return
        self._addresses = tuple(self.server.addresses)
        self._ready.set_result(None)
        await self._finish.wait()
        await self.server.drain()

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, or listened."""
        return self._addresses

    @property
    def address(self) -> str:
        """The first of them."""
        return self._addresses[0]

    @property
    def port(self) -> int:
        """The first address's port."""
        return int(self.address.rpartition(":")[2])

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` on the server's thread; return what it returns."""

        async def main() -> T:
            return function()

        return self.wait(main())

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop; return its result. Fails after `PATIENCE_S` seconds."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def wait_until(self, fact: Callable[[Server], bool]) -> None:
        """Wait until ``fact(server)`` is true; also one that no event tells of, such as a peer's EOF."""

        async def asked_again() -> None:
            while True:
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(self.server.wait_until(fact), ASK_AGAIN_S)

        self.wait(asked_again())

    def wait_connections(self, count: int) -> None:
        """Wait until exactly ``count`` connections are open."""
        self.wait(self.server.wait_connections(count))

    def wait_closed(self, count: int) -> None:
        """Wait until ``count`` connections have ended since the start."""
        self.wait_until(lambda server: server.stats.closed.total() >= count)

    def drain(self) -> None:
        """Drain, and wait until it is over."""
        self.wait(self.server.drain())
