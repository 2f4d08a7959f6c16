"""The other end: the same codecs, connecting instead of accepting."""

from typing import TYPE_CHECKING

from ..lazy import import_on_first_use
from .connect import ConnectResult, connect, try_connect
from .options import ClientTimeouts, SocketOptions
from .tls import ClientTls

if TYPE_CHECKING:
    from .backoff import Backoff
    from .delivery import ClientStats
    from .endpoint import Datagrams, open_datagrams
    from .persistent import Client
    from .pool import Pool, PoolStats
    from .proxy import SendProxy
    from .state import ClientState, StateChange

__all__ = [
    "Backoff",
    "Client",
    "ClientState",
    "ClientStats",
    "ClientTimeouts",
    "ClientTls",
    "ConnectResult",
    "Datagrams",
    "Pool",
    "PoolStats",
    "SendProxy",
    "SocketOptions",
    "StateChange",
    "connect",
    "open_datagrams",
    "try_connect",
]

# `connect` needs neither a pool nor what keeps a connection alive.
__getattr__ = import_on_first_use(
    globals(),
    {
        "Backoff": "backoff",
        "Client": "persistent",
        "ClientState": "state",
        "ClientStats": "delivery",
        "Datagrams": "endpoint",
        "Pool": "pool",
        "PoolStats": "pool",
        "SendProxy": "proxy",
        "StateChange": "state",
        "open_datagrams": "endpoint",
    },
)
