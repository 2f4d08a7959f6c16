"""What a handler sees of a connection, and what an engine is given to tell the time: the same on every engine.

How an engine keeps these promises, and the laws beyond one method, are `engines.base`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar

from ..codecs import guard
from ..codecs.base import Codec
from ..errors import ConnectionEndedError, EndOfStreamError, LocalProtocolError
from ..reasons import CloseReason
from .background import Work, start_task

if TYPE_CHECKING:
    from ..address import Address, Peer
    from ..config import OnFull
    from .background import BackgroundTask
    from .handlers import Handler
    from .proxy import ProxyInfo
    from .tls import TlsInfo

M = TypeVar("M")

NO_CHECKPOINT: Final = "its connections are not handed over: add handover=True to @on_connection"
NO_HANDSHAKE: Final = "only a connection of a server has a handshake"


def codec_changed(conn: ConnectionBase[Any]) -> None:
    """Tell the server of a connection, where it has one, that it speaks another codec from now on."""
    tell = getattr(conn.server, "codec_changed", None)
    if tell is not None:
        tell(conn)


def app_of(server: object) -> Any:
    """Return the application that a server is part of, or None."""
    return getattr(server, "app", None)


def refuse_frame(frame: object) -> None:
    """Refuse what is no frame.

    Raises:
        TypeError: It is not bytes.
    """
    if not isinstance(frame, bytes):
        raise TypeError(f"a frame is bytes, not {type(frame).__name__}")


class TimerHandle(Protocol):
    """A callback that will be called unless it is cancelled before."""

    def cancel(self) -> None:
        """Do not call it."""


class Clock(Protocol):
    """What an engine takes the time from. Every asyncio event loop is one."""

    def time(self) -> float:
        """Return seconds on a clock that never goes back."""

    def call_at(self, when: float, callback: Callable[[], object], /) -> TimerHandle:
        """Call ``callback`` when `time` reaches ``when``."""


class ConnectionBase(ABC, Generic[M]):
    """One peer, as a callback sees it on any engine: everything here returns at once.

    On a datagram address it stands for one datagram: what is posted goes back to its sender.

    Attributes:
        id: A number unique in this process.
        codec: What cuts its stream into messages.
        peer: Who is at the other end.
        local: The address at this end.
        is_datagram: Whether it stands for one datagram.
        state: Yours: whatever a handler wants to keep with the connection. None at first.
        opened_at: When it began, on the engine's clock: for a server without a clock of its own, the loop's.
        bytes_in: Bytes received, before framing was taken off.
        bytes_out: Bytes handed to the transport.
        messages_in: Messages that its handler was given, or has received. Where several were cut from one read, it may
            be ahead of the handler by those.
        messages_out: Messages that were taken to be sent, those that a policy gives up later included.
        close_reason: Why it ended or is ending; None while it lives.
    """

    __slots__ = ()

    id: int
    codec: Codec[M]
    state: Any
    opened_at: float
    bytes_in: int
    bytes_out: int
    messages_in: int
    messages_out: int
    close_reason: CloseReason | None

    is_datagram: bool = False

    @property
    @abstractmethod
    def peer(self) -> Peer:
        """Who is at the other end."""

    @property
    @abstractmethod
    def local(self) -> Address:
        """The address at this end."""

    @property
    def proxy(self) -> ProxyInfo | None:
        """What the proxy has said through which the peer came (PROXY protocol); None where it came by itself."""
        found: ProxyInfo | None = getattr(self.peer, "proxy", None)
        return found

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed in the TLS handshake: version, cipher, the peer's certificate; None without TLS."""
        return None

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """Bytes that were taken to be sent and that the kernel has not taken yet; 0 for a datagram."""

    @property
    @abstractmethod
    def server(self) -> Any:
        """The `penstock.Server` whose connection it is; None for a client's."""

    @property
    def app(self) -> Any:
        """The `penstock.App` whose service it talks to; None where the service is served by itself."""
        return app_of(self.server)

    def task(self, work: Work, *, name: str = "", finish: bool = False) -> BackgroundTask:
        """Run a coroutine beside the handler until it ends, or until the connection has: then it is cancelled.

        What it raises is told once, as a `TaskFailed` event, and ends nothing; that its connection has ended is no
        failure. A server has stopped when the tasks of its connections have; one that goes on when it is cancelled is
        told of and given up at the end of the drain's time. For a datagram it ends with the server.

        Args:
            work: A coroutine. It runs on the server's loop, in a copy of the caller's context.
            name: What logs call it; the coroutine function's name by default.
            finish: The peer is owed what it does, a reply: once it has sent EOF and its messages were handled, the
                connection stays open until this has ended, for ``timeouts.idle_s`` at most. Otherwise it closes then,
                and this is cancelled. A conversation closes when its handler returns, in any case.

        Raises:
            ClosedError: The connection is closing. The coroutine was closed.
            LocalProtocolError: It is a client's connection. The coroutine was closed.

        Safe from every thread.
        """
        return start_task(self, work, name, finish=finish)

    def task_begun(self) -> None:
        """For servers: a background task begins whose work the peer is owed."""

    def task_over(self) -> None:
        """For servers, on their loop's thread: such a task has ended."""

    @property
    def draining(self) -> bool:
        """Whether the server drains: no further message comes, and a handler that still sends is to come to its end.

        A handler that receives meets that as the end of its messages; one that only sends has to ask here. Never of a
        datagram, nor of a client's connection.
        """
        return False

    @abstractmethod
    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message; never wait.

        One message of any size is queued while output is not over its high watermark. Above it the peer may be owed
        ``limits.write_max_bytes``, or no more than the watermark while all peers together are owed too much
        (``overload.write_total_bytes``); what would be more meets ``limits.slow_consumer``, or ``on_full``.

        Safe from the connection's own handler and from those of others. In a server whose handlers run in threads it
        is safe from any of them; otherwise call it on the loop's thread. A datagram that the kernel has no room for is
        dropped and counted, whatever the policy.

        Args:
            message: What to send.
            on_full: What gives way where it is too much. None: what ``limits.slow_consumer`` says. ``disconnect`` and
                ``raise``: as there. ``drop``, or ``drop_newest``: this message. ``drop_oldest``: those that were
                posted first and may go, which are those of ``drop_oldest`` and ``latest``; this one where all of them
                would make too little room. ``latest``: likewise; and too much or not, one that waits with the same key
                goes for this one, which takes the place at the end. It goes also where this one finds no room.
                Messages given up are counted (``stats.messages_dropped``) and told (`MessageDropped`).
            key: What ``latest`` tells messages apart by: a symbol, a sensor. None is a key as well.

        Raises:
            ConfigurationError: ``on_full`` is none of these, or ``key`` is not hashable and ``latest`` needs it.
            LocalProtocolError, TypeError: The codec refuses it. Nothing was queued.
            ClosedError: This side already closed or sent EOF.
            BrokenError: The peer or the network ended the connection.
            SlowPeerError: It is too much, and the policy is ``disconnect``. The connection is aborted.
            QueueFullError: It is too much, and the policy is ``raise``. The connection is as it was.
        """

    def frame(self, message: M) -> bytes:
        """Return what `post` would queue for a message: its frame, or its datagram or record.

        Raises:
            LocalProtocolError, TypeError, CodecError: The codec refuses it, or failed at it.
        """
        return (guard.encode_datagram if self.is_datagram else guard.encode)(self.codec, message)

    @abstractmethod
    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message that is framed already; otherwise as `post`, in the same order.

        A message for many peers is encoded once: what `frame` returned for one of them serves all that speak the same
        codec over the same kind of transport.

        Args:
            frame: One whole frame of the codec at hand. It is sent as it is, unread.
            on_full: As of `post`.
            key: As of `post`.

        Raises:
            TypeError: It is not bytes. Nothing was queued.
            ConfigurationError, ClosedError, BrokenError, SlowPeerError, QueueFullError: As `post`.
            LocalProtocolError: It is longer than a datagram to this peer can be.
        """

    @abstractmethod
    def try_send(self, message: M) -> bool:
        """Queue one message if `Connection.send` would not have to wait; never wait.

        Returns:
            Whether it was queued, whole. False while output is over its high watermark; then nothing was done, and no
            policy is asked. For a datagram: whether it was sent or is kept until the kernel has room; False when it
            was dropped, which is counted.

        Raises:
            LocalProtocolError, TypeError: The codec refuses it. Nothing was queued.
            ClosedError: This side already closed or sent EOF.
            BrokenError: The peer or the network ended the connection.

        Safe where `post` is. From a handler in a thread of the pool it waits for the loop's turn, and for no peer.
        """

    async def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the reply to it. Several tasks may ask at once, whatever the handler does meanwhile.

        A reply is taken out of what the peer sends wherever it stands, and no handler is given it. A codec with methods
        ``request_id(message)`` and ``reply_id(message)`` says which request a message answers: ids are hashable, a
        ``reply_id`` of None is no reply, and a reply to nothing that was asked is a message like any other. Without
        them replies come in the order of their requests, and the next message is one as long as any is owed.

        Args:
            message: What to send.
            timeout_s: How long to wait for the reply, in seconds on the engine's clock; None for as long as the
                connection's own timeouts allow. A reply that comes later is dropped.

        Raises:
            LocalProtocolError, TypeError: The codec refuses it, or its id is that of another one whose reply is still
                owed. Nothing was sent.
            LocalProtocolError: It stands for a datagram; or silence ends messages, which tells no reply apart; or the
                handler at work has called `start_tls`, and has yet to return.
            QueueFullError: The peer does not read, or owes 1024 replies. Nothing was sent.
            TimeoutError: ``timeout_s`` passed. The connection is as it was.
            EndOfStreamError: The peer sent EOF, the server drains, or another codec was set, before the reply came.
            RequestLostError: The connection has ended before the reply came. Whether it was done is unknown.
            ClosedError, BrokenError: It had ended, or was closing, before.

        Await it on the server's loop: in a coroutine handler, or in a task of `task`. Where threads serve the
        connection, its reply is read while its own thread waits for messages. Cancelling is safe: the reply is dropped
        when it comes. While nobody receives, ``limits.read_bytes`` of other messages may come before the reply,
        which may be as long as the codec allows.
        """
        raise LocalProtocolError("what a datagram asks has no reply of its own: answers are datagrams like any other")

    @abstractmethod
    def close(self, *, detail: str = "") -> None:
        """Flush what was queued, send EOF, then end the connection; handle no further message. May be repeated.

        Args:
            detail: Why, in your words, for the log and for the event ``closed``, where it stands escaped and cut at 256
                bytes. That of the first close stays. The peer never sees it.

        Raises:
            TypeError: ``detail`` is no str.
        """

    @abstractmethod
    def abort(self) -> None:
        """End the connection now; queued output is lost, the peer sees a reset where there is one. May be repeated."""

    @abstractmethod
    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving (half-close: RFC 9293 section 3.6). May be repeated.

        Raises:
            LocalProtocolError: It stands for a datagram, which has no end.
        """

    def begin_handshake(self) -> None:
        """Give the peer ``timeouts.handshake_s`` to show who it is: a login, a greeting. May be repeated: it goes on.

        Until `end_handshake` the connection holds one of the gate's ``max_handshakes``, and this timeout, which no byte
        of the peer moves, counts in place of all others but the write timeout and the lifetime. Once it is over the
        connection is aborted with ``handshake_timeout``. A connection that closes has ended its handshake.

        Begun in ``on_connect``, or first of all in a connection handler, it holds the peer from the start, and no more
        are let in than there is room for; begun later, those who were accepted meanwhile are in already. There may be
        several, one after the other. One of TLS or of PROXY is not this one: each ends by itself, they share the place,
        and the time is that of the one which began first.

        Raises:
            LocalProtocolError: It stands for a datagram, or is a client's.
        """
        raise LocalProtocolError(NO_HANDSHAKE)

    def end_handshake(self) -> None:
        """The peer has shown who it is: other peers may try. All timeouts count again, from where they always do.

        Does nothing where no handshake has begun.
        """

    def start_tls(self, tls: Any = None, *, reply: M | None = None) -> None:
        """Speak TLS on a connection that has begun in clear (STARTTLS). Returns at once; `tls` is None meanwhile.

        Called by the handler of a message or a callback, TLS begins once that has returned: its answer, and all that
        was queued before, is in clear. Anywhere else it begins now, after ``reply``. What is sent after that waits for
        the handshake, and is never sent where that fails.

        Whatever the peer has sent beyond the message at hand was in clear, and somebody else may have written it: then
        nothing of it is handled, and the connection is closed with ``tls_injected``. A handshake that fails closes it
        with ``tls_handshake`` or ``tls_certificate``. ``timeouts.handshake_s`` and ``max_handshakes`` hold for it.

        Args:
            tls: At a server, an `ssl.SSLContext`; None for the server's own certificates. At a client, a `ClientTls`;
                None for the default one.
            reply: A message to send before, the last one in clear.

        Raises:
            LocalProtocolError: TLS has begun already, the connection has not begun, there are no bytes but records, or
                no certificate; or replies to requests are owed, which would come in clear.
            ConfigurationError: A file of a `ClientTls` is wrong.
            ClosedError, BrokenError: As of `post`.
        """
        raise LocalProtocolError("TLS needs a stream, and this carries datagrams")

    @abstractmethod
    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec: for what is sent from now on, and for what was received after the message at hand.

        Not a byte is lost, whether it was already read or not.
        """

    @abstractmethod
    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler. Its ``on_connect`` is not called.

        Raises:
            LocalProtocolError: The connection's handler is a function: it decides itself what to call.
        """

    @abstractmethod
    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts, by the field names of `Timeouts`: ``set_timeouts(idle_s=None)``.

        A timeout counts from where it always does: ``first_message_s`` from the beginning, not from this call.

        Raises:
            ConfigurationError: A name is unknown or a value is negative.
        """

    @abstractmethod
    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy: ``set_limits(slow_consumer="drop_oldest")``.

        Args:
            limits: Fields of `Limits`: ``write_high_bytes``, ``write_low_bytes``, ``write_max_bytes``,
                ``slow_consumer``. They hold for what is sent from now on; output that is over its high watermark
                already goes by the new low one.

        Raises:
            ConfigurationError: A name is none of these, a value is refused, or two contradict each other. Nothing has
                changed.
        """


class Scope(Protocol):
    """A block of `Connection.while_open`."""

    @property
    def cancelled(self) -> bool:
        """Whether the peer has gone while the block was at work."""


class Connection(ConnectionBase[M]):
    """One peer, as a coroutine sees it.

    ``async for message in conn`` ends when the peer sends EOF or the server drains; else it raises as `receive` does.
    """

    __slots__ = ()

    @abstractmethod
    async def send(self, message: M) -> None:
        """Queue one message, once the write buffer is no longer over its high watermark.

        Raises:
            LocalProtocolError, TypeError: The codec refuses it. Nothing was queued.
            ClosedError: This side already closed or sent EOF.
            BrokenError: The peer or the network ended the connection.
            SlowPeerError: The peer did not read for ``timeouts.write_s``. The connection is aborted.

        Cancelling is safe: cancelled while it waits, nothing was queued. Several tasks may send at once; frames never
        interleave. Returning says nothing about the peer: the bytes may still be in this process or in the kernel.
        """

    def checkpoint(self, state: Any) -> None:
        """Say that the conversation can begin anew here, in another process: ``@on_connection(handover=True)``.

        Every message that was received is dealt with. When workers are replaced while the conversation waits for the
        next one, in ``async for`` or `receive`, its connection goes on in the next worker, with all that was sent: the
        function is called there, and finds ``state`` in ``conn.state``. Here it is cancelled where it waits. A message
        that was received, `receive_exactly`, `receive_until`, `send`, `send_raw` and `request` end what this has said,
        until it is called again: the next worker would do that another time. `post` does not.

        Args:
            state: Plain data, a dataclass or a `msgspec.Struct`. It is written down when the connection moves.

        Raises:
            LocalProtocolError: The service does not hand its connections over.
        """
        raise LocalProtocolError(NO_CHECKPOINT)

    @abstractmethod
    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, past the codec, between two messages: as `send` otherwise.

        Args:
            data: What goes out: one datagram or record where the connection carries those. It counts as one message.

        Raises:
            TypeError: It is not bytes. Nothing was queued.
            LocalProtocolError: It is longer than a datagram to this peer can be.
            ClosedError, BrokenError, SlowPeerError: As of `send`.
        """

    @abstractmethod
    async def wait_writable(self) -> None:
        """Wait until the peer has read enough that `send` would not wait. Nothing is sent.

        For what is sent by `post`, which does not wait. More may be owed again before the caller goes on. Connections
        of ``def`` handlers have no such method: a `BlockingConnection.send` returns when the kernel has taken all.

        Raises:
            ClosedError, BrokenError, SlowPeerError: As of `send`.
        """

    @abstractmethod
    async def receive(self, timeout_s: float | None = None) -> M:
        """Return the next message.

        Args:
            timeout_s: How long to wait for all of it, in seconds on the engine's clock; None to wait as long as the
                connection's own timeouts allow.

        Raises:
            EndOfStreamError: The peer sent EOF, or the server drains.
            RemoteProtocolError: The peer broke the framing. Nothing more is received. A handler may still send a last
                word: its connection closes for that reason when it has returned, within ``timeouts.drain_s``. A
                client's connection is closing.
            BrokenError: The peer, the network, or a timeout of the connection ended it.
            ClosedError: This side already closed.
            TimeoutError: ``timeout_s`` passed. The connection is as it was.
            LocalProtocolError: Another task is already receiving.

        Cancelling is safe: no message is lost.
        """

    @abstractmethod
    async def receive_exactly(self, n: int, timeout_s: float | None = None, *, max_bytes: int | None = None) -> bytes:
        """Return the next ``n`` bytes after the message received last, past the codec, which cuts what follows them.

        For a protocol that changes its framing from one message to the next: a line, then a counted block. It is as
        cheap as `receive`, and cuts nothing twice.

        Args:
            n: How many bytes; 0 returns at once.
            timeout_s: As of `receive`.
            max_bytes: The highest ``n``; None for the ``max_frame_bytes`` of the codec.

        Raises:
            FrameTooLongError: ``n`` is above that: a length that the peer announced is refused as a codec refuses it.
                The connection is closing.
            TruncatedError: The peer sent EOF in the middle. The connection is closing.
            ValueError: ``n`` is below 0.
            LocalProtocolError: It carries datagrams or records; or as of `receive`.
            EndOfStreamError, BrokenError, ClosedError, TimeoutError: As of `receive`.

        Cancelling is safe: no byte is lost.
        """

    @abstractmethod
    async def receive_until(
        self, delimiter: bytes, max_bytes: int | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Return the bytes up to the next ``delimiter``, without it, past the codec; as `receive_exactly` otherwise.

        Args:
            delimiter: 1 to 256 bytes. It is taken, too.
            max_bytes: The most bytes before it; None for the ``max_frame_bytes`` of the codec.
            timeout_s: As of `receive`.

        Raises:
            FrameTooLongError: The delimiter does not come within ``max_bytes``. The connection is closing.
            TruncatedError: The peer sent EOF before the delimiter and after other bytes. The connection is closing.
            ConfigurationError: ``delimiter`` or ``max_bytes`` is out of its range.
            TypeError: ``delimiter`` is not bytes.
            LocalProtocolError, EndOfStreamError, BrokenError, ClosedError, TimeoutError: As of `receive_exactly`.
        """

    async def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return its reply.

        Args:
            message: What to send.
            timeout_s: As of `receive`, from the moment when the message was queued.

        On a server's connection it is as of `ConnectionBase`, and waits for room as `send` does. On a client's the next
        message that comes is the reply, one task asks at a time, and it raises what `send` and `receive` raise. After a
        TimeoutError the reply may still come, and would answer the next request: close the connection, or use
        `penstock.Client`, which drops it.
        """
        await self.send(message)
        return await self.receive(timeout_s)

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 once it is closed. Reading or writing it breaks the connection."""

    async def wait_tls(self) -> TlsInfo:
        """Wait until the TLS handshake that `start_tls` began is done; return what was agreed.

        Raises:
            BrokenError, ClosedError: There is no TLS: the connection is closed, for the reason that says why.
            LocalProtocolError: TLS has not begun, or begins once this handler has returned.

        Cancelling is safe.
        """
        raise LocalProtocolError("there is no TLS")

    @abstractmethod
    async def wait_closed(self) -> CloseReason:
        """Wait until the transport is gone; return why. Does not close."""

    async def wait_draining(self) -> None:
        """Wait until the server begins to drain: for a handler that waits for something else than its peer.

        Raises:
            ClosedError, BrokenError: The connection has ended before that.
            LocalProtocolError: It is a client's connection.

        Cancelling is safe.
        """
        raise LocalProtocolError("only a connection of a server is told to drain")

    @abstractmethod
    def while_open(self, *, at_eof: bool = True) -> AbstractAsyncContextManager[Scope]:
        """Return a block that is cancelled when the peer goes: ``async with conn.while_open() as scope:``.

        For a handler that waits for something else than its peer, and has no use for it without one. The block ends as
        if its last line had been reached; ``scope.cancelled`` says whether it was cut short.

        Args:
            at_eof: A peer that has sent EOF has gone: it will send no more, but may wait for an answer still. False: it
                has gone when the transport has.
        """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        try:
            return await self.receive()
        except EndOfStreamError:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        """Close gracefully; abort when an exception other than the connection's own end leaves the block."""
        if kind is None or issubclass(kind, ConnectionEndedError):
            self.close()
        else:
            self.abort()
        await self.wait_closed()
