"""Services: what is done with messages, and over which codec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from ..codecs.base import Codec
from ..codecs.registry import parse_codec
from ..config.keywords import timeouts_of
from ..errors import ApplicationError, ConfigurationError
from .handlers import (
    AnyHandler,
    CallbackHandler,
    Handler,
    MessageHandler,
    has_on_bad_message,
    has_on_handover,
)
from .signatures import check_callbacks, is_async, positional, summary_of

M = TypeVar("M")
R = TypeVar("R")

OwnTimeouts = Mapping[str, object]
NO_TIMEOUTS: Final[OwnTimeouts] = MappingProxyType({})
# Why a foreign handler has no codec, and nothing that a codec's messages have.
CUTS_ITSELF: Final = "cuts the bytes itself"


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
        sessions: On a datagram address the datagrams of one sender are one connection, which `handler` serves.
        threaded: What ``--model threads`` uses instead of an ``async def`` handler; None when there is nothing.
        summary: One line for people.
        timeouts: Timeouts that suit this protocol, as options: ``{"idle": "1h"}``. Each holds unless the server is
            configured otherwise.
        only_datagrams: It makes no sense with connections.
        written_for: What the handler was written for, where that is not Penstock: it cuts the bytes itself.
        without: Options that mean nothing to it, by name, each with the reason. One that is set is refused at start.
        at_start: Called with the server, in its loop, before it serves. Not where each connection has a process, which
            begins by itself what it needs. What it raises keeps the server from starting.
    """

    name: str
    handler: AnyHandler
    codec: Codec[M]
    datagram: MessageHandler | CallbackHandler | None = None
    threaded: AnyHandler | None = None
    summary: str = ""
    timeouts: OwnTimeouts = field(default_factory=dict)
    only_datagrams: bool = False
    written_for: str = ""
    without: Mapping[str, str] = field(default_factory=dict)
    sessions: bool = False
    at_start: Callable[[Any], object] | None = None

    def __post_init__(self) -> None:
        if self.timeouts:
            timeouts_of(self.timeouts)

    def __call__(self, *args: object, **kwargs: object) -> Any:  # Any: what a function of any type returns
        """Call the user's function, or make the user's `Handler`."""
        handler = self.handler
        target = handler.factory if isinstance(handler, CallbackHandler) else handler.function
        return target(*args, **kwargs)

    def with_codec(self, codec: Codec[Any] | str) -> Service[Any]:
        """Return the same service over another codec; what messages are decoded into stays.

        Raises:
            ConfigurationError: No codec is called that, an option of it is wrong, or the handler cuts the bytes itself.
        """
        if self.written_for:
            raise ConfigurationError(self.has_no(CUTS_ITSELF), "codec")
        from ..codecs.objects import ObjectCodec  # noqa: PLC0415  # most codecs need none of it

        before = self.codec
        after = codec_of(codec)
        if isinstance(before, ObjectCodec) and isinstance(after, ObjectCodec) and after.type is Any:
            after = after.for_type(before.type)
        return replace(self, codec=after)

    def has_no(self, reason: str) -> str:
        """Say that it cannot have an option, and why: what a refusal says."""
        return f"{self.name} was written for {self.written_for} and {reason}: leave the option out"

    def with_bad_messages(self, action: Literal["close", "skip"]) -> Service[Any]:
        """Return the same service that does this with a message that cannot be decoded, whatever it says itself."""
        threaded = self.threaded and replace(self.threaded, on_bad_message=action)
        return replace(self, handler=replace(self.handler, on_bad_message=action), threaded=threaded)


class FunctionService(Service[M], Generic[M, R]):
    """A service made of a function: calling it calls the function, and a type checker knows what that returns."""

    if TYPE_CHECKING:

        def __call__(self, *args: object, **kwargs: object) -> R:
            """Call the user's function."""


def codec_of(codec: Codec[Any] | str) -> Codec[Any]:
    """Return the codec that is named, or given.

    Raises:
        ConfigurationError: No codec is called that, or an option of it is wrong.
    """
    return parse_codec(codec) if isinstance(codec, str) else codec


def callbacks(
    factory: Callable[[], Handler[Any]],
    *,
    name: str,
    codec: Codec[Any] | str = "lines",
    summary: str = "",
    handler_class: type[Handler[Any]] | None = None,
    timeouts: OwnTimeouts = NO_TIMEOUTS,
    on_bad_message: Literal["close", "skip"] = "close",
) -> Service[Any]:
    """Make a service of a `Handler` class, or of a function that makes handlers.

    Args:
        factory: Called without arguments for each connection.
        name: What logs call the service.
        codec: A codec, or its name and options.
        summary: One line for people.
        handler_class: The class the factory makes, when the factory is not the class itself.
        timeouts: As of `on_message`.
        on_bad_message: As of `on_message`, for a class that has no ``on_bad_message`` of its own.

    Raises:
        ApplicationError: A callback has the wrong signature or a misspelt name, or the class cannot be made without
            arguments.
        ConfigurationError: The codec is unknown, or a timeout is.
    """
    kind = handler_class or (factory if isinstance(factory, type) else Handler)
    handler = CallbackHandler(
        factory,
        is_async=check_callbacks(kind, Handler),
        handler_class=kind,
        cancel_on_close=bool(getattr(kind, "cancel_on_close", False)),
        on_bad_message="callbacks" if has_on_bad_message(kind) else on_bad_message,
    )
    if handler.on_bad_message == "callbacks" and is_async(handler.handler_class.on_bad_message):
        raise ApplicationError(f"{kind.__name__}.on_bad_message is async: it returns at once, as a def does")
    if has_on_handover(kind) and not handler.handover:
        raise ApplicationError(f"{kind.__name__}.on_handover is never called: there is no on_takeover")
    if handler.handover and handler.is_async:
        raise ApplicationError(f"{kind.__name__} has on_takeover and async callbacks: only those that are def move")
    if isinstance(factory, type):
        positional(factory, f"{factory.__name__} is made without arguments for each connection", 0)
    sessions = bool(getattr(kind, "sessions", False))
    return Service(
        name=name,
        handler=handler,
        codec=codec_of(codec),
        datagram=None if sessions else handler,
        summary=summary or summary_of(kind),
        timeouts=timeouts,
        sessions=sessions,
    )
