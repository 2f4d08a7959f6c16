"""A service on addresses: opened, served, drained, closed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from ..config import ServerConfig
from ..config.options import values
from ..core.contract import Clock, ConnectionBase
from ..core.events import (
    Draining,
    Listening,
    Observer,
    Resumed,
    Stopped,
    Suspended,
)
from ..core.gate import Gate
from ..core.rules import FIXED, Rules
from ..core.service import Service
from ..core.turns import turn_of
from ..engines.aside import aside
from ..engines.base import EngineServer
from ..engines.link import LayerMaker
from ..engines.listener import Listener
from ..engines.plan import Plan
from ..errors import StoppedError
from ..reasons import CloseReason
from ..telemetry.log import LogObserver, logger
from ..telemetry.stats import Stats
from .access_files import AccessFiles, Signature
from .belongings import Belongings
from .certificate_files import follow, signatures
from .choice import Choice
from .farewell import Farewell
from .observers import Observers, Once
from .reload import with_live
from .setup import Setup
from .shared import DEFAULT, Default, Shared
from .sockets import close_listeners, open_listeners
from .tls import Material, warnings_now
from .upkeep import Upkeep
from .warnings import warnings_about

if TYPE_CHECKING:
    import socket

    from ..address import Peer
    from ..engines.base import Adoption
    from ..engines.handover import Mover
    from ..engines.luggage import Arrival


class Server(Belongings):
    """One service on its addresses, in the running event loop.

    Used as ``async with serve(…) as server:``; leaving the block drains it. All methods belong to the loop's thread.

    Args:
        service: What to serve.
        config: How.
        clock: Where time comes from; None for the loop's own.
        observers: Told of every event, beside the log and `stats`. What one raises is logged, once a second at most.
        warn: Told of what the configuration allows and perhaps does not mean, a sentence each; None for the log.
        shared: What it shares with the other servers of an application; None when it is alone.

    Raises:
        ApplicationError: What the handler is annotated to take is not what its codec gives.

    Attributes:
        service: What is served, with the codec that was asked for, decoding into what the handler is annotated with.
        app: The `penstock.App` it is part of, or None.
        stats: Counts of what happened so far.
        gate: Decides who is let in, from the start on; the same object from here to the end.
            ``server.gate.set(max_per_peer=15)`` changes its mind, and holds after the start when said before it.
    """

    def __init__(
        self,
        service: Service[Any],
        config: ServerConfig,
        *,
        clock: Clock | None = None,
        observers: Iterable[Observer] = (),
        warn: Callable[[str], object] | None = None,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared = shared or Shared()
        self._setup = Setup(service, config, shared)
        self.service = self._setup.service
        self.stats = Stats()
        self.gate = shared.gate or Gate()
        self._clock = clock
        self._warn = warn or logger.warning
        log = LogObserver(access=config.access_log, course=shared.tells_course)
        super().__init__(shared.app, Observers(self.service, [self.stats, log, *observers]))
        if config.once:
            self._observers.append(Once(self._end_soon))
        self._upkeep = Upkeep(self.config, shared, self.gate, self._observers.emit)
        self._listeners: list[Listener] = []
        self._at_work: EngineServer | None = None
        self._told_to_end = self._suspended = False  # before the start
        self._stopped: asyncio.Future[None] | None = None
        self._rules = Rules()  # what the configuration says, before what was set at the gate
        self._end_at: float | None = None  # when what has not ended by then is given up
        self.is_last_at: Callable[[Listener], bool] = lambda _: False
        self._farewell: Farewell | None = None

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def config(self) -> ServerConfig:
        """How it serves."""
        return self._setup.config

    @property
    def is_in_one(self) -> bool:
        """Whether one worker has it, where there are several."""
        return self._shared.is_in_one

    @property
    def is_elsewhere(self) -> bool:
        """Whether that is another one: then it is not started here."""
        return self._shared.is_elsewhere

    @property
    def choice(self) -> Choice:
        """Which engine serves, why, and what it calls.

        Raises:
            ConfigurationError: As of `Setup.choice`.
        """
        return self._setup.choice

    @property
    def addresses(self) -> Sequence[str]:
        """Where it listens, with the ports the system chose; empty before the start."""
        return [str(listener.address) for listener in self._listeners]

    @property
    def engine_name(self) -> str:
        """Which engine moves the bytes."""
        return self.choice.engine.name

    @property
    def threads(self) -> int:
        """The most threads that handlers may occupy."""
        return self._setup.threads

    @property
    def engine_reason(self) -> str:
        """Why that one."""
        return self.choice.reason

    @property
    def tls_reason(self) -> str:
        """What enciphers, and why that; empty where no TLS is spoken."""
        return self._setup.tls_reason

    @property
    def certificate_warnings(self) -> Sequence[str]:
        """What to warn of about the certificates, once they were loaded: by `check`, or the start."""
        return warnings_now(self._setup.tls)

    @property
    def connections(self) -> Collection[ConnectionBase[Any]]:
        """The connections that have not ended, handler included."""
        return () if self._at_work is None else self._at_work.connections

    @property
    def servers(self) -> Mapping[str, Server]:
        """Itself, by its service's name: an application has several."""
        return {self.service.name: self}

    @property
    def now(self) -> float:
        """The instant, on the clock of its connections."""
        return (self._clock or self.loop).time()

    @property
    def is_ending(self) -> bool:
        """Whether it was told to end."""
        return self._told_to_end

    @property
    def messages_in(self) -> int:
        """Messages that came in since the start: of connections, ended or not, and datagrams that were handled."""
        return 0 if self._at_work is None else self._at_work.messages[0] + self.stats.datagrams

    @property
    def messages_out(self) -> int:
        """Messages that were taken to be sent since the start, answers to datagrams included."""
        return 0 if self._at_work is None else self._at_work.messages[1]

    @property
    def orphans(self) -> Sequence[tuple[ConnectionBase[Any], str]]:
        """Connections that have ended and whose handlers have not, each with where that waits; the oldest first."""
        return [(orphan, orphan.handler_place()) for orphan, _ in self.gate.orphans]

    @property
    def cut_off(self) -> int:
        """How many connections were cut because the server ended: at the drain deadline, or by `stop`."""
        return self.stats.closed[CloseReason.DRAIN_TIMEOUT] + self.stats.closed[CloseReason.STOPPED]

    # -- life ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open every address and begin to serve.

        Raises:
            ApplicationError: What the service begins with the server failed: a factory of Twisted's.
            ConfigurationError: The service, the addresses and the model do not go together. Nothing was opened.
            BindError: An address cannot be listened on. Those opened before it were closed again.
            LimitError: The system gives no thread, or does not say how many descriptors there may be.
            StoppedError: It was told to end before, or meanwhile. Nothing is open.
        """
        self._refuse_start()
        setup, config, supervision = self._setup, self.config, self._shared.supervision
        access = AccessFiles(config.gate.allow, config.gate.deny)
        before = access.signature()
        setup.check_process()
        try:
            rules, plan = setup.rules_of(config, access.load()), self._plan()
            await self.obtain()
            self._loop = asyncio.get_running_loop()
            self._listeners = listeners = setup.furnish(self._listeners, self._warn)
            self._stopped = self._loop.create_future()
            self._rules = rules
            if self._shared.begins_gate:
                if supervision is not None:
                    name = self._shared.counts_as or self.service.name
                    counts = await supervision.counts(name, setup.most_here(), self.gate.wake)
                    if counts is not None:
                        self.gate.share(counts)
                self.gate.begin(rules)
            nursery = self._shared.nursery
            self._upkeep.prepare(self._loop)
            if self.service.at_start is not None and nursery is None:
                self.service.at_start(self)
            if self._told_to_end:
                raise StoppedError(f"{self.service.name} was told to stop before it served")
            if nursery is None:  # after all that may fail: an engine's server that has not begun to serve has no end
                self._at_work = self.choice.engine.serve(listeners, plan)
            else:
                if setup.tls is not None:
                    await nursery.secured()
                    self._refuse_start()
                self._at_work = nursery.serve(self._loop, listeners, plan)
            for warning in [*warnings_about(config, self.addresses), *warnings_now(setup.tls)]:
                self._warn(warning)
            self._at_work.start()
            if self._suspended:
                self._at_work.suspend()
        except BaseException:
            self._upkeep.stop()
            self._at_work = None
            self._close_listeners()
            try:
                await self._background.give_back()
            finally:
                self._tell_stopped()
            raise
        self._upkeep.follow(self._loop, access, before)
        self._upkeep.start(self._loop, self._at_work)
        for listener in listeners:
            self._observers.emit(Listening(listener))
        if setup.tls is not None:
            logger.info("certificates: %s", setup.tls.material.expiry(time.time()))
            self._follow_certificates(setup.certificates)
        if setup.throw_away is not None:
            logger.warning("tls_dev: a temporary certificate; clients trust it with --ca %s", setup.throw_away.ca)

    def check(self) -> None:
        """Refuse what `start` would refuse before it opens an address. Needs no loop.

        Raises:
            ConfigurationError: As `start`.
        """
        self._plan()
        self._setup.check(AccessFiles(self.config.gate.allow, self.config.gate.deny))

    def _refuse_start(self) -> None:
        if self._told_to_end:
            raise StoppedError(f"{self.service.name} was told to stop before it served")

    def _plan(self) -> Plan:
        return self._setup.plan(
            emit=self._observers.emit,
            tally=self._observers,
            on_stopped=self._engine_stopped,
            gate=self.gate,
            clock=self._clock,
            server=self,
        )

    def open(self) -> None:
        """Open every address, and accept nobody yet: who connects waits in the backlog. May be repeated.

        `start` does so where it was not done before. A start that fails closes them, and so does `close`.

        Raises:
            ConfigurationError, BindError: As `start`.
        """
        if not self._listeners:
            self._listeners = open_listeners(**self._setup.to_open())
            self._secure_nursery()

    async def obtain(self) -> None:
        """Open every address, or, in a worker, have its supervisor do so, which keeps them: else as `open`."""
        supervision = self._shared.supervision
        if supervision is None:
            self.open()
        elif not self._listeners:
            self._listeners = await supervision.listeners(self.service.name, **self._setup.to_open())
            self._secure_nursery()

    def close(self) -> None:
        """Close what `open` opened and no `start` has used. May be repeated."""
        if self._at_work is None:
            self._close_listeners()

    async def reload(self, config: ServerConfig) -> tuple[str, ...]:
        """Go by those values of ``config`` that may change while the server serves: see `with_live`.

        Files of networks and of TLS are read again. Open connections stay. What was `set` at the gate holds, unless the
        configuration now says something else than before.

        Returns:
            The names of the options that have changed.

        Raises:
            ConfigurationError: A value or a file is refused. Nothing has changed.
        """
        new = with_live(self.config, config)
        before, after = values(self.config), values(new)
        changed = tuple(name for name, value in after.items() if value != before[name])
        if self._at_work is None:
            self._setup.config = new
            return changed
        access = AccessFiles(new.gate.allow, new.gate.deny)
        signature, networks = await aside(lambda: (access.signature(), access.load()), "penstock-networks")
        tls = self._setup.tls
        has_files = tls is not None and not new.tls.dev
        if has_files:
            certificates, material = await aside(
                lambda: (signatures(new.tls), Material(new.tls)), "penstock-certificates"
            )
        else:
            certificates, material = [], None
        rules = self._setup.rules_of(new, networks)
        if material is not None:
            await self._exchange_nursery(material)
        changes = {
            spec.name: value
            for spec in dataclasses.fields(Rules)
            if spec.name not in FIXED and (value := getattr(rules, spec.name)) != getattr(self._rules, spec.name)
        }
        self.gate.set(**changes)
        self._setup.config, self._rules = new, rules
        if material is not None:
            self._show(material)
            self._follow_certificates(certificates)
            for warning in warnings_now(tls):
                self._warn(warning)
        self._upkeep.follow(self.loop, access, signature)
        return changed

    async def _exchange(self, material: Material) -> None:
        """Show other certificates from now on, here and in the processes of connections.

        Raises:
            TlsMaterialError: Those cannot. Nothing has changed.
        """
        await self._exchange_nursery(material)
        self._show(material)

    async def _exchange_nursery(self, material: Material) -> None:
        nursery = self._shared.nursery
        if nursery is not None:
            await nursery.exchange(material.config)

    def _show(self, material: Material) -> None:
        """Show other certificates from now on, and say until when they are valid."""
        tls = self._setup.tls
        assert tls is not None
        tls.exchange(material)
        logger.info("certificates: %s", material.expiry(time.time()))

    def _follow_certificates(self, before: list[Signature]) -> None:
        tls = self._setup.tls
        if tls is not None and self._setup.throw_away is None:
            self._upkeep.follow_certificates(self.loop, follow(tls, self._exchange, self._warn, before))

    def _secure_nursery(self) -> None:
        """Have the processes of connections speak TLS as this one would: they are forked with the certificates."""
        nursery, tls = self._shared.nursery, self._setup.tls
        if nursery is not None and tls is not None:
            nursery.secure(tls.material.config)

    def secure(self, tls: Any) -> LayerMaker:
        """As `Setup.secure`, for `ConnectionBase.start_tls`."""
        return self._setup.secure(tls)

    def serve_accepted(self, sock: socket.socket, peer: Peer, listener: Listener) -> None:
        """Serve a connection that was accepted elsewhere."""
        assert self._at_work is not None, "the server was not started"
        self.gate.admit(peer, self.now)
        self._at_work.serve_accepted(sock, peer, listener)

    def suspend(self) -> None:
        """Stop accepting; connections stay and new ones wait in the backlog. May be repeated, and come first."""
        self._suspended = True
        if self._at_work is not None:
            self._at_work.suspend()
            self._observers.emit(Suspended())

    def resume(self) -> None:
        """Accept again. May be repeated."""
        self._suspended = False
        if self._at_work is not None:
            self._at_work.resume()
            self._observers.emit(Resumed())

    def begin_drain(self, *, timeout_s: float | Default | None = DEFAULT) -> None:
        """Stop accepting and let every connection finish what it received. May be repeated; `wait_stopped` waits.

        Before the start, it is the start that is refused, with StoppedError.

        Args:
            timeout_s: When to cut what is left, in place of ``timeouts.drain_s``; None for never.
        """
        self._told_to_end = True
        if self._at_work is not None and self._stopped is not None and not self._stopped.done():
            self._observers.emit(Draining(len(self.connections)))
            within_s = self.config.timeouts.drain_s if isinstance(timeout_s, Default) else timeout_s
            self._end_within(within_s)
            if self._shared.supervision is None:
                self._drain_all(self._at_work, within_s)
            elif self._farewell is None:
                self._farewell = self._take_leave(self._at_work, within_s)

    def _drain_all(self, at_work: EngineServer, within_s: float | None) -> None:
        spread_s = self.config.timeouts.drain_spread_s
        at_work.drain(within_s, spread_s if within_s is None else min(spread_s, within_s))

    def _take_leave(self, at_work: EngineServer, within_s: float | None) -> Farewell:
        clock = self._clock or self.loop

        def over() -> None:
            self._drain_all(at_work, None if self._end_at is None else max(0.0, self._end_at - clock.time()))

        return Farewell(
            clock,
            [each for each in self._listeners if self.is_last_at(each)],
            lambda: list(self.connections),
            suspend=at_work.suspend,
            over=over,
            leaves_rest=self.config.timeouts.drain_spread_s > 0,
            within_s=within_s,
        )

    async def drain(self) -> None:
        """Stop accepting, answer what was received, close; cut what is left after ``timeouts.drain_s`` seconds."""
        self.begin_drain()
        await self.wait_stopped()

    def begin_stop(self) -> None:
        """Stop accepting and abort every connection. May be repeated. Before the start, as `begin_drain`."""
        self._told_to_end = True
        if self._at_work is not None:
            if self._farewell is not None:
                self._farewell.end()
            self._end_within(self.config.timeouts.drain_s)
            self._at_work.stop()

    def _end_within(self, within_s: float | None) -> None:
        if within_s is not None and self._end_at is None:
            self._end_at = self.now + within_s

    async def stop(self) -> None:
        """Stop accepting and abort every connection; return when the last handler has ended."""
        self.begin_stop()
        await self.wait_stopped()

    async def wait_stopped(self) -> None:
        """Wait until a drain or a stop is over. Does not begin one."""
        await turn_of(asyncio.get_running_loop()).take()
        if self._stopped is not None:
            await asyncio.shield(self._stopped)

    async def wait_until(self, fact: Callable[[Self], bool]) -> None:
        """Wait until ``fact(server)`` is true; it is asked again after every event."""
        assert self._loop is not None, "the server was not started"
        await self._observers.wait_until(lambda: fact(self))

    async def wait_connections(self, count: int) -> None:
        """Wait until exactly ``count`` connections are open."""
        await self.wait_until(lambda server: len(server.connections) == count)

    # -- to another process, and from one ------------------------------------------------------------------------------

    @property
    def mover(self) -> Mover | None:
        """What tells other processes of its connections; None where none of them move, or it does not serve."""
        return None if self._at_work is None else self._at_work.mover

    def adopt(self, sock: socket.socket, arrival: Arrival) -> Adoption:
        """As `EngineServer.adopt`."""
        assert self._at_work is not None, "the server was not started"
        return self._at_work.adopt(sock, arrival)

    # -- as a context --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            await self.drain()
        else:
            await self.stop()

    # -- what the engine reports ---------------------------------------------------------------------------------------

    def _end_soon(self) -> None:
        """From any thread: end after what is going on."""
        self.loop.call_soon_threadsafe(self.begin_drain)

    def _engine_stopped(self) -> None:
        """Finish on the loop: an engine may say it on a thread of its own."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed, and no caller waits any more
            self._loop.call_soon_threadsafe(self._on_stopped)

    def _on_stopped(self) -> None:
        self._background.end(self._finish, self._clock or self.loop, self._end_at)

    def _finish(self) -> None:
        assert self._stopped is not None
        try:
            self._upkeep.stop()
            self._close_listeners()
            self._observers.emit(Stopped())
        finally:  # whatever failed without memory: no caller waits for ever
            self._tell_stopped()

    def _tell_stopped(self) -> None:
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    def _close_listeners(self) -> None:
        listeners, self._listeners = self._listeners, []
        close_listeners(listeners)
        self._setup.throw_away_is_over()
