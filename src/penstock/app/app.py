"""An application: its services, what it opens and closes, what they share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload
from weakref import WeakValueDictionary

from ..adapters import service_of
from ..codecs.base import Codec
from ..config.keywords import flat
from ..config.options import build
from ..config.services import NAME, PROCESS_WIDE
from ..core.background import Work, close_unused
from ..core.contract import ConnectionBase
from ..core.handlers import Handler
from ..core.service import Service, on_connection, on_message
from ..errors import ApplicationError, ConfigurationError, KeyTakenError
from ..groups import Group, Registry
from ..server.model import apart_from, lacking, refuse_without
from ..server.surroundings import refuse_process_options
from ..suggest import did_you_mean
from .lifespan import Lifespan, Opened
from .state import State

if TYPE_CHECKING:
    from ..codecs.names import BytesCodecName, JsonCodecName, MsgpackCodecName, TextCodecName
    from ..config import ServerConfig
    from ..config.typed import ServerOptions
    from ..core.background import BackgroundTask
    from ..core.blocking import BlockingConnection
    from ..core.contract import Clock, Connection, ConnectionBase
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
    from ..core.events import Observer
    from ..core.handlers import OnBadMessage
    from ..core.service import FunctionService
    from .server import AppServer
    from .trial import AppTest

S = TypeVar("S")
M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")
L = TypeVar("L", bound=Callable[..., Opened])


@dataclass(frozen=True, slots=True)
class Declared:
    """One service of an application, as the code declares it.

    Attributes:
        service: The service.
        options: What was set beside it, by option name.
        drain_after: The services that drain before it does.
    """

    service: Service[Any]
    options: Mapping[str, object]
    drain_after: tuple[str, ...]


class App(Generic[S]):
    """Several services with one life.

    ``penstock serve module:app``, ``penstock.run(app)`` and ``async with penstock.serve(app)`` serve it: lifespans are
    opened in the order in which they were declared, then every address, all or none. At the end the services drain,
    background tasks end, and lifespans are closed in reverse. An application is served once at a time.

    Args:
        name: What logs and the banner call it.
        state: What its handlers share: an object of your own; None for a `State`, which takes whatever is set on it.
        shared_gate: Have one gate for all services, which counts their connections together; else each has its own.
        defaults: Options for all services, as of `penstock.serve`; what a service says for itself goes before.

    Attributes:
        name: As above.
        state: As above. There is one for each process.
        shared_gate: As above.
        services: Its services, by name.

    Raises:
        ConfigurationError: An option is wrong, or there is none of that name.
    """

    state: S

    @overload
    def __init__(
        self: App[State], name: str = ..., *, shared_gate: bool = ..., **defaults: Unpack[ServerOptions]
    ) -> None: ...
    @overload
    def __init__(
        self, name: str = ..., *, state: S, shared_gate: bool = ..., **defaults: Unpack[ServerOptions]
    ) -> None: ...

    def __init__(
        self, name: str = "app", *, state: Any = None, shared_gate: bool = False, **defaults: Unpack[ServerOptions]
    ) -> None:
        self.name = name
        shared: Any = State() if state is None else state  # the overloads say which is S
        self.state = shared
        self.shared_gate = shared_gate
        self._defaults = flat(defaults)
        self._declared: dict[str, Declared] = {}
        self._lifespans: list[Lifespan] = []
        # Names are often a peer's: those of empty groups must not add up. A member's connection keeps its group.
        self._groups: WeakValueDictionary[str, Group[Any]] = WeakValueDictionary()
        self._registries: WeakValueDictionary[str, Registry[Any]] = WeakValueDictionary()
        self._names = threading.Lock()
        self._at_work: AppServer | None = None

    def __repr__(self) -> str:
        return f"<App {self.name}: {', '.join(self._declared) or 'no services'}>"

    @property
    def services(self) -> Mapping[str, Service[Any]]:
        """Its services, by name."""
        return {name: declared.service for name, declared in self._declared.items()}

    @property
    def server(self) -> AppServer | None:
        """What serves it now, or None."""
        return self._at_work

    # -- services ------------------------------------------------------------------------------------------------------

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
        on_bad_message: OnBadMessage = "close",
        drain_after: str | Sequence[str] = (),
        **options: Any,  # as above
    ) -> Any:
        """Add a service of a function called once for each connection: `penstock.on_connection`, and where.

        The arguments are those of `on_message`.
        """

        def decorate(function: Callable[..., Any]) -> Any:
            service = on_connection(
                codec=codec,
                name=name,
                cancel_on_close=cancel_on_close,
                sessions=sessions,
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
        for option in PROCESS_WIDE:
            if option in values:
                raise ConfigurationError(
                    f"{option} is of the whole process, not of one service: give it to App, or where it is served", name
                )
        refuse_without(service, {"model": self._defaults.get("model")} | values)
        after = (drain_after,) if isinstance(drain_after, str) else tuple(drain_after)
        self._declared[name] = Declared(service, values, after)
        return service

    # -- life ----------------------------------------------------------------------------------------------------------

    def lifespan(self, function: L) -> L:
        """Have something opened before the application listens, and closed after it has drained.

        The function takes ``(app)``, or nothing, and yields once: ``async def`` or ``def``, or it returns a context
        manager. What stands after the yield runs at the end, whatever brought that about. Of several, the first to be
        declared is opened first and closed last. All run in one task, so that a task group or a timeout may span the
        yield.

        One that fails before its yield ends the start: those before it are closed, nothing listens, and the command
        ``serve`` exits with status 3. One that fails after it is logged; the others are closed all the same, and the
        status is 1.

        Raises:
            ApplicationError: The function takes other arguments, or cannot yield.
        """
        self._lifespans.append(Lifespan(function))
        return function

    def task(self, work: Work, *, name: str = "") -> BackgroundTask:
        """Run a coroutine beside the services until it ends, or until they have drained: then it is cancelled.

        Lifespans are closed after it has ended. What it raises is told once, as a `TaskFailed` event, and ends nothing.
        One that has not ended when the drain's time is over, and a second after it was cancelled, is told of as a
        `TaskFailed` with a TimeoutError, and given up.

        Args:
            work: A coroutine. It runs on the loop, in a copy of the caller's context.
            name: What logs call it; the coroutine function's name by default.

        Raises:
            ApplicationError: The application is not being served. The coroutine was closed.
            ClosedError: Its end has begun. The coroutine was closed.

        Safe from every thread. May be called in a lifespan, before its yield.
        """
        if self._at_work is None:
            close_unused(work)
            raise ApplicationError("the application is not being served: start background tasks in a lifespan")
        return self._at_work.start_task(work, name)

    # -- who is there --------------------------------------------------------------------------------------------------

    def group(self, name: str) -> Group[Any]:
        """Return the group of that name, of which there is one: its members get what is published to it.

        It lasts, with its counts, while it has members or the program keeps it. Safe from every thread.
        """
        with self._names:
            found = self._groups.get(name)
            if found is None:
                found = self._groups[name] = Group(name)
            return found

    def registry(self, name: str) -> Registry[Any]:
        """Return the registry of that name, of which there is one: connections by key. It lasts as a group does."""
        with self._names:
            found = self._registries.get(name)
            if found is None:
                found = self._registries[name] = Registry(name)
            return found

    def has_group(self, name: str, group: Group[Any]) -> bool:
        """Whether it is the group of that name."""
        return self._groups.get(name) is group

    def has_registry(self, name: str, registry: Registry[Any]) -> bool:
        """Whether it is the registry of that name."""
        return self._registries.get(name) is registry

    def take_place(self, conn: ConnectionBase[Any], place: Sequence[Any]) -> None:
        """Have a connection that comes from another process in a group, or under a key, as it was there.

        Where another connection has the key here by now, and it is for one, that one is the newer: this one closes.
        """
        if place[0] == "group":
            self.group(place[1]).join(conn)
            return
        _, name, key, is_shared = place
        try:
            self.registry(name).hold(_hashable(key), conn, on_taken="join" if is_shared else "refuse")
        except KeyTakenError:
            conn.close(detail="another connection has its key")

    def serve(
        self,
        *,
        services: Mapping[str, ServerOptions] | None = None,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
        **options: Unpack[ServerOptions],
    ) -> AppServer:
        """Make a server for the running loop, to be used as ``async with app.serve() as server``.

        Args:
            services: Options for single services, by name.
            clock: Where time comes from; None for the loop's own.
            observers: Told of every event of every service.
            options: For all services. What is given here goes before what the code declares.

        Raises:
            ApplicationError: It has no service.
            ConfigurationError: An option is wrong or is the whole process's, or there is no such service.
        """
        from .server import AppServer  # noqa: PLC0415  # which knows of this

        configs = self.configs(options, services or {})
        for config in configs.values():
            refuse_process_options(config)
        return AppServer(self, configs, clock=clock, observers=observers)

    def test(self, *, services: Mapping[str, ServerOptions] | None = None, **options: Unpack[ServerOptions]) -> AppTest:
        """Serve it for a test: ``async with app.test() as t: conn = await t.connect("admin")``.

        Each service listens on a free port of this machine, or on a Unix socket in a directory of its own, in place of
        its own addresses. A failure at the end is raised out of the block.

        Args:
            services: Options for single services, by name.
            options: For all services.
        """
        from .trial import AppTest  # noqa: PLC0415  # which knows of this

        return AppTest(self, self.configs(options, services or {}))

    # -- what serves it ------------------------------------------------------------------------------------------------

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
    def drain_after(self) -> dict[str, tuple[str, ...]]:
        """For each service those that drain before it does."""
        return {name: declared.drain_after for name, declared in self._declared.items()}

    @property
    def lifespans(self) -> Sequence[Lifespan]:
        """What is opened and closed, in order."""
        return tuple(self._lifespans)

    def begin(self, server: AppServer) -> None:
        """Be served by ``server``.

        Raises:
            ApplicationError: Another one does that already.
        """
        if self._at_work is not None:
            raise ApplicationError("the application is being served already: it has one life at a time")
        self._at_work = server

    def end(self) -> None:
        """Be served no longer."""
        self._at_work = None


def _hashable(key: Any) -> Hashable:
    """Return a key as it was: tuples come as lists."""
    return tuple(map(_hashable, key)) if isinstance(key, list) else key
