"""Penstock: the application server for raw sockets.

Write a handler; serve any protocol on TCP, UDP and Unix sockets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import connect
    from .codecs.base import NEED_DATA, Buffer, Codec, NeedData
    from .config import Limits, ServerConfig, Timeouts
    from .core.events import Event, EventName, Observer, Stats
    from .core.service import Handler, Service, as_service, on_connection, on_message
    from .engines.base import Connection, ConnectionBase
    from .engines.blocking.connection import BlockingConnection
    from .errors import (
        ApplicationError,
        BindError,
        BrokenError,
        ClosedError,
        ConfigurationError,
        ConnectError,
        ConnectionEndedError,
        EndOfStreamError,
        LocalProtocolError,
        PenstockError,
        RemoteProtocolError,
        SlowPeerError,
    )
    from .reasons import CloseReason
    from .server.api import run, serve
    from .server.server import Server

__version__ = "0.1.0"

# Where each public name lives. Imported when first used: `import penstock` costs next to nothing.
_HOMES = {
    "client": ["connect"],
    "codecs.base": ["NEED_DATA", "Buffer", "Codec", "NeedData"],
    "config": ["Limits", "ServerConfig", "Timeouts"],
    "core.events": ["Event", "EventName", "Observer", "Stats"],
    "core.service": ["Handler", "Service", "as_service", "on_connection", "on_message"],
    "engines.base": ["Connection", "ConnectionBase"],
    "engines.blocking.connection": ["BlockingConnection"],
    "errors": [
        "ApplicationError",
        "BindError",
        "BrokenError",
        "ClosedError",
        "ConfigurationError",
        "ConnectError",
        "ConnectionEndedError",
        "EndOfStreamError",
        "LocalProtocolError",
        "PenstockError",
        "RemoteProtocolError",
        "SlowPeerError",
    ],
    "reasons": ["CloseReason"],
    "server.api": ["run", "serve"],
    "server.server": ["Server"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "NEED_DATA",
    "ApplicationError",
    "BindError",
    "BlockingConnection",
    "BrokenError",
    "Buffer",
    "CloseReason",
    "ClosedError",
    "Codec",
    "ConfigurationError",
    "ConnectError",
    "Connection",
    "ConnectionBase",
    "ConnectionEndedError",
    "EndOfStreamError",
    "Event",
    "EventName",
    "Handler",
    "Limits",
    "LocalProtocolError",
    "NeedData",
    "Observer",
    "PenstockError",
    "RemoteProtocolError",
    "Server",
    "ServerConfig",
    "Service",
    "SlowPeerError",
    "Stats",
    "Timeouts",
    "__version__",
    "as_service",
    "connect",
    "on_connection",
    "on_message",
    "run",
    "serve",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
