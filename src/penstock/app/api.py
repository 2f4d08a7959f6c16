"""`run` and `serve`: a server from an application, or from a handler and keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack, overload

from ..codecs.base import Codec
from ..control.beside import controlled_by
from ..core.contract import Clock
from ..core.events import Observer
from ..errors import ConfigurationError, ExitStatus
from ..server import api
from ..server.api import Target
from ..server.beside import Beside
from ..server.notify import Notifier
from ..server.process import End, live, refuse_running_loop
from ..server.server import Server
from ..server.surroundings import enter_directory
from .app import App
from .server import AppServer

if TYPE_CHECKING:
    from ..config.typed import ServerOptions


@overload
def serve(
    target: App[Any],
    *,
    services: Mapping[str, ServerOptions] | None = ...,
    clock: Clock | None = ...,
    observers: Iterable[Observer] = ...,
    **options: Unpack[ServerOptions],
) -> AppServer: ...
@overload
def serve(
    target: Target,
    *,
    codec: Codec[Any] | str | None = ...,
    clock: Clock | None = ...,
    observers: Iterable[Observer] = ...,
    **options: Unpack[ServerOptions],
) -> Server: ...


def serve(
    target: App[Any] | Target,
    *,
    codec: Codec[Any] | str | None = None,
    services: Mapping[str, ServerOptions] | None = None,
    clock: Clock | None = None,
    observers: Iterable[Observer] = (),
    **options: Unpack[ServerOptions],
) -> AppServer | Server:
    """Make a server for the running loop, to be used as ``async with serve(handler, bind=…) as server``.

    Args:
        target: An `App`, a `Service`, a `Handler` class, or a function.
        codec: In place of the service's own.
        services: Of an application, options for single services, by name.
        clock: Where time comes from; None for the loop's own.
        observers: Told of every event.
        options: What the command line and ``penstock.toml`` take, under the same names: ``bind``, ``model``,
            ``timeout_idle="5m"``, ``max_connections=5``, …; besides, ``host`` and ``port`` for a ``bind`` on TCP, and
            the groups of `ServerConfig`. Without ``bind`` it listens on the sockets that a service manager
            opened, and where there are none, on ``tcp://127.0.0.1:9000``. Of an application they are for all services.

    Raises:
        ApplicationError: The target is no handler.
        ConfigurationError: An option is wrong, or there is none of that name.
    """
    if not isinstance(target, App):
        _refuse_services(services)
        return api.serve(target, codec=codec, clock=clock, observers=observers, **options)
    _refuse_codec(codec)
    return target.serve(services=services, clock=clock, observers=observers, **options)


@overload
def run(
    target: App[Any],
    *,
    services: Mapping[str, ServerOptions] | None = ...,
    on_ready: Callable[[AppServer], None] | None = ...,
    observers: Iterable[Observer] = ...,
    **options: Unpack[ServerOptions],
) -> ExitStatus: ...
@overload
def run(
    target: Target,
    *,
    codec: Codec[Any] | str | None = ...,
    on_ready: Callable[[Server], None] | None = ...,
    observers: Iterable[Observer] = ...,
    **options: Unpack[ServerOptions],
) -> ExitStatus: ...


def run(
    target: App[Any] | Target,
    *,
    codec: Codec[Any] | str | None = None,
    services: Mapping[str, ServerOptions] | None = None,
    on_ready: Callable[[Any], None] | None = None,  # Any: the overloads say which
    observers: Iterable[Observer] = (),
    **options: Unpack[ServerOptions],
) -> ExitStatus:
    """Serve in a loop of its own until SIGTERM or Ctrl-C. Blocks.

    In another thread than the main one there are no signals, and a warning says so. What stops the server there is
    ``loop.call_soon_threadsafe(server.begin_drain)``, with the server that ``on_ready`` is given and the loop that
    ``asyncio.get_running_loop()`` returns in it.

    Args:
        target: An `App`, a `Service`, a `Handler` class, or a function.
        codec: In place of the service's own.
        services: As of `serve`.
        on_ready: Called once it serves, in the thread that serves.
        observers: Told of every event.
        options: As of `serve`.

    Returns:
        ``OK``; ``DRAIN_TIMEOUT`` when connections were cut, at the drain deadline or by a second signal; of an
        application ``FAILED`` when a lifespan failed at its end, and ``INTERRUPTED`` when it was told to end before it
        served.

    Raises:
        ApplicationError: The target is no handler, or a lifespan failed at the start.
        ConfigurationError: An option is wrong, there is none of that name, or a loop runs in this thread already.
        BindError: An address cannot be listened on.
    """
    if not isinstance(target, App):
        _refuse_services(services)
        return api.run(target, codec=codec, on_ready=on_ready, observers=observers, beside=controlled_by, **options)
    _refuse_codec(codec)
    configs = target.configs(options, services or {})
    process = next(iter(configs.values())).process
    enter_directory(process)
    return run_app(AppServer(target, configs, observers=observers), on_ready=on_ready, beside=controlled_by(process))


def run_app(
    server: AppServer,
    *,
    on_ready: Callable[[AppServer], None] | None = None,
    is_all: bool = False,
    warn: Callable[[str], object] | None = None,
    reload: Callable[[AppServer], Awaitable[str | None]] | None = None,
    beside: Beside | None = None,
) -> ExitStatus:
    """Live for an application, in a loop of its own. The arguments are those of `penstock.server.process.run`."""
    refuse_running_loop()
    notifier = Notifier.from_environment(os.environ, os.getpid())
    if notifier is not None:
        server.tell(notifier)
    end = End(server.app.name, lambda: server.status)
    servers = list(server.servers.values())
    return live(
        server,
        servers,
        end,
        on_ready=on_ready,
        is_all=is_all,
        warn=warn,
        reload=reload,
        notifier=notifier,
        beside=beside,
        supervision=server.supervision,
    )


def _refuse_services(services: object) -> None:
    if services is not None:
        raise ConfigurationError("this is one service: give its options without services=", "services")


def _refuse_codec(codec: object) -> None:
    if codec is not None:
        raise ConfigurationError(
            "each service of an application has a codec of its own: say it where it is declared", "codec"
        )
