"""What the concurrency model and ``--once`` make of a service's handler."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from ..address import Address, Kind
from ..config import ServerConfig
from ..config.options import DefaultSeconds, values
from ..core.handlers import CallbackHandler, MessageHandler, settled
from ..core.service import Service
from ..errors import ConfigurationError

T = TypeVar("T")

_OF_PROCESSES: Final = ("max_processes",)  # of programs, and of the model that forks, which has every handler


def place(service: Service[Any], config: ServerConfig) -> Service[Any]:
    """Return the service with the handler that suits the concurrency model.

    Raises:
        ConfigurationError: The model is ``threads`` and the handler is a coroutine, which needs a loop.
    """
    if config.model != "threads":
        return service
    if service.threaded is not None:
        return replace(service, handler=service.threaded)
    if service.handler.is_async:
        raise ConfigurationError(
            f"{service.name} is async: it runs on the loop, and --model threads is for def handlers; leave --model out"
        )
    return service


def refuse_unforked(config: ServerConfig, kind: Kind | None, address: Address) -> None:
    """Refuse what ``--model process`` cannot do: the process of a connection takes it over once it was accepted.

    Raises:
        ConfigurationError: Datagrams, or the PROXY protocol.
    """
    if kind is Kind.DATAGRAM:
        raise ConfigurationError(f"{address}: --model process is for connections, and datagrams have none")
    if config.gate.proxy_from:
        raise ConfigurationError(
            f"{address}: --model process has no PROXY protocol: who it speaks for is known after the fork, too late "
            "for the limits"
        )


def lacking(service: Service[Any], model: object) -> dict[str, str]:
    """Return what means nothing to a service under this concurrency model, by option name, each with the reason."""
    of_model = _OF_PROCESSES if model == "process" else ()
    return {name: reason for name, reason in service.without.items() if name not in of_model}


def refuse_without(service: Service[Any], given: Mapping[str, object]) -> None:
    """Refuse options that mean nothing to a service: one that is set is wanted, and would not be had.

    Args:
        service: The service.
        given: What is set for it, by option name; a default is not, and a limit that is off is off in any case.

    Raises:
        ConfigurationError: One of its `Service.without` is.
    """
    plain = values(ServerConfig())
    for name, reason in lacking(service, given.get("model")).items():
        value = given.get(name)
        if value is not None and value != plain[name] and not isinstance(value, DefaultSeconds):
            raise ConfigurationError(service.has_no(reason), name)


def apart_from(without: Collection[str], general: Mapping[str, T]) -> dict[str, T]:
    """Leave out what means nothing to one service of several: what is said of all of them is for the others."""
    return {name: value for name, value in general.items() if name not in without}


def once(service: Service[Any]) -> Service[Any]:
    """Return a service that closes a connection after its first message."""
    handler = service.handler
    if isinstance(handler, MessageHandler):
        return replace(service, handler=_once_message(handler))
    if isinstance(handler, CallbackHandler):
        return replace(service, handler=_once_callbacks(handler))
    return service  # a conversation is one


def _once_message(handler: MessageHandler) -> MessageHandler:
    function = handler.function

    def call(conn: Any, message: Any) -> Any:
        return function(conn, message) if handler.takes_connection else function(message)

    def first(conn: Any, message: Any) -> Any:
        reply = call(conn, message)
        conn.close()
        return reply

    async def first_async(conn: Any, message: Any) -> Any:
        reply = await call(conn, message)
        conn.close()
        return reply

    return replace(handler, function=first_async if handler.is_async else first, takes_connection=True)


def _once_callbacks(handler: CallbackHandler) -> CallbackHandler:
    def factory() -> Any:
        callbacks = handler.factory()
        on_message = callbacks.on_message

        def first(conn: Any, message: Any) -> Any:
            reply = on_message(conn, message)
            conn.close()
            return reply

        async def first_async(conn: Any, message: Any) -> Any:
            reply = await settled(on_message(conn, message))
            conn.close()
            return reply

        callbacks.on_message = first_async if handler.is_async else first  # type: ignore[method-assign]
        return callbacks

    return replace(handler, factory=factory)
