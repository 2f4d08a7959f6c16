"""Serving as the whole purpose of a process: a loop of our own, signals, an exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..config import LogFormat, ServerConfig
from ..core.events import Observer
from ..core.service import Service
from ..engines.base import Engine
from ..errors import ConfigurationError, ExitStatus, StoppedError
from .beside import Beside, Steered
from .descriptors import raise_descriptor_limit
from .identity import Identity, identity_of
from .life import Life
from .notify import Notifier
from .pid_file import PidFile
from .reload import Reloader
from .server import Server
from .shared import Shared
from .signals import ENDING, NO_SUPERVISOR, OF_THE_SUPERVISOR, EndSignals, OtherSignals
from .supervision import Supervision, Worker
from .surroundings import settle_in

if TYPE_CHECKING:
    from .forking.nursery import Nursery

L = TypeVar("L", bound=Life)

_logger: Final = logging.getLogger("penstock")


def run(
    service: Service[Any],
    config: ServerConfig,
    *,
    on_ready: Callable[[Server], None] | None = None,
    observers: Iterable[Observer] = (),
    is_all: bool = False,
    warn: Callable[[str], object] | None = None,
    reload: Callable[[Server], Awaitable[str | None]] | None = None,
    beside: Beside | None = None,
    supervision: Supervision | None = None,
    nursery: Nursery | None = None,
) -> ExitStatus:
    """Serve until SIGTERM or SIGINT (Ctrl-C), which drain; a second one stops at once.

    The other signals are as `OtherSignals` has them. A service manager that has set NOTIFY_SOCKET is told how it goes.

    Args:
        service: What to serve.
        config: How.
        on_ready: Called once it serves.
        observers: Told of every event.
        is_all: Whether the process ends with it: a signal that comes after that does not change its exit status.
        warn: As of `Server`.
        reload: Reads the configuration again, for SIGHUP, and gives the server what may change while it serves. What it
            raises is logged; what it returns says what has changed.
        beside: Makes what lives beside the server in its loop.
        supervision: The supervisor whose worker this process is; None where there is none.
        nursery: Forks the processes of connections, for ``--model process``; None to fork it now.

    Returns:
        ``OK``; ``DRAIN_TIMEOUT`` when connections were cut, at the drain deadline or by a second signal; ``FAILED``
        when the server has ended by itself, since nothing forks processes for connections any more.

    Raises:
        ConfigurationError, BindError: As `Server.start`, or a loop runs in this thread already. Nothing was served.

    In a thread that is not the main one there are no signals: the server is told to stop by ``begin_drain``, called in
    its loop, and a warning says so.
    """
    refuse_running_loop()
    if config.model == "process" and nursery is None:
        from .forking.nursery import Brood, Nursery  # noqa: PLC0415  # of one model alone

        nursery = Nursery.begin(lambda: Brood(service, config), bind=config.bind)
    notifier = Notifier.from_environment(os.environ, os.getpid())
    told = observers if notifier is None else [*observers, notifier]
    try:
        shared = Shared(supervision=supervision, nursery=nursery)
        server = Server(service, config, observers=told, warn=warn, shared=shared)
        end = End(service.name, lambda: _status(server, nursery))
        return live(
            server,
            [server],
            end,
            on_ready=on_ready,
            is_all=is_all,
            warn=warn,
            reload=reload,
            notifier=notifier,
            beside=beside,
            supervision=supervision,
            nursery=nursery,
        )
    finally:
        if nursery is not None:
            nursery.close()


def _status(server: Server, nursery: Nursery | None) -> ExitStatus:
    if nursery is not None and nursery.is_lost:
        return ExitStatus.FAILED
    return ExitStatus.DRAIN_TIMEOUT if server.cut_off else ExitStatus.OK


@dataclass(frozen=True, slots=True)
class End:
    """What is told of a life to those outside of it.

    Attributes:
        name: What it is called.
        status: Says what came of it, when it is over.
    """

    name: str
    status: Callable[[], ExitStatus]


def live(
    life: L,
    servers: Sequence[Server],
    end: End,
    *,
    on_ready: Callable[[L], None] | None = None,
    is_all: bool = False,
    warn: Callable[[str], object] | None = None,
    reload: Callable[[L], Awaitable[str | None]] | None = None,
    notifier: Notifier | None = None,
    beside: Beside | None = None,
    supervision: Supervision | None = None,
    nursery: Nursery | None = None,
) -> ExitStatus:
    """Live in a loop of its own until the end, which signals bring about.

    Args:
        life: Not begun yet.
        servers: Its servers: what loop there is, and how many descriptors, is by their needs.
        end: What is told of it.
        on_ready: Called once it has begun.
        is_all: As of `run`.
        warn: As of `Server`.
        reload: As of `run`.
        notifier: Told how it goes, and closed at the end; None where no service manager wants to know.
        beside: As of `run`.
        supervision: As of `run`.
        nursery: As of `run`.
    """
    process = servers[0].config.process
    identity = identity_of(process)
    settle_in(process)
    engines = [server.choice.engine for server in servers]
    each = (engine.descriptors_per_connection for engine in engines)
    raise_descriptor_limit(*zip((server.config.gate for server in servers), each, strict=True))
    formats = [server.config.log_format for server in servers]
    # Under a supervisor the number is its own.
    pid_file = None if process.pid_file is None or supervision is not None else PidFile(process.pid_file)
    work = _live(
        life,
        servers,
        end,
        on_ready,
        identity=identity,
        pid_file=pid_file,
        is_all=is_all,
        warn=warn or _logger.warning,
        reload=reload,
        notifier=notifier,
        beside=beside,
        log_format=next((each for each in formats if each != "console"), "console"),
        supervision=supervision,
        nursery=nursery,
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory(engines)) as runner:
            return runner.run(work)
    finally:
        if pid_file is not None:
            pid_file.remove()


def refuse_running_loop() -> None:
    """Refuse to have a loop of our own inside of another.

    Raises:
        ConfigurationError: A loop runs in this thread.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001  # the public one raises where there is none
        raise ConfigurationError(
            "run has a loop of its own, and one runs in this thread already: write `async with penstock.serve(…) as "
            "server: await server.wait_stopped()`"
        )


async def _live(
    server: L,
    servers: Sequence[Server],
    end: End,
    on_ready: Callable[[L], None] | None,
    *,
    identity: Identity | None,
    pid_file: PidFile | None,
    is_all: bool,
    warn: Callable[[str], object],
    reload: Callable[[L], Awaitable[str | None]] | None,
    notifier: Notifier | None,
    beside: Beside | None,
    log_format: LogFormat,
    supervision: Supervision | None,
    nursery: Nursery | None,
) -> ExitStatus:
    signals = others = None
    reloader = None if reload is None else Reloader(server, reload, notifier)
    if threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()
        ends = server if supervision is None else Worker(server, supervision)
        signals = EndSignals(ends, loop, log_format=log_format, numbers=ENDING if supervision is None else (SIGTERM,))
        others = OtherSignals(
            ends,
            servers,
            loop,
            None if reloader is None else reloader.begin,
            ignored=NO_SUPERVISOR if supervision is None else OF_THE_SUPERVISOR,
        )
    else:  # where Python handles no signal: signal.signal and signal.set_wakeup_fd refuse
        warn(
            "signals cannot stop this server: it does not run in the main thread; call "
            "loop.call_soon_threadsafe(server.begin_drain)"
        )
    steers: Life | None = None
    if supervision is not None:
        supervision.begin(server, servers)
    try:
        try:
            if pid_file is not None:
                pid_file.take()  # with the signals' handlers in place: their default action would leave it there
            if beside is not None:
                steers = beside(Steered(end.name, server, None if reloader is None else reloader.done))
                steers.open()
            if identity is not None:
                await server.obtain()
                identity.assume()
                if nursery is not None:
                    nursery.assume()
            if steers is not None:
                await steers.start()
            await server.start()
        except BaseException:
            server.close()
            raise
        if signals is not None:
            signals.started()
        try:
            if pid_file is not None:
                pid_file.write()
            if on_ready is not None:
                on_ready(server)
            if notifier is not None:
                notifier.ready(end.name, server.addresses)
            if supervision is not None:
                supervision.ready()
            if reloader is not None:
                reloader.ready()
            await server.wait_stopped()
        except BaseException:  # what was opened is closed: Unix sockets' files go, lifespans end
            server.begin_stop()
            await server.wait_stopped()
            raise
        status = end.status()
    except StoppedError as error:
        status = error.exit_status
    except BaseException:
        if signals is not None:
            signals.end(for_good=False)
        raise
    finally:
        if steers is not None:
            steers.begin_drain()
            await steers.wait_stopped()
            steers.close()
        if others is not None:
            others.end()
        if notifier is not None:
            notifier.close()
        if supervision is not None:
            await supervision.end()
    if signals is not None:
        signals.end(for_good=is_all)
    return status


def _loop_factory(engines: Sequence[Engine]) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the native engine's for that engine; for the pure one uvloop's where it is installed: it is faster."""
    names = {engine.name for engine in engines}
    if "native" in names:
        from ..engines.native.engine import new_event_loop  # noqa: PLC0415 - an engine is imported when it is chosen

        return new_event_loop
    if names != {"blocking"}:
        try:
            import uvloop  # noqa: PLC0415 - an extra
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop
    # Not the platform's default: Windows' proactor loop has no add_reader.
    return asyncio.SelectorEventLoop
