"""A client that stays connected: it comes back by itself, and says what became of every message."""

from __future__ import annotations

import asyncio
import contextlib
import random as randomness
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload

from ..address import Address, Kind
from ..codecs import guard
from ..codecs.base import Codec
from ..codecs.names import BytesCodecName, TextCodecName
from ..config import Limits
from ..core.contract import Clock, Connection
from ..core.deadline import Deadline
from ..core.matching import ById, InOrder, Matcher, matcher_of
from ..core.turns import turn_of
from ..engines.client import ClientConnection
from ..errors import (
    ClosedError,
    ConfigurationError,
    ConnectionEndedError,
    PenstockError,
    Phase,
)
from ..reasons import CloseReason
from .backoff import Backoff
from .connect import DEFAULT_OPTIONS, DEFAULT_TIMEOUTS, DEFAULT_TLS, connect, read_target
from .delivery import Delivery
from .network import SYSTEM, Network
from .options import ClientTimeouts, SocketOptions
from .outbox import Entry, Outbox, WhenFull
from .reconnect import Reconnector
from .state import ClientState, StateChange
from .tls import ClientTls
from .typed import ClientOptions, Hello
from .waiting import Facts, take_turn, wait

M = TypeVar("M")


class Client(Generic[M]):
    """Requests and messages to one address, over one connection after another.

    What it promises. A message that was not handed to a connection waits for the next one. One that was handed to a
    connection is never sent again, unless it is a request marked idempotent: without the mark it is done at most once,
    with it at least once. A request whose reply cannot come any more raises `RequestLostError`; a reply is given to the
    request it belongs to, or to nobody.

    Use it as ``async with Client(…) as client:``. It connects in the background, and again when the connection ends.

    Args:
        address: ``tcp://``, ``unix:`` or ``unix+seqpacket:``.
        codec: A codec, or its name and options.
        hello: Called with each new connection before anything else is sent on it: to log in, to subscribe. What it
            raises counts as a failed attempt if it is a PenstockError or an OSError; anything else, from any hook, ends
            the client.
        request_id: Returns a request's id. With ``reply_id``: replies may come in any order. Without both: as the
            codec's methods of these names say, or in the order of the requests.
        reply_id: Returns the id of the request that a message answers, or None for a message that is no reply.
        on_message: Called with each message that is no reply. Without it, such a message among replies in order ends
            the connection: it may be another's reply.
        on_state: Called with each `StateChange`.
        backoff: How long to wait between attempts.
        queue_max: The most messages that wait to be sent.
        when_full: ``wait``, ``drop_oldest`` or ``raise``.
        in_flight_max: The most requests on the connection at once; 1 sends the next after the reply.
        attempts_max: How often an idempotent request is sent at most.
        timeouts: ``connect_s`` is for each attempt, and again for its hello; ``read_s`` for each request;
            ``total_s`` has no meaning here.
        options: Of the socket.
        tls: What to trust, where TLS is spoken.
        limits: Of the connection's buffers.
        clock: Where time comes from; None for the loop's own.
        network: Resolves and connects.
        random: Returns a number from 0 to 1: the jitter.

    Attributes:
        state: What it is doing.
        stats: What it has done.
    """

    @overload
    def __init__(self, address: str | Address, *, codec: Codec[M], **options: Unpack[ClientOptions[M]]) -> None: ...
    @overload
    def __init__(
        self: Client[bytes],
        address: str | Address,
        *,
        codec: BytesCodecName = ...,
        **options: Unpack[ClientOptions[bytes]],
    ) -> None: ...
    @overload
    def __init__(
        self: Client[str], address: str | Address, *, codec: TextCodecName, **options: Unpack[ClientOptions[str]]
    ) -> None: ...
    @overload
    def __init__(
        self: Client[Any], address: str | Address, *, codec: str, **options: Unpack[ClientOptions[Any]]
    ) -> None: ...
    def __init__(
        self,
        address: str | Address,
        *,
        codec: Codec[Any] | str = "lines",
        hello: Hello[Any] | None = None,
        request_id: Callable[[Any], Hashable] | None = None,
        reply_id: Callable[[Any], Hashable] | None = None,
        on_message: Callable[[Any], object] | None = None,
        on_state: Callable[[StateChange], object] | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008  # immutable
        queue_max: int = 1024,
        when_full: str = "wait",
        in_flight_max: int = 1024,
        attempts_max: int = 3,
        timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
        options: SocketOptions = DEFAULT_OPTIONS,
        tls: ClientTls = DEFAULT_TLS,
        limits: Limits | None = None,
        clock: Clock | None = None,
        network: Network = SYSTEM,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._address, self._codec = read_target(address, codec)
        if self._address.kind not in (Kind.STREAM, Kind.SEQPACKET):
            raise ConfigurationError(f"{self._address}: a client that stays connected needs connections")
        if when_full not in set(WhenFull):
            raise ConfigurationError(f"when_full is one of {', '.join(WhenFull)}, not {when_full!r}")
        if min(queue_max, in_flight_max, attempts_max) < 1:
            raise ConfigurationError("queue_max, in_flight_max and attempts_max are 1 or more")
        matcher: Matcher[M, Entry]
        if request_id is not None and reply_id is not None:
            matcher = ById(request_id, reply_id)
        elif request_id is None and reply_id is None:
            matcher = matcher_of(self._codec)
        else:
            raise ConfigurationError("request_id and reply_id go together")
        self._in_order = isinstance(matcher, InOrder)
        self._on_message = on_message
        self._on_state = on_state
        outbox = Outbox(queue_max, WhenFull(when_full))
        self._delivery = Delivery(outbox, matcher, in_flight_max=in_flight_max, attempts_max=attempts_max)
        self.state = ClientState.CLOSED
        self.stats = self._delivery.stats
        make = partial(
            connect,
            self._address,
            codec=self._codec,
            timeouts=replace(timeouts, read_s=None, total_s=None),  # silence between replies is no fault
            options=options,
            tls=tls,
            limits=limits,
            network=network,
        )
        self._reconnector: Reconnector[M] = Reconnector(
            make, hello, hello_s=timeouts.connect_s, backoff=backoff, random=random, stats=self.stats
        )
        self._request_s = timeouts.read_s
        self._given_clock = clock
        self._ended = False
        self._pumping = False
        self._connection: ClientConnection[M] | None = None  # once hello has run
        self._runner: asyncio.Task[None] | None = None
        self._facts = Facts()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._turn = turn_of(self._loop)
        self._clock: Clock = self._given_clock or self._loop
        self._runner = self._loop.create_task(self._run())
        self._change(StateChange(ClientState.CONNECTING))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Send what can be sent now, close the connection, end. May be repeated.

        Requests that were sent and have no reply raise RequestLostError, those that were not ClosedError; other
        messages that were not sent are dropped, and counted. `drain` first to wait for all of them.

        Raises:
            Exception: What a hook raised, if that ended the client before.
        """
        if self._runner is None:
            await take_turn()
            return
        runner, self._runner = self._runner, None
        self._pump()
        runner.cancel()
        await asyncio.wait([runner])
        self._end(None)  # a task that was cancelled before its first step has done nothing
        await self._reconnector.wait_closed()
        if not runner.cancelled():
            runner.result()

    async def _run(self) -> None:
        ended: Exception | None = None
        try:
            await self._reconnector.run(self._clock, use=self._use, lost=self._lost, change=self._change)
        except Exception as error:
            ended = error
            raise
        finally:
            self._end(ended)

    async def _use(self, conn: ClientConnection[M]) -> Exception:
        """Send and receive on a connection until it ends; return why it did."""
        self._connection = conn
        try:
            conn.on_change = self._schedule
            self._change(StateChange(ClientState.CONNECTED))
            self._pump()
            return await self._read(conn)
        finally:
            self._connection = None

    def _lost(self, reason: CloseReason) -> None:
        self._delivery.connection_lost(reason)
        self._facts.look()

    def _end(self, cause: Exception | None) -> None:
        if self._ended:
            return
        self._ended = True
        error = ClosedError("the client is closed")
        error.__cause__ = cause
        self._delivery.end(error)
        self._change(StateChange(ClientState.CLOSED, cause))
        self._facts.fail(error)

    def _change(self, change: StateChange) -> None:
        self.state = change.state
        if self._on_state is not None:
            self._on_state(change)
        self._facts.look()

    # -- what users wait for -------------------------------------------------------------------------------------------

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Wait until there is a connection.

        Raises:
            TimedOutError: Not within ``timeout_s`` seconds.
            ClosedError: The client was closed.
        """
        await self._wait_until(lambda: self._connection is not None, timeout_s, Phase.CONNECT)

    async def drain(self, timeout_s: float | None = None) -> None:
        """Wait until everything was sent and every request has its reply, or its error.

        Raises:
            TimedOutError: Not within ``timeout_s`` seconds.
            ClosedError: The client was closed.
        """
        await self._wait_until(lambda: self._delivery.is_idle, timeout_s, Phase.TOTAL)

    async def _wait_until(self, fact: Callable[[], bool], timeout_s: float | None, phase: Phase) -> None:
        await self._check_open()
        if not fact():
            await wait(self._clock, self._facts.become(fact), Deadline.after(timeout_s, self._clock), lambda: phase)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, message: M, timeout_s: float | None = None) -> None:
        """Queue a message that has no reply; return once it is queued. It is sent at most once.

        Raises:
            LocalProtocolError, TypeError: The codec refuses it.
            QueueFullError: The queue is full, and ``when_full`` is ``raise``.
            TimedOutError: The queue stayed full for ``timeout_s`` seconds. The message will not be sent.
            ClosedError: The client was closed.

        Cancelling is safe: cancelled while it waits, nothing was queued.
        """
        await self._check_open()
        entry = Entry(self._encode(message), None, None, idempotent=False)
        try:
            await self._enqueue(entry, Deadline.after(timeout_s, self._clock))
        except BaseException:
            self._abandon(entry)
            raise

    async def request(self, message: M, timeout_s: float | None = None, *, idempotent: bool = False) -> M:
        """Send a message and return its reply. Any number of tasks may do so at once.

        Args:
            message: The request.
            timeout_s: For waiting in the queue, for a connection and for the reply together, in seconds; None for
                ``timeouts.read_s``.
            idempotent: Doing it twice is as good as once: when the connection ends before the reply came, it is sent
                again on the next one.

        Raises:
            LocalProtocolError, TypeError: The codec refuses it, or its id is that of another one.
            TimedOutError: Time ran out: in ``phase`` ``connect`` it was never sent, in ``read`` it was.
            RequestLostError: The connection ended after it was sent and before its reply came.
            QueueFullError: The queue is full, and ``when_full`` says so; or it was given up for a newer one.
            ClosedError: The client was closed.

        Cancelling is safe: what was not sent will not be; the reply to what was sent is dropped when it comes.
        """
        deadline = Deadline.after(self._request_s if timeout_s is None else timeout_s, self._clock)
        await self._check_open()
        request_id = self._delivery.check(message)
        try:
            data = self._encode(message)
        except BaseException:
            self._delivery.release(request_id)
            raise
        reply: asyncio.Future[M] = self._loop.create_future()
        entry = Entry(data, reply, request_id, idempotent=idempotent)
        try:
            await self._enqueue(entry, deadline)
            result: M = await wait(
                self._clock, reply, deadline, lambda: Phase.READ if entry.attempts else Phase.CONNECT
            )
        except BaseException:
            self._abandon(entry)
            raise
        return result

    async def _check_open(self) -> None:
        await (take_turn() if self._runner is None else self._turn.take())
        if self._runner is None or self._ended:
            raise ClosedError("the client is closed")

    def _encode(self, message: M) -> bytes:
        codec = self._codec
        return (guard.encode_datagram if self._address.kind is Kind.SEQPACKET else guard.encode)(codec, message)

    async def _enqueue(self, entry: Entry, deadline: Deadline | None) -> None:
        room = self._delivery.queue(entry, self._loop)
        if room is not None:
            await wait(self._clock, room, deadline, lambda: Phase.CONNECT)
        self._schedule()

    def _abandon(self, entry: Entry) -> None:
        is_useless = self._delivery.abandon(entry)
        if is_useless and self._connection is not None:
            self._connection.abort()
        self._facts.look()

    def _schedule(self) -> None:
        """Send soon: what several tasks queue in one turn of the loop leaves in one write."""
        if self._connection is not None and not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        conn = self._connection
        if conn is None:
            return
        with contextlib.suppress(ConnectionEndedError):  # it owed too much; reading finds out
            while conn.can_write and (frames := self._delivery.next_frames()):
                conn.put_frames(frames)
        self._facts.look()

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def _read(self, conn: Connection[M]) -> Exception:
        """Hand out replies until the connection ends; return why it ended."""
        while True:
            try:
                message = await conn.receive()
            except PenstockError as error:
                return error
            if self._delivery.answer(message):
                if self._delivery.has_queued:
                    self._schedule()
                else:
                    self._facts.look()
            elif self._on_message is not None:
                self._on_message(message)
            else:
                self.stats.unexpected += 1
                if self._in_order:
                    conn.abort()
