"""The services that an application declares: what they serve, where, and with which options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from ..adapters import service_of
from ..codecs.base import Codec
from ..config.keywords import flat
from ..config.options import build
from ..config.services import NAME, OWN_WORKERS, PROCESS_WIDE, check_own_workers
from ..core.decorators import on_connection, on_message
from ..core.handlers import Handler
from ..core.service import Service
from ..errors import ApplicationError, ConfigurationError
from ..server.model import apart_from, lacking, refuse_without
from ..suggest import did_you_mean

if TYPE_CHECKING:
    from ..codecs.names import BytesCodecName, JsonCodecName, MsgpackCodecName, TextCodecName
    from ..config import ServerConfig
    from ..config.typed import ServerOptions
    from ..core.blocking import BlockingConnection
    from ..core.contract import Connection, ConnectionBase
    from ..core.decorated import (
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
    from ..core.handlers import OnBadMessage
    from ..core.service import FunctionService
    from .server import AppServer

M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Declared:
    """One service of an application, as the code declares it.

    Attributes:
        service: The service.
        options: What was set beside it, by option name.
        drain_after: The services that drain before it does.
        workers: How many workers have it, as of `check_own_workers`.
    """

    service: Service[Any]
    options: Mapping[str, object]
    drain_after: tuple[str, ...]
    workers: object = None


class Declaring:
    """The part of an application that its services are declared with, and that makes their configurations.

    Args:
        name: What logs and the banner call the application.
        defaults: Options for all services, by option name; what a service says for itself goes before.

    Attributes:
        name: As above.
    """

    def __init__(self, name: str, defaults: Mapping[str, object]) -> None:
        self.name = name
        self._defaults = dict(defaults)
        self._declared: dict[str, Declared] = {}
        self._at_work: AppServer | None = None

    @property
    def services(self) -> Mapping[str, Service[Any]]:
        """Its services, by name."""
        return {name: declared.service for name, declared in self._declared.items()}

    @overload
    def on_message(
        self, function: Callable[[bytes], BytesReply] | Callable[[ConnectionBase[bytes], bytes], BytesReply], /
    ) -> FunctionService[bytes, BytesReply]: ...
    @overload
    def on_message(
        self,
        *,
        codec: BytesCodecName = ...,
        name: str = ...,
        blocking: bool = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        on_bad_message: OnBadMessage = ...,
        handover: bool = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfBytes: ...
    @overload
    def on_message(
        self,
        *,
        codec: TextCodecName,
        name: str = ...,
        blocking: bool = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        on_bad_message: OnBadMessage = ...,
        handover: bool = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfText: ...
    @overload
    def on_message(
        self,
        *,
        codec: JsonCodecName,
        name: str = ...,
        blocking: bool = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        on_bad_message: OnBadMessage = ...,
        handover: bool = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfJson: ...
    @overload
    def on_message(
        self,
        *,
        codec: MsgpackCodecName,
        name: str = ...,
        blocking: bool = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        on_bad_message: OnBadMessage = ...,
        handover: bool = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfMsgpack: ...
    @overload
    def on_message(
        self,
        *,
        codec: Speaks[M, T],
        name: str = ...,
        blocking: bool = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        on_bad_message: OnBadMessage = ...,
        handover: bool = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfMessages[M, T]: ...
    @overload
    def on_message(
        self,
        *,
        codec: str,
        name: str = ...,
        blocking: bool = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        on_bad_message: OnBadMessage = ...,
        handover: bool = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfAnything: ...

    def on_message(
        self,
        function: Callable[..., Any] | None = None,
        *,
        codec: Any = "lines",
        name: str = "",
        blocking: bool = False,
        cancel_on_close: bool = False,
        sessions: bool = False,
        on_bad_message: OnBadMessage = "close",
        handover: bool = False,
        drain_after: str | Sequence[str] = (),
        **options: Any,  # as above
    ) -> Any:  # Any, twice: the overloads say what
        """Add a service of a function called once for each message: `penstock.on_message`, and where it is served.

        Args:
            function: The function, when used without parentheses.
            codec: As of `penstock.on_message`.
            name: What the service is called, by which it is configured; the function's own name by default.
            blocking: As of `penstock.on_message`.
            cancel_on_close: As of `penstock.on_message`.
            sessions: As of `penstock.on_message`.
            on_bad_message: As of `penstock.on_message`.
            handover: As of `penstock.on_message`.
            drain_after: The services that have to have drained before this one begins to.
            options: As of `penstock.serve`, for this service: ``bind=``, ``timeouts={"idle": "5m"}``, ``model=``, …
                ``workers=1`` has one of the workers serve it, where there are several.

        Raises:
            ApplicationError: The function or the name is wrong, or the name is taken.
            ConfigurationError: The codec or an option is wrong.
        """

        def decorate(function: Callable[..., Any]) -> Any:
            service = on_message(
                codec=codec,
                name=name,
                blocking=blocking,
                cancel_on_close=cancel_on_close,
                sessions=sessions,
                on_bad_message=on_bad_message,
                handover=handover,
            )(function)
            return self._add(service, drain_after, options)

        return decorate if function is None else decorate(function)

    @overload
    def on_connection(
        self, function: Callable[[Connection[bytes]], R] | Callable[[BlockingConnection[bytes]], R], /
    ) -> FunctionService[bytes, R]: ...
    @overload
    def on_connection(
        self,
        *,
        codec: BytesCodecName = ...,
        name: str = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        handover: bool = ...,
        on_bad_message: OnBadMessage = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfConnection[bytes]: ...
    @overload
    def on_connection(
        self,
        *,
        codec: TextCodecName,
        name: str = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        handover: bool = ...,
        on_bad_message: OnBadMessage = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfConnection[str]: ...
    @overload
    def on_connection(
        self,
        *,
        codec: JsonCodecName,
        name: str = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        handover: bool = ...,
        on_bad_message: OnBadMessage = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfJsonConnection: ...
    @overload
    def on_connection(
        self,
        *,
        codec: Codec[M],
        name: str = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        handover: bool = ...,
        on_bad_message: OnBadMessage = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfConnection[M]: ...
    @overload
    def on_connection(
        self,
        *,
        codec: str,
        name: str = ...,
        cancel_on_close: bool = ...,
        sessions: bool = ...,
        handover: bool = ...,
        on_bad_message: OnBadMessage = ...,
        drain_after: str | Sequence[str] = ...,
        **options: Unpack[ServerOptions],
    ) -> OfAnything: ...

    def on_connection(
        self,
        function: Callable[..., Any] | None = None,
        *,
        codec: Codec[Any] | str = "lines",
        name: str = "",
        cancel_on_close: bool = False,
        sessions: bool = False,
        handover: bool = False,
        on_bad_message: OnBadMessage = "close",
        drain_after: str | Sequence[str] = (),
        **options: Any,  # as above
    ) -> Any:
        """Add a service of a function called once for each connection: `penstock.on_connection`, and where.

        The arguments are those of `on_message`, and ``handover`` that of `penstock.on_connection`.
        """

        def decorate(function: Callable[..., Any]) -> Any:
            service = on_connection(
                codec=codec,
                name=name,
                cancel_on_close=cancel_on_close,
                sessions=sessions,
                handover=handover,
                on_bad_message=on_bad_message,
            )(function)
            return self._add(service, drain_after, options)

        return decorate if function is None else decorate(function)

    def add(
        self,
        target: Service[Any] | type[Handler[Any]] | Callable[..., Any],
        *,
        codec: Codec[Any] | str | None = None,
        name: str = "",
        drain_after: str | Sequence[str] = (),
        **options: Unpack[ServerOptions],
    ) -> Service[Any]:
        """Add whatever `penstock.serve` serves: a `Handler` class, a service that was made elsewhere, a function.

        Args:
            target: What to serve.
            codec: In place of the service's own.
            name: What the service is called; its own name by default.
            drain_after: As of `on_message`.
            options: As of `on_message`.

        Returns:
            The service.

        Raises:
            ApplicationError: The target or the name is wrong, or the name is taken.
            ConfigurationError: The codec or an option is wrong.
        """
        return self._add(service_of(target, codec=codec), drain_after, options, name)

    def _add(
        self,
        service: Service[Any],
        drain_after: str | Sequence[str],
        options: Mapping[str, Any],
        name: str = "",
    ) -> Service[Any]:
        name = name or service.name
        if self._at_work is not None:
            raise ApplicationError(f"the application is being served: it is too late to add {name}")
        if not NAME.fullmatch(name):
            raise ApplicationError(
                f"{name!r} is no name for a service, which options are given by: letters, digits, - and _; write name="
            )
        if name in self._declared:
            raise ApplicationError(f"there are two services called {name}; give one another name with name=")
        values = flat(options)
        workers = _own_workers(values, name)
        for option in PROCESS_WIDE:
            if option in values:
                raise ConfigurationError(
                    f"{option} is of the whole process, not of one service: give it to App, or where it is served", name
                )
        refuse_without(service, {"model": self._defaults.get("model")} | values)
        after = (drain_after,) if isinstance(drain_after, str) else tuple(drain_after)
        self._declared[name] = Declared(service, values, after, workers)
        return service

    # -- what they are served with -------------------------------------------------------------------------------------

    def configs(self, options: Mapping[str, Any], services: Mapping[str, Mapping[str, Any]]) -> dict[str, ServerConfig]:
        """Return the configuration of each service, by name, with these options over what the code declares.

        Raises:
            ApplicationError: It has no service.
            ConfigurationError: An option is wrong, or there is no such service.
        """
        self.check_services()
        for name in services:
            if name not in self._declared:
                hint = did_you_mean(name, self._declared) or f"; there are {', '.join(self._declared)}"
                raise ConfigurationError(f"there is no service {name!r}{hint}", "services")
        general = flat(options)
        self.check_general(general)
        found = {}
        for name in self._declared:
            try:
                special = flat(services.get(name, {}))
                _own_workers(special, OWN_WORKERS)  # here is one process, which serves all
                service, said = self._declared[name].service, self.declared_values(name) | general
                model = (said | special).get("model")
                refuse_without(service, special | {"model": model})
                found[name] = build(apart_from(lacking(service, model), said) | special)
            except ConfigurationError as error:
                raise ConfigurationError(error.problem, f"{name}: {error.where}" if error.where else name) from None
        return found

    def check_services(self) -> None:
        """Refuse to be served without a service.

        Raises:
            ApplicationError: There is none.
        """
        if not self._declared:
            raise ApplicationError(
                f"the application {self.name} has no service: decorate a function with its on_message"
            )

    def check_general(self, general: Iterable[str], where: str | None = None) -> None:
        """Refuse what cannot hold for several services at once.

        Args:
            general: The names of options that are given for all of them.
            where: Where they are given.

        Raises:
            ConfigurationError: One of them is an address, or ends the server after one message.
        """
        if len(self._declared) > 1:
            names = list(self._declared)
            if "bind" in general:
                raise ConfigurationError(
                    f"an address is one service's: write --bind {names[0]}=ADDRESS, or services={{{names[0]!r}: …}} in "
                    f"code; the services are {', '.join(names)}",
                    where or "bind",
                )
            if "once" in general:
                raise ConfigurationError("once is for a service that is alone", where or "once")

    def declared_values(self, name: str) -> dict[str, object]:
        """Return what the code says of a service, by option name."""
        return self._defaults | dict(self._declared[name].options)

    @property
    def own_workers(self) -> dict[str, object]:
        """How many workers have a service, of those that say it."""
        return {name: each.workers for name, each in self._declared.items() if each.workers is not None}

    @property
    def drain_after(self) -> dict[str, tuple[str, ...]]:
        """For each service those that drain before it does."""
        return {name: declared.drain_after for name, declared in self._declared.items()}


def _own_workers(values: dict[str, Any], where: str) -> object:
    """Take out of a service's options how many workers have it; None for all.

    Raises:
        ConfigurationError: It is another number than 1.
    """
    found = values.pop(OWN_WORKERS, None)
    found = None if found == "none" else found
    check_own_workers(found, where)
    return found
