"""An application at work: opened, served, drained, closed."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ..config import ServerConfig
from ..core.background import BackgroundTask, Work, name_of
from ..core.contract import Clock, ConnectionBase
from ..core.events import Observer, TaskFailed
from ..core.gate import Gate
from ..core.interrupts import is_interrupt
from ..errors import ConfigurationError, ExitStatus, StoppedError
from ..server.background import Background
from ..server.inherited import InheritedSocket, inherited_listeners
from ..server.observers import Observers
from ..server.server import Server
from ..server.shared import Shared
from ..server.supervision import Supervision
from ..server.tls import check_certificates
from ..telemetry.log import LogObserver
from .lifespan import Closing, Lifespan
from .order import waves
from .places import shared_out

if TYPE_CHECKING:
    from .app import App

_logger = logging.getLogger("penstock")


class AppServer:
    """One application, in the running event loop.

    Used as ``async with penstock.serve(app) as server:``; leaving the block drains it. All methods belong to the loop's
    thread.

    Args:
        app: What to serve.
        configs: How, for each service.
        clock: Where time comes from; None for the loop's own.
        observers: Told of every event of every service, and of the application's background tasks.
        warn: As of `penstock.Server`.
        inherited: The sockets that were handed down for it; None to look for them.
        is_aside: It is there beside what the process is for: the log does not tell when it drains.
        supervision: The supervisor whose worker the process is; None where there is none.
        in_one: The services that one worker has, where there are several.

    Attributes:
        app: What is served.
        supervision: The same.
        has_failed: Whether a lifespan failed at its end.
    """

    def __init__(
        self,
        app: App[Any],
        configs: Mapping[str, ServerConfig],
        *,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
        warn: Callable[[str], object] | None = None,
        inherited: Sequence[InheritedSocket] | None = None,
        is_aside: bool = False,
        supervision: Supervision | None = None,
        in_one: Collection[str] = (),
    ) -> None:
        self.app = app
        self.supervision = supervision
        self.has_failed = False
        self._configs = dict(configs)
        self._in_one = frozenset(in_one)
        self._waves = waves(app.drain_after)
        self._clock = clock
        self._inherited = inherited
        self._is_aside = is_aside
        self._warn = warn
        self._given = tuple(observers)
        self._observers = Observers(None, [LogObserver(access=False), *self._given])
        self._servers: dict[str, Server] = {}
        self._background = Background(self._task_failed)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: asyncio.Task[None] | None = None
        self._told = False  # to end
        self._begun = False
        self._serves = False
        self._drain_began: float | None = None
        self._end_told = asyncio.Event()
        self._stopped: asyncio.Future[None] | None = None

    def tell(self, observer: Observer) -> None:
        """Have an observer told of every event. Before the start."""
        self._given = (*self._given, observer)
        self._observers.append(observer)

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def servers(self) -> Mapping[str, Server]:
        """The server of each service, by name.

        Raises:
            ConfigurationError: A service and its options do not go together.
        """
        if not self._servers:
            self._servers = self._make_servers()
        return self._servers

    @property
    def _served(self) -> list[Server]:
        """The servers of the services that this process has: each of them, unless it is another worker's."""
        return [server for server in self.servers.values() if not server.is_elsewhere]

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, with the ports the system chose; empty before the start."""
        return [address for server in self._servers.values() for address in server.addresses]

    @property
    def connections(self) -> Sequence[ConnectionBase[Any]]:
        """The connections of all services that have not ended, handler included."""
        return [conn for server in self._servers.values() for conn in server.connections]

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""
        return self._told

    @property
    def cut_off(self) -> int:
        """How many connections were cut because the application ended."""
        return sum(server.cut_off for server in self._servers.values())

    @property
    def status(self) -> ExitStatus:
        """What a process that was there for it exits with."""
        if self.has_failed:
            return ExitStatus.FAILED
        return ExitStatus.DRAIN_TIMEOUT if self.cut_off else ExitStatus.OK

    def _make_servers(self) -> dict[str, Server]:
        app = self.app
        supervision = self.supervision
        inherited = self._inherited
        if inherited is None:
            inherited = supervision.inherited if supervision else inherited_listeners(os.environ, os.getpid())
        places = shared_out(self._configs, inherited)
        gate = Gate() if app.shared_gate else None
        servers: dict[str, Server] = {}
        served = [name for name in places if supervision is None or supervision.is_first or name not in self._in_one]
        for name, (config, own) in places.items():
            first = name == (served or list(places))[0]
            shared = Shared(
                app=app,
                gate=gate,
                begins_gate=gate is None or first,
                inherited=own,
                supervision=supervision,
                watches_loop=first,
                servers=1 if gate is not None else max(1, len(served)),
                tells_course=not self._is_aside,
                counts_as=next(iter(places)) if gate is not None else "",
                is_in_one=supervision is not None and name in self._in_one,
                is_elsewhere=name not in served,
            )
            service = app.services[name]
            servers[name] = Server(
                service, config, clock=self._clock, observers=self._given, warn=self._warn, shared=shared
            )
        if gate is not None:
            _check_shared_gate(servers)
        check_certificates([(server.config.tls, server.config.bind) for server in servers.values()])
        return servers

    def check(self) -> None:
        """Refuse what `start` would refuse before it opens anything. Needs no loop.

        Raises:
            ConfigurationError: As `start`.
        """
        for server in self.servers.values():
            server.check()

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open every address before the lifespans: who connects waits in the backlog. May be repeated.

        Raises:
            ConfigurationError, BindError: As `start`. Those opened before it were closed again.
        """
        try:
            for server in self._served:
                server.open()
        except BaseException:
            self.close()
            raise

    async def obtain(self) -> None:
        """As `open`; in a worker the supervisor opens them, and keeps them."""
        try:
            for server in self._served:
                await server.obtain()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close what `open` opened and no `start` has used. May be repeated."""
        for server in self._servers.values():
            server.close()

    async def start(self) -> None:
        """Open the lifespans, then every address, and begin to serve.

        Raises:
            ApplicationError: A lifespan failed, or the application is being served already.
            ConfigurationError: A service, its addresses and its model do not go together. Nothing was opened.
            BindError: An address cannot be listened on.
            LimitError: As of `penstock.Server.start`.
            StoppedError: It was told to end meanwhile.

        Whatever is raised, what was opened before is closed. So it is when this is cancelled.
        """
        self.check()
        if self._told:
            raise StoppedError(f"{self.app.name} was told to stop before it served")
        self._loop = loop = asyncio.get_running_loop()
        self.app.begin(self)
        ready: asyncio.Future[None] = loop.create_future()
        self._stopped = loop.create_future()
        # One task for all of it, so that what a lifespan enters it leaves in the task that entered it.
        self._life = loop.create_task(self._live(ready), name="penstock-app")
        self._life.add_done_callback(self._life_over)
        try:
            await asyncio.shield(ready)
        except asyncio.CancelledError:
            ready.cancel()
            self.begin_stop()
            await self.wait_stopped()
            raise

    def begin_drain(self) -> None:
        """End in order: the services drain, then lifespans are closed. May be repeated; `wait_stopped` waits.

        While it starts, what is being opened is cancelled, and what was opened is closed. Before the start, it is the
        start that is refused, with StoppedError.
        """
        if self._told:
            return
        self._told = True
        self._end_told.set()
        if self._life is not None and self._begun and not self._serves:
            self._life.cancel()

    async def drain(self) -> None:
        """End in order, within ``timeouts.drain_s`` of each service, counted from here for all of them."""
        self.begin_drain()
        await self.wait_stopped()

    def begin_stop(self) -> None:
        """Stop accepting and abort every connection, then end in order. May be repeated."""
        for server in self._servers.values():
            server.begin_stop()
        self.begin_drain()

    async def stop(self) -> None:
        """Abort every connection and end in order; return when all of it has ended."""
        self.begin_stop()
        await self.wait_stopped()

    async def wait_stopped(self) -> None:
        """Wait until all has ended: handlers, background tasks, lifespans. Does not bring it about."""
        if self._stopped is not None:
            await asyncio.shield(self._stopped)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            await self.drain()
        else:
            await self.stop()

    async def _live(self, ready: asyncio.Future[None]) -> None:
        self._life = asyncio.current_task()  # where tasks are eager it runs before `start` has it
        self._begun = True
        opened: list[tuple[Lifespan, Closing]] = []
        problem: BaseException | None = None
        try:
            try:
                await self._open(opened)
            except asyncio.CancelledError:
                problem = StoppedError(f"{self.app.name} was told to stop before it served")
            except BaseException as error:
                problem = error
            else:
                if not ready.done():
                    ready.set_result(None)
                await self._serve()
        except GeneratorExit:  # there is no loop any more in which to close them
            opened.clear()
            raise
        finally:
            try:
                await self._close(opened)
            finally:
                self.close()
                if problem is not None and not ready.done():
                    ready.set_exception(problem)

    def _life_over(self, _task: object) -> None:
        """It has ended, in whatever way: cancelled before its first step, it has not even begun."""
        self.app.end()
        assert self._stopped is not None
        self._stopped.set_result(None)

    async def _open(self, opened: list[tuple[Lifespan, Closing]]) -> None:
        for lifespan in self.app.lifespans:
            self._require_untold()
            opened.append((lifespan, await lifespan.open(self.app)))
        self._require_untold()  # what took the cancellation for something of its own went on
        if self.supervision is not None:  # also where it has none of the services
            await self.supervision.introduced()
        started: list[Server] = []
        try:
            for server in self._served:
                await server.start()
                started.append(server)
        except BaseException:
            for server in started:
                await server.stop()
            raise
        self._serves = True

    def _require_untold(self) -> None:
        if self._told:
            raise asyncio.CancelledError

    async def _serve(self) -> None:
        """Serve until it is told to end, or every service has ended by itself; then drain.

        A cancellation comes from the loop, which is ending and cancels every task, or from a lifespan: a timeout or a
        task group around its yield.
        """
        assert self._loop is not None
        assert self._life is not None
        watch = self._loop.create_task(self._all_stopped(), name="penstock-app-watch")
        watch.add_done_callback(lambda _: self._end_told.set())
        while not watch.done():
            try:
                await self._end_told.wait()
                self._drain_began = self._drain_began or time.monotonic()
                await self._drain(self._drain_began)
                await asyncio.wait([watch])
            except asyncio.CancelledError:
                if watch.cancelling():
                    break
                self._life.uncancel()
                if not self._told:
                    self.has_failed = True
                    _logger.error("a lifespan ended the application: it cancelled the task that lifespans run in")
                self._told = True
                self._end_told.set()
        for server in self._servers.values():
            server.begin_stop()
        await _whatever_comes(self._all_stopped)

    async def _all_stopped(self) -> None:
        if not self._served:
            await self._end_told.wait()
        for server in self._servers.values():
            await server.wait_stopped()

    async def _drain(self, began: float) -> None:
        for wave in self._waves:
            for name in wave:
                timeout_s = self._servers[name].config.timeouts.drain_s
                if timeout_s is not None:
                    timeout_s = max(0.0, began + timeout_s - time.monotonic())
                self._servers[name].begin_drain(timeout_s=timeout_s)
            for name in wave:
                await self._servers[name].wait_stopped()

    def _give_up_at(self, now: float) -> float | None:
        """When background tasks that have not ended are given up: at the end of the longest drain; None for never."""
        end = 0.0
        for server in self._servers.values():
            if server.config.timeouts.drain_s is None:
                return None
            end = max(end, now + server.config.timeouts.drain_s)
        return end if self._drain_began is None else end - (time.monotonic() - self._drain_began)

    async def _close(self, opened: list[tuple[Lifespan, Closing]]) -> None:
        ended = asyncio.Event()
        assert self._loop is not None
        self._background.end(ended.set, self._loop, self._give_up_at(self._loop.time()))
        await _whatever_comes(ended.wait)
        interrupt: BaseException | None = None
        while opened:
            lifespan, closing = opened.pop()
            try:
                await closing.close()
            except BaseException as error:
                if is_interrupt(error):
                    interrupt = error
                else:
                    self.has_failed = True
                    _logger.error("%s", lifespan.failure("failed at the end", error), exc_info=error)
        if interrupt is not None:
            raise interrupt

    # -- what belongs to it --------------------------------------------------------------------------------------------

    def start_task(self, work: Work, name: str) -> BackgroundTask:
        """Run ``work`` until the application ends: what `App.task` does. Safe from every thread."""
        assert self._loop is not None, "the application was not started"
        return self._background.start(self._loop, None, work, name or name_of(work))

    def _task_failed(self, conn: ConnectionBase[Any] | None, name: str, error: BaseException) -> None:
        self._observers.emit(TaskFailed(conn, name, error))


async def _whatever_comes(wait: Callable[[], Any]) -> None:
    """Wait, also when this is cancelled meanwhile: the loop is ending, and what is waited for is ending, too."""
    while True:
        try:
            await wait()
        except asyncio.CancelledError:
            continue
        return


def _check_shared_gate(servers: Mapping[str, Server]) -> None:
    """Refuse what one gate cannot do for several services.

    Raises:
        ConfigurationError: They differ in what the gate is to do; or one of them is served by threads, which ask it
            under a lock of their own.
    """
    first, *others = servers
    for name in others:
        if servers[name].config.gate != servers[first].config.gate:
            raise ConfigurationError(
                f"{first} and {name} differ in options of the gate, of which there is one: give them to App",
                "shared_gate",
            )
    for name, server in servers.items():
        if server.choice.engine.thread_per_connection:
            raise ConfigurationError(
                f"{name} is served by the blocking engine, which needs a gate of its own", "shared_gate"
            )
        if server.config.model == "one-at-a-time":
            raise ConfigurationError(f"{name} serves one connection at a time: its gate is its own", "shared_gate")
