"""The other end: the same codecs, connecting instead of accepting."""

from .backoff import Backoff
from .connect import ConnectResult, connect, try_connect
from .delivery import ClientStats
from .endpoint import Datagrams, open_datagrams
from .options import ClientTimeouts, SocketOptions
from .persistent import Client
from .pool import Pool, PoolStats
from .state import ClientState, StateChange
from .tls import ClientTls

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
    "SocketOptions",
    "StateChange",
    "connect",
    "open_datagrams",
    "try_connect",
]
