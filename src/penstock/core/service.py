"""Handlers and services: the three ways to write one, and the shape every engine sees."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from ..codecs.base import Codec
from ..codecs.registry import parse_codec
from ..errors import ApplicationError
from ..reasons import CloseReason
from ..suggest import did_you_mean, is_near

if TYPE_CHECKING:
    from .contract import ConnectionBase
    from .deadlines import Deadline

M = TypeVar("M")

# Of a handler class, each with how many arguments it is called besides ``self``.
_CALLBACKS: Final = {"on_connect": 1, "on_message": 2, "on_timeout": 2, "on_close": 2}


class Handler(Generic[M]):
    """Callbacks for one connection; a new instance is made for each, so ``self`` is where its state lives.

    Override what you need; each may be ``def`` or ``async def``. Calls for one connection never overlap and keep the
    order of what happened. An exception ends this connection with ``handler_error``; `on_close` is still called.

    On a datagram address each datagram is a conversation of one message: `on_connect`, `on_message`, `on_close`.
    """

    def on_connect(self, conn: ConnectionBase[M]) -> Awaitable[None] | None:
        """Called when the connection is ready, before any message."""

    def on_message(self, conn: ConnectionBase[M], message: M) -> Awaitable[M | None] | M | None:
        """Handle one message. What it returns is the reply; None is no reply, `NULL` a reply of null."""

    def on_timeout(self, conn: ConnectionBase[M], which: Deadline) -> Awaitable[None] | None:
        """Called when a deadline passed. A last message may be posted here: the connection closes after it."""

    def on_close(self, conn: ConnectionBase[M], reason: CloseReason) -> Awaitable[None] | None:
        """Called last, once, when nothing can be sent or received any more."""


@dataclass(frozen=True, slots=True)
class MessageHandler:
    """A function called once for each message; what it returns is the reply.

    Attributes:
        function: ``f(message)``, or ``f(conn, message)`` when ``takes_connection``.
        takes_connection: It wants the connection too.
        is_async: It is ``async def``.
        blocking: It may block: it is called in a thread of the server's pool.
    """

    function: Callable[..., Any]
    takes_connection: bool
    is_async: bool
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionHandler:
    """A function called once for each connection: a conversation. The connection closes when it returns."""

    function: Callable[..., Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class CallbackHandler:
    """Makes a `Handler` for each connection.

    Attributes:
        factory: Called without arguments, once for each connection.
        is_async: At least one of its callbacks is ``async def``.
        blocking: Its callbacks may block: they are called in a thread of the server's pool.
    """

    factory: Callable[[], Handler[Any]]
    is_async: bool
    blocking: bool = False


AnyHandler = MessageHandler | ConnectionHandler | CallbackHandler


@dataclass(frozen=True, eq=False)
class Service(Generic[M]):
    """A protocol, wherever it listens: a handler, the codec it speaks, a name.

    Made by `on_message`, `on_connection` or `as_service`. Calling it calls the function it was made from, so that a
    test of a handler needs no connection.

    Attributes:
        name: What logs and the banner call it.
        handler: What is done on stream and seqpacket connections.
        codec: What cuts the stream into messages.
        datagram: What is done with a datagram; None when the service makes no sense without connections.
        threaded: What ``--model threads`` uses instead of an ``async def`` handler; None when there is nothing.
        summary: One line for people.
    """

    name: str
    handler: AnyHandler
    codec: Codec[M]
    datagram: MessageHandler | CallbackHandler | None = None
    threaded: AnyHandler | None = None
    summary: str = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's function, or make the user's `Handler`."""
        handler = self.handler
        target = handler.factory if isinstance(handler, CallbackHandler) else handler.function
        return target(*args, **kwargs)

    def with_codec(self, codec: Codec[Any] | str) -> Service[Any]:
        """Return the same service over another codec.

        Raises:
            ConfigurationError: No codec is called that, or an option of it is wrong.
        """
        return replace(self, codec=parse_codec(codec) if isinstance(codec, str) else codec)


Decorated = Callable[[Callable[..., Any]], Service[Any]]


@overload
def on_message(function: Callable[..., Any], /) -> Service[Any]: ...
@overload
def on_message(*, codec: Codec[Any] | str = "lines", name: str = "", blocking: bool = False) -> Decorated: ...


def on_message(
    function: Callable[..., Any] | None = None,
    /,
    *,
    codec: Codec[Any] | str = "lines",
    name: str = "",
    blocking: bool = False,
) -> Service[Any] | Decorated:
    """Make a service of a function called once for each message.

    The function takes ``(message)`` or ``(conn, message)`` and returns the reply, or None for none. ``def`` functions
    run on the loop: that is the fast path. It serves streams and datagrams alike.

    Args:
        function: The function, when used without parentheses.
        codec: A codec, or its name and options: ``"lines"``, ``"length-prefixed:size=2"``.
        name: What logs call the service; the function's own name by default.
        blocking: The function may block: call it in a thread of the server's pool, order kept per connection.

    Raises:
        ApplicationError: The function has the wrong signature, or is ``async def`` and ``blocking``.
        ConfigurationError: The codec is unknown.
    """

    def decorate(function: Callable[..., Any]) -> Service[Any]:
        handler = _message_handler(function, blocking=blocking)
        return Service(
            name=name or _name_of(function),
            handler=handler,
            codec=parse_codec(codec) if isinstance(codec, str) else codec,
            datagram=handler,
            summary=_summary_of(function),
        )

    return decorate if function is None else decorate(function)


@overload
def on_connection(function: Callable[..., Any], /) -> Service[Any]: ...
@overload
def on_connection(*, codec: Codec[Any] | str = "lines", name: str = "") -> Decorated: ...


def on_connection(
    function: Callable[..., Any] | None = None,
    /,
    *,
    codec: Codec[Any] | str = "lines",
    name: str = "",
) -> Service[Any] | Decorated:
    """Make a service of a function called once for each connection, with the connection.

    ``async def`` gets a `Connection` in one task; ``def`` gets a `BlockingConnection` in a thread of its own from a
    bounded pool. Returning closes the connection gracefully: what was sent arrives.

    Args:
        function: The function, when used without parentheses.
        codec: A codec, or its name and options.
        name: What logs call the service; the function's own name by default.

    Raises:
        ApplicationError: The function has the wrong signature.
        ConfigurationError: The codec is unknown.
    """

    def decorate(function: Callable[..., Any]) -> Service[Any]:
        _positional(function, "a connection handler takes one argument, the connection", 1)
        return Service(
            name=name or _name_of(function),
            handler=ConnectionHandler(function, is_async=_is_async(function)),
            codec=parse_codec(codec) if isinstance(codec, str) else codec,
            summary=_summary_of(function),
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
        decorate = on_connection if _wants_connection(target) else on_message
        return decorate(codec=spec, name=name)(target)
    raise ApplicationError(f"expected a Service, a Handler class or a function, got {_kind_of(target)}")


def callbacks(
    factory: Callable[[], Handler[Any]],
    *,
    name: str,
    codec: Codec[Any] | str = "lines",
    summary: str = "",
    handler_class: type[Handler[Any]] | None = None,
) -> Service[Any]:
    """Make a service of a `Handler` class, or of a function that makes handlers.

    Args:
        factory: Called without arguments for each connection.
        name: What logs call the service.
        codec: A codec, or its name and options.
        summary: One line for people.
        handler_class: The class the factory makes, when the factory is not the class itself.

    Raises:
        ApplicationError: A callback has the wrong signature or is misspelt, or the class needs arguments.
        ConfigurationError: The codec is unknown.
    """
    kind = handler_class or (factory if isinstance(factory, type) else Handler)
    is_async = False
    _refuse_misspelt(kind)
    for method, arguments in _CALLBACKS.items():
        function = getattr(kind, method)
        expected = getattr(Handler, method)
        _positional(
            function,
            f"{kind.__name__}.{method} is called as {method}{_parameters(expected)}",
            arguments + 1,
        )
        is_async = is_async or _is_async(function)
    if isinstance(factory, type):
        _positional(factory, f"{factory.__name__} is made without arguments for each connection", 0)
    handler = CallbackHandler(factory, is_async=is_async)
    return Service(
        name=name,
        handler=handler,
        codec=parse_codec(codec) if isinstance(codec, str) else codec,
        datagram=handler,
        summary=summary or _summary_of(kind),
    )


def _refuse_misspelt(kind: type[Handler[Any]]) -> None:
    """Refuse a class that has something near a callback and not that callback: nothing would ever call it.

    Raises:
        ApplicationError: It has.
    """
    missing = [name for name in _CALLBACKS if getattr(kind, name) is getattr(Handler, name)]
    own = {name for base in kind.__mro__ if base not in Handler.__mro__ for name in vars(base)}
    for name in sorted(own):
        if callable(getattr(kind, name)) and not name.startswith("_") and is_near(name, missing):
            hint = did_you_mean(name, missing)
            raise ApplicationError(
                f"{kind.__name__}.{name} is never called{hint} (the callbacks are {', '.join(_CALLBACKS)})"
            )


async def settled(result: Awaitable[Any] | Any) -> Any:
    """Await what an ``async def`` callback returned; pass on what a ``def`` one did."""
    return await result if isinstance(result, Awaitable) else result


def _message_handler(function: Callable[..., Any], *, blocking: bool = False) -> MessageHandler:
    count = _positional(function, "a message handler takes (message) or (conn, message)", 1, 2)
    is_async = _is_async(function)
    if is_async and blocking:
        raise ApplicationError(f"{_name_of(function)} is async: it cannot run in a thread; drop blocking=True or async")
    return MessageHandler(function, takes_connection=count == 2, is_async=is_async, blocking=blocking)


def _positional(function: Callable[..., Any], expected: str, *counts: int) -> int:
    """Return with how many positional arguments the function can be called, the least of ``counts`` that fits.

    Raises:
        ApplicationError: None of them does; the message ends with the signature it has.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not say: take the caller's word
        return counts[0]
    for count in counts:
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count
    raise ApplicationError(f"{expected}; {_name_of(function)}{signature} cannot be called like that")


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _wants_connection(function: Callable[..., Any]) -> bool:
    try:
        parameters = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.default is parameter.empty
        ]
    except (TypeError, ValueError):
        return False
    if len(parameters) != 1:
        return False
    (parameter,) = parameters
    annotation = parameter.annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__qualname__", str(annotation))
    return parameter.name in ("conn", "connection") or "Connection" in text


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", None) or type(function).__name__


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _parameters(function: Callable[..., Any]) -> str:
    return "(" + ", ".join(inspect.signature(function).parameters) + ")"


def _summary_of(function: Callable[..., Any]) -> str:
    documentation = inspect.getdoc(function) or ""
    return documentation.partition("\n")[0]
