"""Services made of what a user writes: a decorated function, a `Handler` class, or what `as_service` is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from ..codecs.base import Codec
from ..codecs.names import BytesCodecName, JsonCodecName, MsgpackCodecName, TextCodecName
from ..config.keywords import timeouts_together
from ..errors import ApplicationError
from .handlers import ConnectionHandler, Handler, MessageHandler, OnBadMessage
from .service import NO_TIMEOUTS, FunctionService, OwnTimeouts, Service, callbacks, codec_of
from .signatures import is_async, name_of, positional, summary_of, wants_connection

if TYPE_CHECKING:
    from ..config.typed import TimeoutOptions
    from .blocking import BlockingConnection
    from .contract import Connection, ConnectionBase
    from .decorated import (
        BytesReply,
        OfAnything,
        OfBytes,
        OfConnection,
        OfJson,
        OfJsonConnection,
        OfMessages,
        OfMsgpack,
        OfText,
        Speaks,
    )

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


@overload
def on_message(
    function: Callable[[bytes], BytesReply] | Callable[[ConnectionBase[bytes], bytes], BytesReply], /
) -> FunctionService[bytes, BytesReply]: ...
@overload
def on_message(
    *,
    codec: BytesCodecName = ...,
    name: str = ...,
    blocking: bool = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    on_bad_message: OnBadMessage = ...,
    handover: bool = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfBytes: ...
@overload
def on_message(
    *,
    codec: TextCodecName,
    name: str = ...,
    blocking: bool = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    on_bad_message: OnBadMessage = ...,
    handover: bool = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfText: ...
@overload
def on_message(
    *,
    codec: JsonCodecName,
    name: str = ...,
    blocking: bool = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    on_bad_message: OnBadMessage = ...,
    handover: bool = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfJson: ...
@overload
def on_message(
    *,
    codec: MsgpackCodecName,
    name: str = ...,
    blocking: bool = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    on_bad_message: OnBadMessage = ...,
    handover: bool = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfMsgpack: ...
@overload
def on_message(
    *,
    codec: Speaks[M, T],
    name: str = ...,
    blocking: bool = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    on_bad_message: OnBadMessage = ...,
    handover: bool = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfMessages[M, T]: ...
@overload
def on_message(
    *,
    codec: str,
    name: str = ...,
    blocking: bool = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    on_bad_message: OnBadMessage = ...,
    handover: bool = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfAnything: ...


def on_message(
    function: Callable[..., Any] | None = None,
    /,
    *,
    codec: Any = "lines",
    name: str = "",
    blocking: bool = False,
    timeouts: OwnTimeouts = NO_TIMEOUTS,
    cancel_on_close: bool = False,
    sessions: bool = False,
    on_bad_message: OnBadMessage = "close",
    handover: bool = False,
    **more_timeouts: Unpack[TimeoutOptions],
) -> Any:  # Any, twice: the overloads say what
    """Make a service of a function called once for each message.

    The function takes ``(message)`` or ``(conn, message)`` and returns the reply, or None for none. ``def`` functions
    run on the loop: that is the fast path. It serves streams and datagrams alike.

    Over ``json-lines`` and ``msgpack`` the annotation of ``message`` is the schema: messages are decoded into it and
    checked, and the connection of a peer that sends something else closes with ``bad_payload``.

    Args:
        function: The function, when used without parentheses.
        codec: A codec, or its name and options: ``"lines"``, ``"length-prefixed:size=2"``.
        name: What logs call the service; the function's own name by default.
        blocking: The function may block: call it in a thread of the server's pool, order kept per connection.
        cancel_on_close: Cancel the function, an ``async def``, when the connection has ended. By default it comes to
            its end: work on a message is not lost because its sender has left.
        sessions: On a datagram address, handle the datagrams of one sender as the messages of one connection: it begins
            with the first, keeps its state, and ends once nothing has come for ``timeouts.idle_s``, whatever was sent
            (``timeouts.receive_idle_s`` in its place, where that is set). At most ``gate.max_sessions`` are open. A
            datagram that cannot be decoded is passed over, unless ``on_bad_message`` is a function.
        on_bad_message: What is done with a message that cannot be decoded and whose end is known, a line that is no
            JSON: ``"close"`` closes the connection with the error's reason, ``"skip"`` passes it over, and a ``def``
            function of ``(conn, error)`` passes it over and answers what it returns. It is called where messages are
            cut, and returns at once. Each is counted. Broken framing closes in any case.
        handover: Its connections go on in the next worker when workers are replaced, with ``conn.state``, which then
            has to be plain data. Of a ``def`` function that does not block.
        timeouts: Timeouts that suit the protocol, as options: ``{"first_message": None, "idle": "1h"}`` for peers that
            may be silent for long. Each holds unless the server is configured otherwise.
        more_timeouts: One by one, under their names as options: ``timeout_idle="1h"``.

    Raises:
        ApplicationError: The function has the wrong signature, or is ``async def`` and ``blocking``; or one of the two
            and ``handover``.
        ConfigurationError: The codec is unknown, or a timeout is.
    """
    own_timeouts = timeouts_together(timeouts, more_timeouts)

    def decorate(function: Callable[..., Any]) -> FunctionService[Any, Any]:
        handler = _message_handler(
            function,
            blocking=blocking,
            cancel_on_close=cancel_on_close,
            on_bad_message=_checked(on_bad_message),
            handover=handover,
        )
        return FunctionService(
            name=name or name_of(function),
            handler=handler,
            codec=codec_of(codec),
            datagram=None if sessions else handler,
            summary=summary_of(function),
            timeouts=own_timeouts,
            sessions=sessions,
        )

    return decorate if function is None else decorate(function)


@overload
def on_connection(
    function: Callable[[Connection[bytes]], R] | Callable[[BlockingConnection[bytes]], R], /
) -> FunctionService[bytes, R]: ...
@overload
def on_connection(
    *,
    codec: BytesCodecName = ...,
    name: str = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    handover: bool = ...,
    on_bad_message: OnBadMessage = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfConnection[bytes]: ...
@overload
def on_connection(
    *,
    codec: TextCodecName,
    name: str = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    handover: bool = ...,
    on_bad_message: OnBadMessage = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfConnection[str]: ...
@overload
def on_connection(
    *,
    codec: JsonCodecName,
    name: str = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    handover: bool = ...,
    on_bad_message: OnBadMessage = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfJsonConnection: ...
@overload
def on_connection(
    *,
    codec: Codec[M],
    name: str = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    handover: bool = ...,
    on_bad_message: OnBadMessage = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfConnection[M]: ...
@overload
def on_connection(
    *,
    codec: str,
    name: str = ...,
    timeouts: OwnTimeouts = ...,
    cancel_on_close: bool = ...,
    sessions: bool = ...,
    handover: bool = ...,
    on_bad_message: OnBadMessage = ...,
    **more_timeouts: Unpack[TimeoutOptions],
) -> OfAnything: ...


def on_connection(
    function: Callable[..., Any] | None = None,
    /,
    *,
    codec: Codec[Any] | str = "lines",
    name: str = "",
    timeouts: OwnTimeouts = NO_TIMEOUTS,
    cancel_on_close: bool = False,
    sessions: bool = False,
    handover: bool = False,
    on_bad_message: OnBadMessage = "close",
    **more_timeouts: Unpack[TimeoutOptions],
) -> Any:
    """Make a service of a function called once for each connection, with the connection.

    ``async def`` gets a `Connection` in one task; ``def`` gets a `BlockingConnection` in a thread of its own from a
    bounded pool. Returning closes the connection gracefully: what was sent arrives. Over ``json-lines`` and ``msgpack``
    X of ``Connection[X]`` is the schema of what is received.

    Args:
        function: The function, when used without parentheses.
        codec: A codec, or its name and options.
        name: What logs call the service; the function's own name by default.
        cancel_on_close: Cancel the function, an ``async def``, when the connection has ended; and when the peer has
            sent EOF and all before it was received, for nothing more will come.
        sessions: As of `on_message`. Without it the service has no use for datagrams, and is refused such addresses.
        handover: Its connections go on in the next worker when workers are replaced, from the last
            `Connection.checkpoint`: the function, an ``async def``, is called there with what that was told in
            ``conn.state``.
        on_bad_message: As of `on_message`.
        timeouts: As of `on_message`.
        more_timeouts: As of `on_message`.

    Raises:
        ApplicationError: The function has the wrong signature.
        ConfigurationError: The codec is unknown, or a timeout is.
    """
    own_timeouts = timeouts_together(timeouts, more_timeouts)

    def decorate(function: Callable[..., Any]) -> FunctionService[Any, Any]:
        positional(function, "a connection handler takes one argument, the connection", 1)
        if handover and not is_async(function):
            raise ApplicationError(
                f"{name_of(function)} waits in a thread: only an async def conversation is handed over"
            )
        return FunctionService(
            name=name or name_of(function),
            handler=ConnectionHandler(
                function,
                is_async=is_async(function),
                cancel_on_close=_cancelled(function, cancel_on_close),
                on_bad_message=_checked(on_bad_message),
                handover=handover,
            ),
            codec=codec_of(codec),
            summary=summary_of(function),
            timeouts=own_timeouts,
            sessions=sessions,
        )

    return decorate if function is None else decorate(function)


def as_service(target: object, *, name: str = "", codec: Codec[Any] | str | None = None) -> Service[Any]:
    """Make a service of whatever a user names: a `Service`, a `Handler` class, a plain function.

    A plain function whose only parameter is called ``conn`` or ``connection``, or is annotated as a connection, is a
    connection handler; any other is a message handler.

    Raises:
        ApplicationError: It is none of these, or its signature is wrong.
        ConfigurationError: The codec is unknown.
    """
    if isinstance(target, Service):
        return target if codec is None else target.with_codec(codec)
    spec = "lines" if codec is None else codec
    if isinstance(target, type) and issubclass(target, Handler):
        return callbacks(target, name=name or target.__name__, codec=spec)
    if isinstance(target, Handler):
        kind = type(target).__name__
        raise ApplicationError(f"expected the class {kind}, got an instance: one is made for each connection")
    if inspect.isroutine(target):
        decorate: Callable[..., OfAnything] = on_connection if wants_connection(target) else on_message
        return decorate(codec=spec, name=name)(target)
    raise ApplicationError(f"expected a Service, a Handler class or a function, got {_kind_of(target)}")


def _message_handler(
    function: Callable[..., Any],
    *,
    blocking: bool,
    cancel_on_close: bool,
    on_bad_message: OnBadMessage,
    handover: bool,
) -> MessageHandler:
    count = positional(function, "a message handler takes (message) or (conn, message)", 1, 2)
    if is_async(function) and blocking:
        raise ApplicationError(f"{name_of(function)} is async: it cannot run in a thread; drop blocking=True or async")
    if handover and (is_async(function) or blocking):
        raise ApplicationError(f"{name_of(function)} may wait: only a def handler that does not block is handed over")
    return MessageHandler(
        function,
        takes_connection=count == 2,
        is_async=is_async(function),
        blocking=blocking,
        cancel_on_close=_cancelled(function, cancel_on_close),
        on_bad_message=on_bad_message,
        handover=handover,
    )


def _checked(on_bad_message: OnBadMessage) -> OnBadMessage:
    if isinstance(on_bad_message, str):
        if on_bad_message not in {"close", "skip"}:
            raise ApplicationError(f"on_bad_message is {on_bad_message!r}: close, skip, or a function (conn, error)")
    else:
        positional(on_bad_message, "on_bad_message takes (conn, error)", 2)
        if is_async(on_bad_message):
            raise ApplicationError(f"{name_of(on_bad_message)} is async: on_bad_message returns at once, as a def does")
    return on_bad_message


def _cancelled(function: Callable[..., Any], cancel_on_close: bool) -> bool:
    if cancel_on_close and not is_async(function):
        raise ApplicationError(f"{name_of(function)} is def: it cannot be cancelled; drop cancel_on_close or use async")
    return cancel_on_close


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
