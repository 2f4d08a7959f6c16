"""Serving as the whole purpose of a process: a loop of our own, signals, an exit status."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..config import ServerConfig
from ..core.events import Observer
from ..core.service import Service
from ..errors import ExitStatus
from .admission import raise_descriptor_limit
from .choice import choose
from .server import Server

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
        ConfigurationError, BindError: As `Server.start`. Nothing was served.
    """
    raise_descriptor_limit(config.gate, choose(service, config)[0].descriptors_per_connection)
    with asyncio.Runner(loop_factory=_loop_factory(service, config)) as runner:
        return runner.run(_serve(Server(service, config, observers=observers, warn=warn), on_ready, is_all))


async def _serve(server: Server, on_ready: Callable[[Server], None] | None, is_all: bool) -> ExitStatus:
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
    try:
        if on_ready is not None:
            on_ready(server)
        await server.wait_stopped()
    finally:
        restore()
        if is_all:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)
    return ExitStatus.DRAIN_TIMEOUT if server.cut_off else ExitStatus.OK


def _handle_signals(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> Callable[[], None]:
    """Have the loop call back on SIGINT and SIGTERM; return what undoes it."""
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
