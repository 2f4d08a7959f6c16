"""Connections that are lent, one user at a time, and kept for the next."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload

from ..address import Address, Kind
from ..codecs.base import Codec
from ..codecs.names import BytesCodecName, TextCodecName
from ..config import Duration, Limits
from ..core.contract import Clock, Connection, TimerHandle
from ..core.turns import Turn, turn_of
from ..engines.client import ClientConnection
from ..errors import (
    BrokenError,
    ClosedError,
    ConfigurationError,
    EndOfStreamError,
    Phase,
    RequestLostError,
    TimedOutError,
)
from ..reasons import CloseReason
from .clocks import TimeoutAt
from .connect import DEFAULT_OPTIONS, DEFAULT_TIMEOUTS, DEFAULT_TLS, connect, read_target
from .network import SYSTEM, Network
from .options import ClientTimeouts, SocketOptions
from .tls import ClientTls
from .typed import PoolOptions
from .waiting import take_turn

M = TypeVar("M")


@dataclass(slots=True)
class PoolStats:
    """Counted since the pool was made.

    Attributes:
        connects: Connections made.
        reused: Loans of a connection that had been lent before.
        stale: Idle connections found ended, or with bytes on them that nobody had asked for. None of them was lent.
        retried: Requests done on another connection after the first had ended.
    """

    connects: int = 0
    reused: int = 0
    stale: int = 0
    retried: int = 0


class Pool(Generic[M]):
    """Up to ``size`` connections to one address, each lent to one user at a time; the one used last is lent first.

    A connection comes back to be lent again only if its user's block ended without an exception and nothing is left on
    it: one that broke, or whose user was cancelled in the middle, is closed and never lent again.

    Args:
        address: ``tcp://``, ``unix:`` or ``unix+seqpacket:``.
        codec: A codec, or its name and options.
        size: The most connections, lent and idle together.
        idle_s: How long an idle connection is kept, in seconds; None for ever.
        attempts_max: How often an idempotent `request` is sent at most.
        timeouts: Of each connection; ``total_s`` has no meaning here.
        options: Of each socket.
        tls: What to trust, where TLS is spoken.
        limits: Of each connection's buffers.
        clock: Where time comes from; None for the loop's own.
        network: Resolves and connects.

    Attributes:
        stats: What it has done.
    """

    @overload
    def __init__(self, address: str | Address, *, codec: Codec[M], **options: Unpack[PoolOptions]) -> None: ...
    @overload
    def __init__(
        self: Pool[bytes], address: str | Address, *, codec: BytesCodecName = ..., **options: Unpack[PoolOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Pool[str], address: str | Address, *, codec: TextCodecName, **options: Unpack[PoolOptions]
    ) -> None: ...
    @overload
    def __init__(self: Pool[Any], address: str | Address, *, codec: str, **options: Unpack[PoolOptions]) -> None: ...
    def __init__(
        self,
        address: str | Address,
        *,
        codec: Codec[Any] | str = "lines",
        size: int = 10,
        idle_s: float | None = 60.0,
        attempts_max: int = 3,
        timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
        options: SocketOptions = DEFAULT_OPTIONS,
        tls: ClientTls = DEFAULT_TLS,
        limits: Limits | None = None,
        clock: Clock | None = None,
        network: Network = SYSTEM,
    ) -> None:
        self._address, self._codec = read_target(address, codec)
        if self._address.kind not in (Kind.STREAM, Kind.SEQPACKET):
            raise ConfigurationError(f"{self._address}: a pool is of connections")
        if min(size, attempts_max) < 1:
            raise ConfigurationError("size and attempts_max are 1 or more")
        Duration().check_at("idle_s", idle_s)
        self._size = size
        self._idle_s = idle_s
        self._attempts_max = attempts_max
        self._timeouts = timeouts
        self._options = options
        self._tls = tls
        self._limits = limits
        self._clock = clock
        self._network = network
        self._idle: dict[ClientConnection[M], TimerHandle | None] = {}  # the one used last is the last
        self._open = 0  # lent, idle, and being made
        self._ending: set[ClientConnection[M]] = set()  # closed by us, not gone yet
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._turn: Turn | None = None  # of the loop that the first loan is made in
        self._closed = False
        self.stats = PoolStats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def idle(self) -> int:
        """How many connections wait to be lent."""
        return len(self._idle)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection[M]]:
        """Lend a connection for a block, once there is one.

        Raises:
            ConnectError, ConnectTimeoutError: None is idle and none could be made.
            ClosedError: The pool was closed.
        """
        conn = await self._take()
        try:
            yield conn
        except BaseException:
            self._discard(conn)
            raise
        self._give_back(conn)

    async def request(self, message: M, timeout_s: float | None = None, *, idempotent: bool = False) -> M:
        """Send one message on a connection of the pool; return the next one that comes on it.

        When the connection turns out to have ended before anything of the message was handed to it, another one is
        tried. When it ends after that, another one is tried only for an idempotent request.

        Args:
            message: The request.
            timeout_s: For a connection and for the reply together, in seconds; None for ``timeouts.read_s``, which is
                for the reply alone.
            idempotent: Doing it twice is as good as once.

        Raises:
            RequestLostError: The connection ended after the request was sent and before its reply came.
            TimedOutError: Time ran out. The connection is closed: the reply may still come on it.
            ConnectError, ConnectTimeoutError, ClosedError: As `connection`.
            LocalProtocolError, RemoteProtocolError: The codec refuses what was to be sent, or what came.
        """
        clock = self._clock or asyncio.get_running_loop()
        try:
            with TimeoutAt(clock, None if timeout_s is None else clock.time() + timeout_s):
                return await self._request(message, idempotent)
        except TimeoutError as error:
            if isinstance(error, TimedOutError) or timeout_s is None or error.__class__ is not TimeoutError:
                raise
            raise TimedOutError(Phase.READ, timeout_s) from None

    async def _request(self, message: M, idempotent: bool) -> M:
        sent = 0
        while True:
            async with self.connection() as conn:
                before = conn.bytes_out
                was_sent = False
                try:
                    await conn.send(message)
                    was_sent = True
                    return await conn.receive()
                except (ClosedError, BrokenError, EndOfStreamError) as error:
                    conn.abort()
                    sent += was_sent or conn.bytes_out != before
                    if sent and not (idempotent and sent < self._attempts_max):
                        raise RequestLostError(conn.close_reason or CloseReason.RESET) from error
            self.stats.retried += 1

    async def close(self) -> None:
        """Close the idle connections, lend no more, wait until those are gone that are not lent."""
        self._closed = True
        for conn in list(self._idle):
            self._forget(conn)
            self._let_end(conn, conn.close_unused)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        await take_turn()
        for conn in list(self._ending):
            await conn.wait_closed()

    # -- lending -------------------------------------------------------------------------------------------------------

    async def _take(self) -> ClientConnection[M]:
        if self._turn is None:
            self._turn = turn_of(asyncio.get_running_loop())
        await self._turn.take()
        while True:
            if self._closed:
                raise ClosedError("the pool is closed")
            while self._idle:
                conn = next(reversed(self._idle))
                self._forget(conn)
                if conn.is_unused:
                    self.stats.reused += 1
                    self._open += 1
                    return conn
                self.stats.stale += 1
                self._let_end(conn, conn.abort)
            if self._open < self._size:
                return await self._make()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                else:
                    self._wake_one()  # it was our turn: the next one's then
                raise

    async def _make(self) -> ClientConnection[M]:
        self._open += 1
        try:
            conn: Connection[M] = await connect(
                self._address,
                codec=self._codec,
                timeouts=self._timeouts,
                options=self._options,
                tls=self._tls,
                limits=self._limits,
                clock=self._clock,
                network=self._network,
            )
        except BaseException:
            self._open -= 1
            self._wake_one()
            raise
        assert isinstance(conn, ClientConnection)
        self.stats.connects += 1
        return conn

    def _give_back(self, conn: ClientConnection[M]) -> None:
        if self._closed or not conn.is_unused:
            self._discard(conn)
            return
        clock = self._clock or asyncio.get_running_loop()
        timer = None
        if self._idle_s is not None:
            timer = clock.call_at(clock.time() + self._idle_s, lambda: self._too_old(conn))
        self._idle[conn] = timer
        conn.on_change = lambda: self._changed(conn)
        self._wake_one()

    def _discard(self, conn: ClientConnection[M]) -> None:
        self._open -= 1
        self._let_end(conn, conn.abort)
        self._wake_one()

    def _forget(self, conn: ClientConnection[M]) -> None:
        """It is not idle any more."""
        timer = self._idle.pop(conn)
        if timer is not None:
            timer.cancel()
        conn.on_change = None
        self._open -= 1

    def _let_end(self, conn: ClientConnection[M], end: Callable[[], None]) -> None:
        """Close or abort a connection that will not be lent again, and remember it until it is gone."""
        if not conn.is_gone:
            self._ending.add(conn)
            conn.on_change = lambda: self._ending.discard(conn) if conn.is_gone else None
            end()

    def _too_old(self, conn: ClientConnection[M]) -> None:
        self._forget(conn)
        self._let_end(conn, conn.close_unused)
        self._wake_one()

    def _changed(self, conn: ClientConnection[M]) -> None:
        """The peer ended an idle connection."""
        if not conn.is_open:
            self._forget(conn)
            self.stats.stale += 1
            self._let_end(conn, conn.close_unused)
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
