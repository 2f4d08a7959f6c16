"""An application: its services, what it opens and closes, what they share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack, overload
from weakref import WeakValueDictionary

from ..config.keywords import flat
from ..core.background import Work, close_unused
from ..core.contract import ConnectionBase
from ..core.handover import key_of
from ..errors import ApplicationError, KeyTakenError
from ..groups import Group, Registry
from ..groups.elsewhere import Scope
from ..server.surroundings import refuse_process_options
from .declaring import Declaring
from .lifespan import Lifespan, Opened
from .state import State

if TYPE_CHECKING:
    from ..config.typed import ServerOptions
    from ..core.background import BackgroundTask
    from ..core.contract import Clock, ConnectionBase
    from ..core.events import Observer
    from .server import AppServer
    from .trial import AppTest

S = TypeVar("S")
M = TypeVar("M")
R = TypeVar("R")
T = TypeVar("T")
L = TypeVar("L", bound=Callable[..., Opened])


class App(Declaring, Generic[S]):
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
        super().__init__(name, flat(defaults))
        shared: Any = State() if state is None else state  # the overloads say which is S
        self.state = shared
        self.shared_gate = shared_gate
        self._lifespans: list[Lifespan] = []
        # Names are often a peer's: those of empty groups must not add up. A member's connection keeps its group.
        self._groups: WeakValueDictionary[str, Group[Any]] = WeakValueDictionary()
        self._registries: WeakValueDictionary[str, Registry[Any]] = WeakValueDictionary()
        self._names = threading.RLock()  # a signal handler, or a finaliser, may ask in the middle of a call

    def __repr__(self) -> str:
        return f"<App {self.name}: {', '.join(self._declared) or 'no services'}>"

    @property
    def server(self) -> AppServer | None:
        """What serves it now, or None."""
        return self._at_work

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

    def group(self, name: str, *, scope: Scope = "workers") -> Group[Any]:
        """Return the group of that name, of which there is one: its members get what is published to it.

        It lasts, with its counts, while it has members or the program keeps it. Safe from every thread.

        Args:
            name: What it is called.
            scope: As of `Group`. It is that of the first call.

        Raises:
            ConfigurationError: There is no such scope.
        """
        with self._names:
            found = self._groups.get(name)
            if found is None:
                found = self._groups.setdefault(name, Group(name, scope=scope if name else "process"))
            return found

    def registry(self, name: str, *, scope: Scope = "workers") -> Registry[Any]:
        """Return the registry of that name, of which there is one: connections by key. It lasts as a group does.

        Args:
            name: What it is called.
            scope: As of `Registry`. It is that of the first call.

        Raises:
            ConfigurationError: There is no such scope.
        """
        with self._names:
            found = self._registries.get(name)
            if found is None:
                found = self._registries.setdefault(name, Registry(name, scope=scope if name else "process"))
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
            _, name, *told = place  # where it has got to, for what spans the workers
            group = self.group(name, scope="workers" if told else "process")
            group.join_from(conn, dict(told[0]) if told else None, *told[1:])
            return
        _, name, key, is_shared, order, scope = place
        try:
            registry = self.registry(name, scope=scope)
            registry.take(key_of(key), conn, "join" if is_shared else "refuse", order)
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
