"""Handlers: the three ways to write one, and what an engine has to know of it, which is the same for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from ..errors import RemoteProtocolError
    from ..reasons import CloseReason
    from .contract import ConnectionBase
    from .timeouts import Timeout

M = TypeVar("M")


class Driver(Enum):
    """How an engine calls a handler. Chosen once, when the plan is made."""

    PUSH = "push"  # at once, where the messages were cut: nothing is called that may wait
    TASK = "task"  # by the task of its connection: it is a coroutine
    THREAD = "thread"  # in a thread, for it may block; each message's reply leaves before the next is handled
    OWN_THREAD = "own_thread"  # in a thread that is the connection's as long as it lives


class Handler(Generic[M]):
    """Callbacks for one connection; a new instance is made for each, so ``self`` is where its state lives.

    Override what you need; each may be ``def`` or ``async def``. Calls for one connection never overlap and keep the
    order of what happened. An exception ends this connection with ``handler_error``; `on_close` is still called.

    On a datagram address each datagram is a conversation of one message: `on_connect`, `on_message`, `on_close`. A
    class with ``sessions = True`` has one instance for each sender there, until that one is silent for too long.

    Attributes:
        cancel_on_close: Of the class: cancel the callback that is at work when the connection has ended. `on_close` is
            called all the same. By default a callback comes to its end: what was received whole is not lost.
        sessions: Of the class: on a datagram address the datagrams of one sender are one connection, as of
            `penstock.on_message`.
    """

    cancel_on_close: ClassVar[bool] = False
    sessions: ClassVar[bool] = False

    def on_connect(self, conn: ConnectionBase[M]) -> Awaitable[None] | None:
        """Called when the connection is ready, before any message."""

    def on_message(self, conn: ConnectionBase[M], message: M) -> Awaitable[M | None] | M | None:
        """Handle one message. What it returns is the reply; None is no reply, `NULL` a reply of null."""

    def on_timeout(self, conn: ConnectionBase[M], which: Timeout) -> Awaitable[None] | None:
        """Called when a deadline passed. A last message may be posted here: the connection closes after it.

        Where another callback is at work then, this is called when that has returned, for which it has
        ``timeouts.drain_s``. Not called after `on_eof`, nor for a handshake or a peer that does not read: those
        connections are reset.
        """

    def on_bad_message(self, conn: ConnectionBase[M], error: RemoteProtocolError) -> M | None:
        """Called for a message that cannot be decoded and whose end is known: a line that is no JSON.

        A class that has this keeps the connection: what is returned is sent in place of the reply, None is none, and
        the next message is handled. Without it the connection closes, or the message is skipped, as the service has it.
        It is ``def`` in any case, and called where messages are cut: it returns at once.
        """

    def on_idle(self, conn: ConnectionBase[M]) -> Awaitable[bool | None] | bool | None:
        """Called when the connection has been idle for as long as it may be, before `on_timeout`.

        True keeps it: it is idle from now on, and this is called again after as long. Anything else ends it. It is not
        asked where memory is short and the idle are closed for that.
        """

    def on_eof(self, conn: ConnectionBase[M]) -> Awaitable[None] | None:
        """Called when the peer has sent EOF, after all its messages were handled.

        A last message may be posted here: the connection closes after it.
        """

    def on_drain(self, conn: ConnectionBase[M]) -> Awaitable[None] | None:
        """Called when the server drains, after all whole messages that were received before were handled.

        A last message may be posted here: the connection closes after it. Not called once the peer has sent EOF.
        """

    def on_handover(self, conn: ConnectionBase[M]) -> Any:
        """Called when the connection is about to go on in another process; return what that one has to know.

        What is returned is plain data, a dataclass or a `msgspec.Struct`. It is the last that this process does for the
        connection: `on_close` is not called. Where the other process does not take it, it goes on here, as if nothing
        had been. What this raises is reported, and the connection drains. Only where there is an `on_takeover`.
        """

    def on_takeover(self, conn: ConnectionBase[M], state: Any) -> None:
        """Called in place of `on_connect` when the connection comes from another process of the server.

        A class that has this keeps its connections through a roll. What it posts leaves after all that the process
        before has sent. Where it raises, or ``state`` is not of its annotation, the connection goes on there.

        Args:
            conn: The connection, with the number, the counts and the deadlines that it had.
            state: What `on_handover` returned there, as of the annotation here.

        Both are ``def``, and so are the other callbacks of a class that has them.
        """

    def on_protocol_error(self, conn: ConnectionBase[M], error: RemoteProtocolError) -> Awaitable[None] | None:
        """Called when the peer broke the framing, after all whole messages before that.

        A last message may be posted here: the connection closes after it, with ``error.reason``. Nothing more is
        received. Not called for what a handler itself raises, nor for a datagram, which is dropped and counted.
        """

    def on_close(self, conn: ConnectionBase[M], reason: CloseReason) -> Awaitable[None] | None:
        """Called last, once, when nothing can be sent or received any more; never where `on_connect` was not called."""


class _Called:
    """What is called for messages: the part that functions and callbacks share."""

    __slots__ = ()

    is_async: bool
    blocking: bool
    converses: ClassVar[Literal[False]] = False  # its connection receives for it

    @property
    def driver(self) -> Driver:
        """How it is to be called, unless more is known to block."""
        if self.is_async:
            return Driver.TASK
        return Driver.THREAD if self.blocking else Driver.PUSH


# What is done with a message that cannot be decoded, where the next one can: ``f(conn, error) -> reply`` is called.
OnBadMessage = Literal["close", "skip"] | Callable[["ConnectionBase[Any]", "RemoteProtocolError"], Any]


@dataclass(frozen=True, slots=True)
class MessageHandler(_Called):
    """A function called once for each message; what it returns is the reply.

    Attributes:
        function: ``f(message)``, or ``f(conn, message)`` when ``takes_connection``.
        takes_connection: It wants the connection too.
        is_async: It is ``async def``.
        blocking: It may block: it is called in a thread of the server's pool.
        cancel_on_close: It is cancelled when its connection has ended.
        is_threaded: It is a coroutine that has another function called in a thread; set by engines.
        on_bad_message: What is done with a message that cannot be decoded.
        handover: Its connections go on in another process, with their ``state``.
    """

    function: Callable[..., Any]
    takes_connection: bool
    is_async: bool
    blocking: bool = False
    cancel_on_close: bool = False
    is_threaded: bool = False
    on_bad_message: OnBadMessage = "close"
    handover: bool = False

    def callbacks(self) -> None:
        """Return None: there are none to be made for each connection."""

    def for_messages(self, conn: ConnectionBase[Any], callbacks: Handler[Any] | None) -> Callable[[Any], Any]:
        """Return what is called with each message of a connection."""
        return partial(self.function, conn) if self.takes_connection else self.function


@dataclass(frozen=True, slots=True)
class ConnectionHandler:
    """A function called once for each connection: a conversation. The connection closes when it returns.

    Attributes:
        function: ``f(conn)``.
        is_async: It is ``async def``.
        cancel_on_close: It is cancelled when its connection has ended, or its peer has and nothing of it is left.
        on_bad_message: What is done with a message that cannot be decoded.
        handover: Its connections go on in another process from their last `Connection.checkpoint`.
    """

    function: Callable[..., Any]
    is_async: bool
    cancel_on_close: bool = False
    on_bad_message: OnBadMessage = "close"
    handover: bool = False
    is_threaded: ClassVar[Literal[False]] = False
    converses: ClassVar[Literal[True]] = True  # it receives for itself

    @property
    def driver(self) -> Driver:
        """How it is to be called."""
        return Driver.TASK if self.is_async else Driver.OWN_THREAD

    def callbacks(self) -> None:
        """Return None: there are none to be made for each connection."""


@dataclass(frozen=True, slots=True)
class CallbackHandler(_Called):
    """Makes a `Handler` for each connection.

    Attributes:
        factory: Called without arguments, once for each connection.
        is_async: At least one of its callbacks is ``async def``.
        blocking: Its callbacks may block: they are called in a thread of the server's pool.
        handler_class: The class that the factory makes, as far as that is known.
        cancel_on_close: A callback at work is cancelled when its connection has ended; `Handler.on_close` is called.
        is_threaded: Its callbacks are coroutines that have others called in threads; set by engines.
        on_bad_message: What is done with a message that cannot be decoded: ``callbacks`` calls that of its `Handler`.
    """

    factory: Callable[[], Handler[Any]]
    is_async: bool
    blocking: bool = False
    handler_class: type[Handler[Any]] = Handler
    cancel_on_close: bool = False
    is_threaded: bool = False
    on_bad_message: Literal["close", "skip", "callbacks"] = "close"
    function: ClassVar[None] = None
    takes_connection: ClassVar[Literal[True]] = True  # as all callbacks do

    @property
    def handover(self) -> bool:
        """Whether its connections go on in another process."""
        return takes_over(self.handler_class)

    def callbacks(self) -> Handler[Any]:
        """Make the callbacks of one connection. Raises what the user's class raises."""
        return self.factory()

    def for_messages(self, conn: ConnectionBase[Any], callbacks: Handler[Any] | None) -> Callable[[Any], Any]:
        """Return what is called with each message of a connection that has these callbacks."""
        assert callbacks is not None
        return partial(callbacks.on_message, conn)


AnyHandler = MessageHandler | ConnectionHandler | CallbackHandler


def answer_to_bad_messages(handler: AnyHandler, callbacks: Handler[Any] | None) -> OnBadMessage:
    """Return what a connection does with a message that cannot be decoded, by its handler and the `Handler` it has."""
    if handler.on_bad_message == "callbacks":
        assert callbacks is not None
        return callbacks.on_bad_message
    return handler.on_bad_message


def for_sessions(handler: AnyHandler) -> AnyHandler:
    """Return a handler as datagrams need it: one that cannot be decoded is dropped, as it is without a session.

    Where each delimits itself, and may be anybody's who forges an address, it is no reason to close. What the handler
    has to say about such messages stays.
    """
    return replace(handler, on_bad_message="skip") if handler.on_bad_message == "close" else handler


def driver_of(handler: AnyHandler, *, blocking: bool) -> Driver:
    """Return how a handler is called where every ``def`` handler is said to block, or is not."""
    driver = handler.driver
    return Driver.THREAD if blocking and driver is Driver.PUSH else driver


def has_on_bad_message(kind: type[Handler[Any]]) -> bool:
    """Say whether a class of handlers has a word about messages that cannot be decoded."""
    return kind.on_bad_message is not Handler.on_bad_message


def has_on_handover(kind: type[Handler[Any]]) -> bool:
    """Say whether a class of handlers has something to say to the next process."""
    return kind.on_handover is not Handler.on_handover


def takes_over(kind: type[Handler[Any]]) -> bool:
    """Say whether a class of handlers goes on with connections of another process."""
    return kind.on_takeover is not Handler.on_takeover


def may_keep_idle(callbacks: Handler[Any] | None) -> bool:
    """Say whether a handler is to be asked about an idle connection: it has an `on_idle`."""
    return callbacks is not None and getattr(callbacks.on_idle, "__func__", None) is not Handler.on_idle


def expects_messages(callbacks: Handler[Any]) -> bool:
    """Say whether a handler waits for messages. Without `on_message` it has no use for one: its peer is not late."""
    return getattr(callbacks.on_message, "__func__", None) is not Handler.on_message


async def settled(result: Awaitable[Any] | Any) -> Any:
    """Await what an ``async def`` callback returned; pass on what a ``def`` one did."""
    return await result if isinstance(result, Awaitable) else result
