"""The options of `Client` and `Pool`, as a type checker sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypedDict, TypeVar

from ..config import Limits
from ..core.contract import Clock, Connection
from .backoff import Backoff
from .network import Network
from .options import ClientTimeouts, SocketOptions
from .state import StateChange
from .tls import ClientTls

M = TypeVar("M")

Hello = Callable[[Connection[M]], Awaitable[object]]


class ConnectionOptions(TypedDict, total=False):
    """What every connection of a client or a pool is made with."""

    timeouts: ClientTimeouts
    options: SocketOptions
    tls: ClientTls
    limits: Limits | None
    clock: Clock | None
    network: Network


class ClientOptions(ConnectionOptions, Generic[M], total=False):
    """What `Client` takes beside its address and its codec."""

    hello: Hello[M] | None
    request_id: Callable[[M], Hashable] | None
    reply_id: Callable[[M], Hashable] | None
    on_message: Callable[[M], object] | None
    on_state: Callable[[StateChange], object] | None
    backoff: Backoff
    queue_max: int
    when_full: str
    in_flight_max: int
    attempts_max: int
    random: Callable[[], float]


class PoolOptions(ConnectionOptions, total=False):
    """What `Pool` takes beside its address and its codec."""

    size: int
    idle_s: float | None
    attempts_max: int
