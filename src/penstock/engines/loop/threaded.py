"""Handlers that may block, made into coroutines that have them called in the threads of a bounded pool.

The connection's one task waits for each call, so that the order of messages is kept and no two are handled at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs import guard
from ...codecs.base import Codec
from ...config import OnFull, Timeouts
from ...core.contract import ConnectionBase, refuse_frame
from ...core.handlers import CallbackHandler, Handler, MessageHandler, expects_messages, may_keep_idle
from ...core.interrupts import is_interrupt
from ...core.send_queue import check_policy
from ...core.texts import detail_of
from ...core.timeouts import Timeout
from ...core.tls import TlsInfo
from ...errors import ClosedError, LimitError, LocalProtocolError, PenstockError, RemoteProtocolError
from ...reasons import CloseReason
from ..datagram import OneDatagram
from ..threads import ThreadPool, tell_of_failure

M = TypeVar("M")
T = TypeVar("T")

# How long a thread that waits for the loop's answer waits until it looks whether there is still a loop.
ANSWER_S = 1.0


def in_threads(handler: MessageHandler | CallbackHandler, pool: ThreadPool) -> MessageHandler | CallbackHandler:
    """Return an asynchronous handler that has ``handler`` called in the pool."""
    if handler.takes_connection:
        make = handler.callbacks
        return CallbackHandler(
            lambda: _ThreadedCallbacks(make() or _MessagesOnly(handler), pool),
            is_async=True,
            is_threaded=True,
            on_bad_message="callbacks" if callable(handler.on_bad_message) else handler.on_bad_message,
        )
    function = handler.function

    # A task answers all messages of one connection: in its own variables it keeps those of the threads.
    kept: contextvars.ContextVar[contextvars.Context] = contextvars.ContextVar("penstock_threads")

    def variables_of_connection() -> contextvars.Context:
        variables = kept.get(None)
        if variables is None:
            variables = contextvars.copy_context()
            kept.set(variables)
        return variables

    async def answer(message: Any) -> Any:
        return await _outcome(pool.submit(variables_of_connection().run, _tried, function, message))

    given = on_bad_message = handler.on_bad_message
    if callable(given):

        def answer_bad(conn: ConnectionBase[Any], error: RemoteProtocolError) -> Any:  # between two messages: no thread
            return variables_of_connection().run(given, conn, error)

        on_bad_message = answer_bad
    return MessageHandler(
        answer, takes_connection=False, is_async=True, is_threaded=True, on_bad_message=on_bad_message
    )


def _tried(function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    """Return what a call returns, or what it raises.

    A future takes no StopIteration: its awaiter would wait for ever. Of a TimeoutError asyncio hands on a copy,
    which does not know where it was raised.
    """
    try:
        return function(*args), None
    except BaseException as error:
        return None, error


async def _outcome(call: Future[tuple[Any, BaseException | None]]) -> Any:
    """Return what a call in a thread returned, or raise what it raised."""
    result, error = await asyncio.wrap_future(call)
    if error is None:
        return result
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame


class _MessagesOnly(Handler[M]):
    """A function that takes the connection, as callbacks."""

    def __init__(self, handler: MessageHandler | CallbackHandler) -> None:
        self._handler = handler

    def on_bad_message(self, conn: ConnectionBase[M], error: RemoteProtocolError) -> Any:
        assert callable(self._handler.on_bad_message)
        return self._handler.on_bad_message(conn, error)

    def on_message(self, conn: ConnectionBase[M], message: M) -> Any:
        return self._handler.for_messages(conn, None)(message)


class _ThreadedCallbacks(Handler[M]):
    """Has the callbacks of one connection called in threads, with a connection that threads may use."""

    def __init__(self, callbacks: Handler[M], pool: ThreadPool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._conn: ThreadSafeConnection[M] | None = None
        self._running: Future[Any] | None = None  # the latest call
        self._connected = False  # on_connect was called: on_close is owed
        self._variables = contextvars.copy_context()  # of this connection alone, whichever thread calls
        self._take(callbacks)

    def _take(self, callbacks: Handler[M]) -> None:
        """Have an `on_message` if they have one: a handler without waits for no message."""
        self._callbacks = callbacks
        if expects_messages(callbacks):
            self.on_message = self._message  # type: ignore[method-assign]
        if may_keep_idle(callbacks):
            self.on_idle = self._idle  # type: ignore[method-assign]

    def _facade(self, conn: ConnectionBase[M]) -> ThreadSafeConnection[M]:
        if self._conn is None:
            self._conn = ThreadSafeConnection(conn, self._loop, self)
        return self._conn

    async def _call(self, callback: Callable[..., Any], conn: ConnectionBase[M], *args: Any) -> Any:
        self._running = self._pool.submit(self._variables.run, _tried, callback, self._facade(conn), *args)
        return await _outcome(self._running)

    async def _call_last(self, callback: Callable[..., Any], conn: ConnectionBase[M], *args: Any) -> None:
        """As `_call`; but the call is made though a server that is cut no longer waits for it."""
        call = self._pool.submit_surely(self._variables.run, _tried, callback, self._facade(conn), *args)
        self._running = call
        try:
            await _outcome(call)
        except asyncio.CancelledError:
            if not call.done():
                call.add_done_callback(_tell_of_failure)
            raise

    async def on_connect(self, conn: ConnectionBase[M]) -> None:
        await self._call(self._connect, conn)

    def _connect(self, conn: ConnectionBase[M]) -> Any:
        self._connected = True  # here: a call that waits for a thread may be cancelled
        return self._callbacks.on_connect(conn)

    async def _message(self, conn: ConnectionBase[M], message: M) -> M | None:
        reply: M | None = await self._call(self._callbacks.on_message, conn, message)
        return reply

    async def on_timeout(self, conn: ConnectionBase[M], which: Timeout) -> None:
        await self._call(self._callbacks.on_timeout, conn, which)

    def on_bad_message(self, conn: ConnectionBase[M], error: RemoteProtocolError) -> M | None:
        return self._variables.run(self._callbacks.on_bad_message, self._facade(conn), error)  # no thread is in them

    async def _idle(self, conn: ConnectionBase[M]) -> bool:
        return bool(await self._call(self._callbacks.on_idle, conn))

    async def on_eof(self, conn: ConnectionBase[M]) -> None:
        await self._call(self._callbacks.on_eof, conn)

    async def on_drain(self, conn: ConnectionBase[M]) -> None:
        await self._call(self._callbacks.on_drain, conn)

    async def on_protocol_error(self, conn: ConnectionBase[M], error: RemoteProtocolError) -> None:
        await self._call(self._callbacks.on_protocol_error, conn, error)

    async def on_close(self, conn: ConnectionBase[M], reason: CloseReason) -> None:
        running, callback = self._running, self._callbacks.on_close
        if running is None or running.done():
            if self._connected:
                await self._call_last(callback, conn, reason)
        else:
            # The connection was cut while a thread is at work for it, which cannot be ended from outside. Calls for one
            # connection never overlap: this one comes after that one, and nobody waits for either.
            last = partial(self._variables.run, callback, self._facade(conn), reason)
            running.add_done_callback(partial(_call_behind, self._pool, threading.get_ident(), last))
        self._conn = None  # and with it the cycle through this object

    def exchange(self, callbacks: Handler[M]) -> None:
        """Call these from the next message on."""
        self._take(callbacks)


def _tell_of_failure(call: Future[tuple[Any, BaseException | None]]) -> None:
    """Report what a call has raised that nobody waits for any more, as of any thread."""

    def fail() -> None:
        _, error = call.result()
        if error is not None:
            raise error

    tell_of_failure(fail)


def _call_behind(pool: ThreadPool, loop_thread: int, callback: Callable[[], object], _running: Future[Any]) -> None:
    """Call what comes after a call that has ended: in its thread, for the pool may have ended with its server."""
    if threading.get_ident() == loop_thread:  # it had ended before anybody asked to be told
        with contextlib.suppress(RuntimeError, LimitError):
            pool.do(callback)
    else:
        tell_of_failure(callback)


class ThreadSafeConnection(ConnectionBase[M]):
    """What a handler in a thread is given: each call is handed to the loop, and calls keep their order."""

    __slots__ = ("_callbacks", "_codec", "_conn", "_loop", "_loop_thread", "_over", "state")

    def __init__(
        self, conn: ConnectionBase[M], loop: asyncio.AbstractEventLoop, callbacks: _ThreadedCallbacks[M]
    ) -> None:
        self._conn = conn
        self._loop = loop
        self._loop_thread = threading.get_ident()  # it is made there
        self._callbacks = callbacks
        # What was asked for and the loop has perhaps not done yet.
        self._codec: Codec[M] | None = None
        self._over = ""
        self.state = None

    def __repr__(self) -> str:
        return repr(self._conn)

    @property
    def id(self) -> int:  # type: ignore[override]
        """A number unique in this process."""
        return self._conn.id

    @property
    def codec(self) -> Codec[M]:  # type: ignore[override]
        """What cuts its stream into messages."""
        return self._codec or self._conn.codec

    @property
    def bytes_in(self) -> int:  # type: ignore[override]
        """Bytes received."""
        return self._conn.bytes_in

    @property
    def bytes_out(self) -> int:  # type: ignore[override]
        """Bytes handed to the transport."""
        return self._conn.bytes_out

    @property
    def messages_in(self) -> int:  # type: ignore[override]
        """Messages that its handler was given."""
        return self._conn.messages_in

    @property
    def messages_out(self) -> int:  # type: ignore[override]
        """Messages that were taken to be sent, by the loop: what is posted here is counted a little later."""
        return self._conn.messages_out

    @property
    def opened_at(self) -> float:  # type: ignore[override]
        """When it began, on the engine's clock."""
        return self._conn.opened_at

    @property
    def queued_bytes(self) -> int:
        """Bytes that were taken to be sent and that the kernel has not taken yet."""
        return self._conn.queued_bytes

    @property
    def server(self) -> Any:
        """Whose connection it is."""
        return self._conn.server

    @property
    def close_reason(self) -> CloseReason | None:  # type: ignore[override]
        """Why it ended or is ending."""
        return self._conn.close_reason

    @property
    def is_datagram(self) -> bool:  # type: ignore[override]
        """Whether it stands for one datagram."""
        return self._conn.is_datagram

    @property
    def tls(self) -> TlsInfo | None:
        """As of the connection."""
        return self._conn.tls

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._conn.peer

    @property
    def local(self) -> Address:
        """The address at this end."""
        return self._conn.local

    @property
    def draining(self) -> bool:
        """Whether the server drains."""
        return self._conn.draining

    def post(self, message: M, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message; never wait. Wrong messages are refused here, in the caller's thread."""
        post = self._by_policy(self._conn.post, on_full, key)
        self._require_open()
        if isinstance(self._conn, OneDatagram):
            self._conn.check_length(len(guard.encode_datagram(self.codec, message)))
        else:
            guard.encode(self.codec, message)
        self._hand_over(post, message, on_full)

    def frame(self, message: M) -> bytes:
        """Return what `post` would queue for a message."""
        if self._codec is None:
            return self._conn.frame(message)
        keeps_bounds = self.is_datagram or getattr(self._conn, "_records", False)
        return (guard.encode_datagram if keeps_bounds else guard.encode)(self._codec, message)

    def post_frame(self, frame: bytes, *, on_full: OnFull | None = None, key: Hashable = None) -> None:
        """Queue one message that is framed already."""
        refuse_frame(frame)
        post = self._by_policy(self._conn.post_frame, on_full, key)
        self._require_open()
        if isinstance(self._conn, OneDatagram):
            self._conn.check_length(len(frame))
        self._hand_over(post, frame, on_full)

    def post_joined(self, frames: bytes, count: int) -> None:
        """Queue several messages whose frames are one string of bytes already."""
        self._require_open()
        conn: Any = self._conn
        self._hand_over(partial(conn.post_joined, count=count), frames)

    @property
    def output_paused(self) -> bool:
        """Whether output is over its high watermark, and has not sunk to the low one since."""
        conn: Any = self._conn
        return bool(conn.output_paused)

    @property
    def slow_consumer(self) -> str:
        """What `post` does when the peer would be owed too much."""
        conn: Any = self._conn
        return str(conn.slow_consumer)

    def _require_open(self) -> None:
        ask = getattr(self._conn, "refusal", None)  # which a datagram has not
        if ask is not None and (refusal := ask()) is not None:
            raise refusal
        if self._over:
            raise ClosedError(self._over)

    @staticmethod
    def _by_policy(post: Callable[..., None], on_full: OnFull | None, key: Hashable) -> Callable[..., None]:
        """Return ``post`` with what this call says of a full connection; refuse here what is wrong."""
        return post if on_full is None else partial(post, on_full=check_policy("on_full", on_full, key), key=key)

    def _hand_over(self, post: Callable[[Any], None], what: Any, on_full: OnFull | None = None) -> None:
        if getattr(self._conn, "raises_when_full", False) if on_full is None else on_full == "raise":
            self._ask(lambda: post(what))
        else:
            self._loop.call_soon_threadsafe(self._post_late, post, what)

    def _post_late(self, post: Callable[[Any], None], what: Any) -> None:
        # It may have ended between the call and now: the handler meets that at its next call, as with any late loss.
        try:
            post(what)
        except PenstockError:
            pass
        except BaseException as error:  # of a codec's, which has encoded the same before
            if is_interrupt(error):
                raise
            self._loop.call_exception_handler({"message": "a message cannot be posted", "exception": error})

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark. Waits for the loop's turn."""
        if self._over:
            raise ClosedError(self._over)
        return self._ask(lambda: self._conn.try_send(message))

    def _ask(self, question: Callable[[], T]) -> T:
        """Have the loop answer: what is asked comes after all that this thread asked for before."""
        if threading.get_ident() == self._loop_thread:  # the loop would wait for itself
            return question()
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(question())
            except BaseException as error:
                if is_interrupt(error):
                    raise
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(ask)
        while True:
            try:
                return answer.result(ANSWER_S)
            except FutureTimeoutError:
                if self._loop.is_closed():  # with its server, while a handler was still at work
                    raise ClosedError("the connection is closed") from None

    def close(self, *, detail: str = "") -> None:
        """Flush what was queued, then end the connection."""
        detail = detail_of(detail)
        self._over = "the connection is closing"
        self._loop.call_soon_threadsafe(partial(self._conn.close, detail=detail))

    def abort(self) -> None:
        """End the connection now."""
        self._over = "the connection is closed"
        self._loop.call_soon_threadsafe(self._conn.abort)

    async def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the reply to it."""
        if threading.get_ident() != self._loop_thread:
            raise LocalProtocolError("a request is awaited on the server's loop: in a task of conn.task")
        await asyncio.sleep(0)  # what was asked for before has its turn first: another codec, messages that were posted
        return await self._conn.request(message, timeout_s)

    def send_eof(self) -> None:
        """End our direction after what was queued."""
        if self.is_datagram:
            raise LocalProtocolError("a datagram has no end to send")
        self._over = self._over or "EOF was already sent"
        self._loop.call_soon_threadsafe(self._conn.send_eof)

    def task_begun(self) -> None:
        """A background task begins whose work the peer is owed: before the loop hears that the handler has ended."""
        self._loop.call_soon_threadsafe(self._conn.task_begun)

    def task_over(self) -> None:
        """It has ended. Comes after what it has posted."""
        self._loop.call_soon(self._conn.task_over)

    def begin_handshake(self) -> None:
        """Give the peer so long to show who it is."""
        self._ask(self._conn.begin_handshake)

    def end_handshake(self) -> None:
        """The peer has shown who it is."""
        self._loop.call_soon_threadsafe(self._conn.end_handshake)

    def start_tls(self, tls: Any = None, *, reply: M | None = None) -> None:
        """Speak TLS once the handler of the message at hand has returned."""
        self._ask(lambda: self._conn.start_tls(tls, reply=reply))

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one at hand."""
        self._codec = codec
        self._loop.call_soon_threadsafe(self._conn.set_codec, codec)

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        self._callbacks.exchange(handler)

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts. Wrong ones are refused here, in the caller's thread."""
        Timeouts().merged(**timeouts)
        self._loop.call_soon_threadsafe(lambda: self._conn.set_timeouts(**timeouts))

    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy. Wrong ones are refused here."""
        self._ask(lambda: self._conn.set_limits(**limits))
