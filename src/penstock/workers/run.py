"""Supervising as the whole purpose of a process: a loop, signals, an exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Final

from ..config import LogFormat, ProcessConfig
from ..errors import BindError, ConfigurationError, ExitStatus, StoppedError
from ..server.inherited import inherited_listeners
from ..server.last_resort import LAST_RESORT_S
from ..server.life import Life
from ..server.notify import Notifier
from ..server.pid_file import PidFile
from ..server.signals import EndSignals, has_terminal
from ..server.surroundings import settle_in
from .plan import WorkersPlan
from .succession import Inheritance
from .supervisor import Supervisor

_logger: Final = logging.getLogger("penstock")

# How often a supervisor that has taken over looks whether the path of the control socket is free: the one before it
# closes that once its workers have drained.
_TRY_AGAIN_S: Final = 0.2
_TRIES: Final = 600


def supervise(
    command: Sequence[str],
    plan: WorkersPlan,
    *,
    process: ProcessConfig,
    reread: Callable[[], WorkersPlan],
    cwd: str | None = None,
    log_format: LogFormat = "console",
    on_ready: Callable[[Supervisor], object] = lambda _: None,
    beside: Callable[[Supervisor], Life] | None = None,
) -> ExitStatus:
    """Serve with workers until SIGTERM or SIGINT, which drain; a second one stops at once.

    Args:
        command: The command line of a worker.
        plan: What workers begin with.
        process: What is the whole server's: this process keeps its user, which may bind and read keys, and its workers
            become the one that is asked for.
        reread: Reads the configuration again, for SIGHUP.
        cwd: Where workers begin; None for where this process is.
        log_format: How the last line is written when the process is ended by force.
        on_ready: Called once all workers serve.
        beside: Makes what lives beside the supervisor in its loop: the control socket.

    Returns:
        ``OK``; ``DRAIN_TIMEOUT`` when connections were cut, or a worker that did not end was killed; ``FAILED`` when
        workers ended again and again, or a lifespan failed at its end.

    Raises:
        StartError: A worker could not start, and has said why.
        ConfigurationError: Workers cannot be had here.
    """
    if os.name != "posix":
        raise ConfigurationError("workers need a Unix system: leave --workers out", "--workers")
    settle_in(process)
    before = Inheritance.from_environment(os.environ)
    pid_file = None if process.pid_file is None else PidFile(process.pid_file)

    def take() -> None:
        if pid_file is not None and before is None:
            pid_file.take()

    def ready(supervisor: Supervisor) -> None:
        if pid_file is not None:
            pid_file.take()  # now, where there was a supervisor before this one
            pid_file.write()
        on_ready(supervisor)
        if notifier is not None:
            notifier.ready(supervisor.ready.name, supervisor.addresses)

    def succeeded(pid: int) -> None:
        if pid_file is not None:
            pid_file.remove()
        if notifier is not None:
            notifier.succeeded(pid)

    inherited = inherited_listeners(os.environ, os.getpid())
    notifier = Notifier.from_environment(os.environ, os.getpid())

    def reloads(begins: bool) -> None:
        if notifier is not None:
            notifier.reloading() if begins else notifier.reloaded()

    def ends(connections: int) -> None:
        if notifier is not None:
            notifier.stopping(connections)

    async def run() -> ExitStatus:
        supervisor = Supervisor(
            command,
            plan,
            reread=reread,
            cwd=cwd,
            inherited=inherited,
            before=before,
            on_reload=reloads,
            on_succeeded=succeeded,
            on_end=ends,
        )
        steers = None if beside is None else beside(supervisor)
        return await _supervise(supervisor, before, log_format=log_format, take=take, on_ready=ready, steers=steers)

    try:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            return runner.run(run())
    finally:
        if notifier is not None:
            notifier.close()
        if pid_file is not None:
            pid_file.remove()


async def _supervise(
    supervisor: Supervisor,
    before: Inheritance | None,
    *,
    log_format: LogFormat,
    take: Callable[[], object],
    on_ready: Callable[[Supervisor], object],
    steers: Life | None,
) -> ExitStatus:
    loop = asyncio.get_running_loop()
    # Its workers have a last resort of their own, which says what holds them: it comes first.
    ends = EndSignals(supervisor, loop, log_format=log_format, after_s=2 * LAST_RESORT_S)
    supervisor.on_first = ends.started
    signals = SupervisorSignals(supervisor, loop)
    late: list[asyncio.Task[None]] = []
    try:
        take()  # with the signals' handlers in place: their default action would leave what it makes
        if before is not None:

            def taken() -> None:
                on_ready(supervisor)
                supervisor.taken()
                if steers is not None:
                    late.append(loop.create_task(_start_late(steers), name="penstock-control"))

            before.attach(taken, supervisor.take_over, supervisor.begin_stop)
        elif steers is not None:
            await steers.start()
        await supervisor.start()
        if before is None:
            on_ready(supervisor)
        else:
            before.serves(supervisor.handover, supervisor.left)
        await supervisor.wait_stopped()
        status = supervisor.exit_status
    except StoppedError as error:
        status = supervisor.exit_status if supervisor.has_served else error.exit_status
    except BaseException:
        ends.end(for_good=False)
        supervisor.begin_stop()
        await supervisor.wait_stopped()
        raise
    finally:
        for task in late:
            task.cancel()
        if steers is not None:
            steers.begin_drain()
            await steers.wait_stopped()
        signals.end()
    ends.end(for_good=True)
    return status


async def _start_late(steers: Life) -> None:
    """Begin once the supervisor before has given the path up."""
    for _ in range(_TRIES):
        try:
            steers.open()
        except BindError:
            await asyncio.sleep(_TRY_AGAIN_S)
        else:
            await steers.start()
            return
    _logger.error("there is no control socket: the supervisor before still has it")


class SupervisorSignals:
    """What signals beside those that end it do to a supervisor.

    Args:
        supervisor: Not started yet.
        loop: The running loop, of the main thread.
    """

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop) -> None:
        self._supervisor = supervisor
        self._loop = loop
        self._drains = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()
        self._handlers = {
            signal.SIGHUP: self._hang_up,
            signal.SIGQUIT: self._print_work,
            signal.SIGUSR1: supervisor.reopen_log_files,
            signal.SIGUSR2: supervisor.succeed,
            signal.SIGTTIN: lambda: self._scale(1),
            signal.SIGTTOU: lambda: self._scale(-1),
        }
        for number, handle in self._handlers.items():
            loop.add_signal_handler(number, handle)

    def _hang_up(self) -> None:
        if self._drains and not has_terminal():
            self._supervisor.begin_drain()
        else:
            self._supervisor.reload()

    def _scale(self, by: int) -> None:
        wanted = self._supervisor.wanted + by
        try:
            self._supervisor.scale(wanted)
        except ConfigurationError:
            _logger.warning("the number of workers stays %d", self._supervisor.wanted)
        else:
            _logger.info("the number of workers is %d from now on", wanted)

    def _print_work(self) -> None:
        for worker in self._supervisor.workers:
            _logger.warning(
                "worker %d: process %d, %s, generation %d, %d connections, heard %.1f s ago",
                worker.slot,
                worker.pid,
                worker.state,
                worker.generation,
                worker.connections,
                worker.silent_s,
            )
        self._supervisor.stacks()

    def end(self) -> None:
        """Leave them to the system again."""
        for number in self._handlers:
            self._loop.remove_signal_handler(number)
