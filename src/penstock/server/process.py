"""Serving as the whole purpose of a process: a loop of our own, signals, an exit status."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..config import ServerConfig
from ..core.events import Observer
from ..core.service import Service
from ..errors import ConfigurationError, ExitStatus
from .admission import raise_descriptor_limit
from .choice import choose
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
    raise_descriptor_limit(config.gate, choose(service, config)[0].descriptors_per_connection)
    with asyncio.Runner(loop_factory=_loop_factory(service, config)) as runner:
        server = Server(service, config, observers=observers, warn=warn)
        return runner.run(_serve(server, on_ready, is_all, warn or _logger.warning))


async def _serve(
    server: Server, on_ready: Callable[[Server], None] | None, is_all: bool, warn: Callable[[str], object]
) -> ExitStatus:
    loop = asyncio.get_running_loop()
    signalled = 0

    def on_signal() -> None:
        nonlocal signalled
        signalled += 1
        if signalled == 1:
            server.begin_drain()
        else:
            server.begin_stop()

    await server.start()
    restore = _handle_signals(loop, on_signal)
    if restore is None:
        warn(
            "signals do not stop this server, for it does not run in the main thread: "
            "loop.call_soon_threadsafe(server.begin_drain) does"
        )
    try:
        if on_ready is not None:
            on_ready(server)
        await server.wait_stopped()
    finally:
        if restore is not None:
            restore()
        if is_all:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    return ExitStatus.DRAIN_TIMEOUT if server.cut_off else ExitStatus.OK


def _handle_signals(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Callable[[], None] | None:
    """Have the loop call back on SIGINT and SIGTERM; return what undoes it.

    Returns:
        None outside the main thread, where Python handles no signal (signal.signal and signal.set_wakeup_fd refuse).
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, callback)
    except NotImplementedError:  # Windows: signal handlers run on the main thread between two byte codes
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    def remove() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    return remove


def _loop_factory(service: Service[Any], config: ServerConfig) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the native engine's for that engine; for the pure one uvloop's where it is installed: it is faster."""
    engine = choose(service, config)[0].name
    if engine == "native":
        from ..engines.native.engine import new_event_loop  # noqa: PLC0415 - an engine is imported when it is chosen

        return new_event_loop
    if engine != "blocking":
        try:
            import uvloop  # noqa: PLC0415 - an extra
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop
    # Not the platform's default: Windows' proactor loop has no add_reader.
    return asyncio.SelectorEventLoop
