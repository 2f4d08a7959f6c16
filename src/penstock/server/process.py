"""Serving as the whole purpose of a process: a loop of our own, signals, an exit status."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ..config import ServerConfig
from ..core.events import Observer
from ..core.service import Service
from ..engines.base import Engine
from ..errors import ConfigurationError, ExitStatus
from .admission import raise_descriptor_limit
from .last_resort import LastResort
from .server import Server

_logger: Final = logging.getLogger("penstock")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(
    service: Service[Any],
    config: ServerConfig,
    *,
    on_ready: Callable[[Server], None] | None = None,
    observers: Iterable[Observer] = (),
    is_all: bool = False,
    warn: Callable[[str], object] | None = None,
) -> ExitStatus:
    """Serve until SIGTERM or SIGINT (Ctrl-C), which drain; a second one stops at once.

    Args:
        service: What to serve.
        config: How.
        on_ready: Called once it serves.
        observers: Told of every event.
        is_all: Whether the process ends with it: a signal that comes after that does not change its exit status.
        warn: As of `Server`.

    Returns:
        ``OK``, or ``DRAIN_TIMEOUT`` when connections were cut, at the drain deadline or by a second signal.

    Raises:
        ConfigurationError, BindError: As `Server.start`, or a loop runs in this thread already. Nothing was served.

    In a thread that is not the main one there are no signals: the server is told to stop by ``begin_drain``, called in
    its loop, and a warning says so.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001  # the public one raises where there is none
        raise ConfigurationError(
            "run has a loop of its own, and one runs in this thread already: write `async with penstock.serve(…) as "
            "server: await server.wait_stopped()`"
        )
    server = Server(service, config, observers=observers, warn=warn)
    engine = server.choice.engine
    raise_descriptor_limit(config.gate, engine.descriptors_per_connection)
    with asyncio.Runner(loop_factory=_loop_factory(engine)) as runner:
        return runner.run(_serve(server, on_ready, is_all, warn or _logger.warning))


async def _serve(
    server: Server, on_ready: Callable[[Server], None] | None, is_all: bool, warn: Callable[[str], object]
) -> ExitStatus:
    signals = None
    if threading.current_thread() is threading.main_thread():
        signals = _Signals(server, asyncio.get_running_loop(), json_line=server.config.log_format == "json")
    else:  # where Python handles no signal: signal.signal and signal.set_wakeup_fd refuse
        warn(
            "signals cannot stop this server: it does not run in the main thread; call "
            "loop.call_soon_threadsafe(server.begin_drain)"
        )
    try:
        await server.start()
        if signals is not None:
            signals.started()
        if on_ready is not None:
            on_ready(server)
        await server.wait_stopped()
    except BaseException:
        if signals is not None:
            signals.end(for_good=False)
        raise
    if signals is not None:
        signals.end(for_good=is_all)
    return ExitStatus.DRAIN_TIMEOUT if server.cut_off else ExitStatus.OK


class _Signals:
    """What SIGINT and SIGTERM do to a server, from before it opens an address.

    The first drains, the second stops. Both go through the loop; when that has no turn, a handler that Python calls
    between two byte codes has the `LastResort` end the process: for the second signal, and for the first one as long
    as the server is not ready, for then there is nothing to drain.

    Args:
        server: Not started yet.
        loop: The running loop, of the main thread.
        json_line: As of `LastResort`.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop, *, json_line: bool) -> None:
        self._server = server
        self._loop = loop
        self._heard = self._told = 0
        self._is_ready = False
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._last_resort = LastResort(self._forced_status, json_line=json_line)
        with _blocked():
            for number in _SIGNALS:
                # The loop's way first: it wakes the loop, and it puts a handler in place that does nothing.
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, self._tell)
                signal.signal(number, self._hear)

    def started(self) -> None:
        """The server serves. What was heard before this is done by the loop's next turn."""
        self._is_ready = True

    def _hear(self, _number: int, _frame: object) -> None:
        self._heard += 1
        if self._heard > 1 or not self._is_ready:
            self._last_resort.arm()
        if os.name == "nt":
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._told += 1
        if self._told == 1:
            self._server.begin_drain()
        else:
            self._last_resort.arm()
            self._server.begin_stop()

    def _forced_status(self) -> ExitStatus | None:
        if max(self._heard, self._told) > 1:
            return ExitStatus.DRAIN_TIMEOUT
        return None if self._is_ready else ExitStatus.INTERRUPTED

    def end(self, *, for_good: bool) -> None:
        """The server has stopped.

        Args:
            for_good: The process ends as well. Signals do not change its exit status any more, unless they are needed
                for it to end at all: what it still waits for is ended by the second one.
        """
        with _blocked():
            for number in _SIGNALS:
                with contextlib.suppress(NotImplementedError):
                    self._loop.remove_signal_handler(number)
                signal.signal(number, self._hear if for_good else self._before[number])
        if for_good:
            # The interpreter's end takes the handlers away, and lets be what is ignored.
            atexit.register(_ignore)
        else:
            self._last_resort.disarm()


def _ignore() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Have no signal between two handlers: it comes after this."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _loop_factory(engine: Engine) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the native engine's for that engine; for the pure one uvloop's where it is installed: it is faster."""
    if engine.name == "native":
        from ..engines.native.engine import new_event_loop  # noqa: PLC0415 - an engine is imported when it is chosen

        return new_event_loop
    if engine.name != "blocking":
        try:
            import uvloop  # noqa: PLC0415 - an extra
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop
    # Not the platform's default: Windows' proactor loop has no add_reader.
    return asyncio.SelectorEventLoop
