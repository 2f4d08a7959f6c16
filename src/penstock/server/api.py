"""`run` and `serve`: a server from a handler and keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack

from ..adapters import service_of
from ..codecs.base import Codec
from ..config import ProcessConfig
from ..config.keywords import from_keywords
from ..core.contract import Clock
from ..core.events import Observer
from ..core.handlers import Handler
from ..core.service import Service
from ..errors import ExitStatus
from .beside import Beside
from .process import run as _run
from .server import Server
from .surroundings import enter_directory, refuse_process_options

if TYPE_CHECKING:
    from ..config.typed import ServerOptions

Target = Service[Any] | type[Handler[Any]] | Callable[..., Any]


def nothing(_process: ProcessConfig) -> None:
    """Have nothing live beside the server."""


def serve(
    target: Target,
    *,
    codec: Codec[Any] | str | None = None,
    clock: Clock | None = None,
    observers: Iterable[Observer] = (),
    **options: Unpack[ServerOptions],
) -> Server:
    """Make a server for the running loop, to be used as ``async with serve(handler, bind=…) as server``.

    Args:
        target: A `Service`, a `Handler` class, a function, or a handler that was written for something else.
        codec: In place of the service's own.
        clock: Where time comes from; None for the loop's own.
        observers: Told of every event.
        options: What the command line and ``penstock.toml`` take, under the same names: ``bind``, ``model``,
            ``timeout_idle="5m"``, ``max_connections=5``, …; besides, ``host`` and ``port`` for a ``bind`` on TCP, and
            the groups of `ServerConfig` whole. Without ``bind`` it listens on the sockets that a service manager
            opened, and where there are none, on ``tcp://127.0.0.1:9000``.

    Raises:
        ApplicationError: The target is no handler.
        ConfigurationError: An option is wrong, or is the whole process's, or there is none of that name.
    """
    config = from_keywords(options)
    refuse_process_options(config)
    return Server(service_of(target, codec=codec), config, clock=clock, observers=observers)


def run(
    target: Target,
    *,
    codec: Codec[Any] | str | None = None,
    on_ready: Callable[[Server], None] | None = None,
    observers: Iterable[Observer] = (),
    beside: Callable[[ProcessConfig], Beside | None] = nothing,
    **options: Unpack[ServerOptions],
) -> ExitStatus:
    """Serve in a loop of its own until SIGTERM or Ctrl-C. Blocks.

    In another thread than the main one there are no signals, and a warning says so. What stops the server there is
    ``loop.call_soon_threadsafe(server.begin_drain)``, with the server that ``on_ready`` is given and the loop that
    ``asyncio.get_running_loop()`` returns in it.

    Args:
        target: A `Service`, a `Handler` class, a function, or a handler that was written for something else.
        codec: In place of the service's own.
        on_ready: Called once it serves, in the thread that serves.
        observers: Told of every event.
        beside: Says what lives beside the server.
        options: As of `serve`.

    Returns:
        ``OK``, or ``DRAIN_TIMEOUT`` when connections were cut, at the drain deadline or by a second signal.

    Raises:
        ApplicationError: The target is no handler.
        ConfigurationError: An option is wrong, there is none of that name, or a loop runs in this thread already.
        BindError: An address cannot be listened on.
    """
    service, config = service_of(target, codec=codec), from_keywords(options)
    enter_directory(config.process)
    return _run(service, config, on_ready=on_ready, observers=observers, beside=beside(config.process))
