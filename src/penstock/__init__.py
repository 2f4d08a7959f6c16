"""Penstock: the application server for raw sockets.

Write a handler; serve any protocol on TCP, UDP and Unix sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import import_on_first_use

if TYPE_CHECKING:
    from .app.api import run, serve
    from .app.app import App
    from .app.server import AppServer
    from .app.state import State
    from .app.trial import AppTest
    from .client import (
        Backoff,
        Client,
        ClientTimeouts,
        ClientTls,
        Pool,
        SendProxy,
        SocketOptions,
        connect,
        open_datagrams,
        try_connect,
    )
    from .client.sync import connect_sync
    from .codecs.base import NEED_DATA, NULL, Buffer, Codec, NeedData
    from .config import (
        GateConfig,
        Limits,
        OverloadConfig,
        ProcessConfig,
        ServerConfig,
        TcpConfig,
        Timeouts,
        TlsConfig,
    )
    from .config.typed import ServerOptions
    from .core.background import BackgroundTask
    from .core.blocking import BlockingConnection
    from .core.contract import Connection, ConnectionBase
    from .core.decorators import as_service, on_connection, on_message
    from .core.events import Event, EventName, Observer
    from .core.handlers import Handler
    from .core.proxy import ProxyInfo, ProxyTls
    from .core.service import FunctionService, Service
    from .core.tls import TlsInfo
    from .core.x509 import Certificate
    from .errors import (
        ApplicationError,
        BindError,
        BrokenError,
        ClosedError,
        ConfigurationError,
        ConnectError,
        ConnectionEndedError,
        ConnectTimeoutError,
        DatagramError,
        EndOfStreamError,
        HandshakeError,
        KeyTakenError,
        LimitError,
        LocalProtocolError,
        PenstockError,
        Phase,
        ProxyError,
        QueueFullError,
        RemoteProtocolError,
        RequestLostError,
        SlowPeerError,
        StoppedError,
        TimedOutError,
        TlsError,
        TlsMaterialError,
        WrongReplyError,
        WrongTypeError,
    )
    from .groups import DistantConnection, Group, GroupStats, Hold, Membership, Published, Registry
    from .reasons import CloseReason
    from .server.server import Server
    from .telemetry.setup import configure_logging
    from .telemetry.stats import Stats
    from .units import Rate

__version__ = "0.1.0"

# Where each public name lives. Imported when first used: `import penstock` costs next to nothing.
_HOMES = {
    "app.api": ["run", "serve"],
    "app.app": ["App"],
    "app.server": ["AppServer"],
    "app.state": ["State"],
    "app.trial": ["AppTest"],
    "client": [
        "Backoff",
        "Client",
        "ClientTimeouts",
        "ClientTls",
        "Pool",
        "SendProxy",
        "SocketOptions",
        "connect",
        "open_datagrams",
        "try_connect",
    ],
    "client.sync": ["connect_sync"],
    "codecs.base": ["NEED_DATA", "NULL", "Buffer", "Codec", "NeedData"],
    "config": [
        "GateConfig",
        "Limits",
        "OverloadConfig",
        "ProcessConfig",
        "ServerConfig",
        "TcpConfig",
        "Timeouts",
        "TlsConfig",
    ],
    "core.events": ["Event", "EventName", "Observer"],
    "config.typed": ["ServerOptions"],
    "core.background": ["BackgroundTask"],
    "core.blocking": ["BlockingConnection"],
    "core.contract": ["Connection", "ConnectionBase"],
    "core.proxy": ["ProxyInfo", "ProxyTls"],
    "core.decorators": ["as_service", "on_connection", "on_message"],
    "core.service": ["FunctionService", "Handler", "Service"],
    "core.tls": ["TlsInfo"],
    "core.x509": ["Certificate"],
    "errors": [
        "ApplicationError",
        "BindError",
        "BrokenError",
        "ClosedError",
        "ConfigurationError",
        "ConnectError",
        "ConnectTimeoutError",
        "ConnectionEndedError",
        "DatagramError",
        "EndOfStreamError",
        "HandshakeError",
        "KeyTakenError",
        "LimitError",
        "LocalProtocolError",
        "PenstockError",
        "Phase",
        "ProxyError",
        "QueueFullError",
        "RemoteProtocolError",
        "RequestLostError",
        "SlowPeerError",
        "StoppedError",
        "TimedOutError",
        "TlsError",
        "TlsMaterialError",
        "WrongReplyError",
        "WrongTypeError",
    ],
    "groups.distant": ["DistantConnection"],
    "groups.group": ["Group", "Published"],
    "groups.membership": ["Membership"],
    "groups.registry": ["Hold", "Registry"],
    "groups.stats": ["GroupStats"],
    "reasons": ["CloseReason"],
    "server.server": ["Server"],
    "telemetry.setup": ["configure_logging"],
    "telemetry.stats": ["Stats"],
    "units": ["Rate"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "NEED_DATA",
    "NULL",
    "App",
    "AppServer",
    "AppTest",
    "ApplicationError",
    "BackgroundTask",
    "Backoff",
    "BindError",
    "BlockingConnection",
    "BrokenError",
    "Buffer",
    "Certificate",
    "Client",
    "ClientTimeouts",
    "ClientTls",
    "CloseReason",
    "ClosedError",
    "Codec",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeoutError",
    "Connection",
    "ConnectionBase",
    "ConnectionEndedError",
    "DatagramError",
    "DistantConnection",
    "EndOfStreamError",
    "Event",
    "EventName",
    "FunctionService",
    "GateConfig",
    "Group",
    "GroupStats",
    "Handler",
    "HandshakeError",
    "Hold",
    "KeyTakenError",
    "LimitError",
    "Limits",
    "LocalProtocolError",
    "Membership",
    "NeedData",
    "Observer",
    "OverloadConfig",
    "PenstockError",
    "Phase",
    "Pool",
    "ProcessConfig",
    "ProxyError",
    "ProxyInfo",
    "ProxyTls",
    "Published",
    "QueueFullError",
    "Rate",
    "Registry",
    "RemoteProtocolError",
    "RequestLostError",
    "SendProxy",
    "Server",
    "ServerConfig",
    "ServerOptions",
    "Service",
    "SlowPeerError",
    "SocketOptions",
    "State",
    "Stats",
    "StoppedError",
    "TcpConfig",
    "TimedOutError",
    "Timeouts",
    "TlsConfig",
    "TlsError",
    "TlsInfo",
    "TlsMaterialError",
    "WrongReplyError",
    "WrongTypeError",
    "__version__",
    "as_service",
    "configure_logging",
    "connect",
    "connect_sync",
    "on_connection",
    "on_message",
    "open_datagrams",
    "run",
    "serve",
    "try_connect",
]

__getattr__ = import_on_first_use(globals(), _HOME_OF)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
