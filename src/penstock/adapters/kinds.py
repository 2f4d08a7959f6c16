"""What is served as it is: each kind of foreign handler, how it is told from the others, and what serves it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..codecs.base import Codec
from ..core.decorators import as_service, on_connection, on_message
from ..core.service import Service
from ..core.signatures import is_async, name_of
from ..errors import ApplicationError, ConfigurationError
from ..suggest import did_you_mean
from . import filters, functions, programs, protocols, socketserver, streams
from .twisted_import import is_twisted


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of handler that was not written for Penstock.

    Attributes:
        name: What ``--as`` calls it.
        summary: What it is, in a few words.
        recognises: Whether a target is surely of this kind.
        make: Makes a service of a target, called ``name``; raises `ApplicationError` where it cannot.
    """

    name: str
    summary: str
    recognises: Callable[[object], bool]
    make: Callable[[Any, str], Service[Any]]


def _takes(*names: frozenset[str]) -> Callable[[object], bool]:
    """Return what tells a function by the names of its parameters, all of which are among these."""

    def recognises(target: object) -> bool:
        if not inspect.isroutine(target):
            return False
        parameters = _required(target)
        return len(parameters) == len(names) and all(
            parameter.name in known for parameter, known in zip(parameters, names, strict=True)
        )

    return recognises


def _required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the positional parameters that have no default."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not say
        return []
    return [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]


def _takes_stream(target: object) -> bool:
    """Whether it is a coroutine function of nothing but a stream, by its parameter's name or annotation."""
    if not inspect.isroutine(target) or not is_async(target):
        return False
    parameters = _required(target)
    return len(parameters) == 1 and (
        parameters[0].name in _STREAMS or str(parameters[0].annotation).endswith(("SocketStream", "SocketStream'>"))
    )


def _of_stream(target: Any, name: str) -> Service[bytes]:
    """Make a service of a function of a stream, which needs anyio."""
    try:
        from .anyio_streams import of_stream  # noqa: PLC0415  # nothing else needs it
    except ModuleNotFoundError as error:
        raise ApplicationError(
            f"{name_of(target)} takes a stream of anyio, which is not installed: pip install anyio"
        ) from error
    return of_stream(target, name)


def _of_twisted(target: Any, name: str) -> Service[bytes]:
    """Make a service of what is Twisted's, which needs Twisted."""
    try:
        from .twisted_protocols import of_twisted  # noqa: PLC0415  # nothing else needs it
    except ModuleNotFoundError as error:
        raise ApplicationError(f"{name_of(target)} is for Twisted: {error}: pip install twisted") from error
    return of_twisted(target, name)


def _never(target: object) -> bool:
    """Tell nothing by what it is: only the user says so."""
    return False


_STREAMS: Final = frozenset({"stream", "server_stream", "client_stream", "socket_stream"})
_SOCKETS: Final = frozenset({"sock", "socket", "client", "client_socket", "client_sock", "clientsocket"})
_ADDRESSES: Final = frozenset({"addr", "address", "client_address", "client_addr"})
_READERS: Final = frozenset({"reader", "stream_reader", "client_reader"})
_WRITERS: Final = frozenset({"writer", "stream_writer", "client_writer"})

KINDS: Final = (
    Kind("socketserver", "a request handler's class", socketserver.is_handler_class, socketserver.of_handler),
    Kind("server", "a server of socketserver", socketserver.is_server, socketserver.of_server),
    Kind("protocol", "a protocol of asyncio", protocols.is_protocol, protocols.of_protocol),
    Kind("streams", "async def f(reader, writer)", _takes(_READERS, _WRITERS), streams.of_streams),
    Kind("stream", "async def f(stream), of anyio or like trio's", _takes_stream, _of_stream),
    Kind("socket", "def f(socket, address)", _takes(_SOCKETS, _ADDRESSES), functions.of_function),
    Kind("twisted", "a factory or a protocol of Twisted", is_twisted, _of_twisted),
    Kind("exec", "a program's command line", _never, programs.of_program),
    Kind("filter", "a program's that answers each line with one", _never, filters.of_filter),
)
# Those whose target is the command line of a program, and no object of Python's.
COMMANDS: Final = frozenset({"exec", "filter"})


# What was written for Penstock, where a function could be several things.
_OWN: Final[dict[str, Callable[..., Any]]] = {"message": on_message, "connection": on_connection}
WORDS: Final = (*_OWN, *(kind.name for kind in KINDS))
_CONNECTIONS: Final = frozenset({"conn", "connection", "_conn", "_connection"})


def service_of(
    target: object, *, kind: str | None = None, name: str = "", codec: Codec[Any] | str | None = None
) -> Service[Any]:
    """Make a service of whatever a user names: of Penstock's own forms, or of what was written for something else.

    Args:
        target: A `Service`, a `Handler` class, a function; a handler of a kind that `KINDS` names; of `COMMANDS` a
            command line, as text or as words.
        kind: Which of `WORDS` it is; None to tell by what it is.
        name: What logs call it; its own name by default.
        codec: In place of the service's own.

    Raises:
        ApplicationError: It is none of these, it could be two of them, or it has the wrong shape.
        ConfigurationError: No kind is called that, the codec is unknown, or a foreign handler is to have one.
    """
    if kind is not None and kind not in WORDS:
        raise ConfigurationError(
            f"{kind!r} is no kind of handler{did_you_mean(kind, WORDS)}; they are {', '.join(WORDS)}", "as"
        )
    if kind in _OWN:
        if not inspect.isroutine(target):
            raise ApplicationError(f"--as {kind} is for a plain function")
        made: Service[Any] = _OWN[kind](codec="lines" if codec is None else codec, name=name)(target)
        return made
    foreign = _kind_of(target, kind)
    if foreign is None:
        _refuse_unclear(target)
        return as_service(target, name=name, codec=codec)
    service = foreign.make(target, name)
    return service if codec is None else service.with_codec(codec)


def is_foreign(target: object) -> bool:
    """Whether a target is surely a handler that was written for something else."""
    return _kind_of(target, None) is not None


def _kind_of(target: object, kind: str | None) -> Kind | None:
    for each in KINDS:
        if each.name == kind or (kind is None and each.recognises(target)):
            return each
    return None


def _refuse_unclear(target: object) -> None:
    """Refuse a function of two arguments whose names do not say what they are.

    Raises:
        ApplicationError: It is one.
    """
    if not inspect.isroutine(target):
        return
    parameters = _required(target)
    if len(parameters) != 2:
        return
    first = parameters[0]
    if first.name in _CONNECTIONS or "Connection" in str(first.annotation):
        return
    names = ", ".join(parameter.name for parameter in parameters)
    raise ApplicationError(
        f"{name_of(target)}({names}) could be called as (conn, message), (reader, writer) or (socket, address); say "
        "which: --as message, --as streams, --as socket; or decorate it with on_message"
    )
