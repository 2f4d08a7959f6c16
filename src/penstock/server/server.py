"""A service on addresses: opened, served, drained, closed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from ssl import OPENSSL_VERSION, SSLContext
from typing import TYPE_CHECKING, Any, Self

from ..address import Address, Kind, parse_address
from ..address.networks import AccessList
from ..config import DefaultBind, DefaultThreads, ServerConfig
from ..config.keywords import timeouts_of
from ..config.options import values
from ..core.background import BackgroundTask, Work
from ..core.budget import OutputBudget
from ..core.contract import Clock, ConnectionBase
from ..core.events import (
    Closed,
    DatagramHandled,
    Draining,
    Event,
    HandlerFailed,
    Listening,
    Observer,
    Resumed,
    Stalled,
    StallEnded,
    Stopped,
    Suspended,
    TaskFailed,
)
from ..core.gate import Gate
from ..core.interrupts import is_interrupt
from ..core.replies import explained
from ..core.rules import FIXED, Rules
from ..core.schema import fitted
from ..core.service import Service
from ..core.texts import text_of
from ..core.turns import turn_of
from ..engines.aside import aside
from ..engines.base import EngineServer
from ..engines.link import LayerMaker
from ..engines.listener import Listener
from ..engines.plan import Plan
from ..errors import ConfigurationError, LocalProtocolError, StoppedError
from ..reasons import CloseReason
from ..telemetry.log import LogObserver, Pace, logger
from ..telemetry.stats import Stats
from .access_files import AccessFiles
from .background import Background, RunningTask
from .choice import Choice, choose
from .datagram_options import set_receive_buffer
from .descriptors import affordable, descriptor_limit
from .dev_tls import ThrowAway
from .ends import Ends
from .farewell import Farewell
from .gate_rules import rules_of
from .identity import owner_of
from .memory import follow_memory, memory_of
from .model import refuse_unforked, refuse_without
from .proxy import check_proxied, proxied
from .reload import with_live
from .shared import DEFAULT, Default, Shared
from .sockets import close_listeners, inherited_listeners, open_listeners
from .tcp_options import set_tcp_options
from .tls import Material, ServerTls, layer_by, layered, tls_of, warnings_now, with_tls
from .warnings import warnings_about
from .watchdog import Watchdog

if TYPE_CHECKING:
    import socket

    from ..address import Peer
    from ..engines.base import Adoption, Engine
    from ..engines.handover import Mover
    from ..engines.luggage import Arrival


class Server:
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
        config: How.
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
        if config.codec is not None:
            service = service.with_codec(config.codec)
        if config.bad_messages != "service":
            service = service.with_bad_messages(config.bad_messages)
        self.service = service = fitted(service)
        self.config = config = replace(config, timeouts=config.timeouts.suited(timeouts_of(service.timeouts)))
        self._shared = shared = shared or Shared()
        self.app = shared.app
        self.stats = Stats()
        self.gate = shared.gate or Gate()
        self._clock = clock
        self._warn = warn or logger.warning
        self._observers: list[Observer] = [
            self.stats,
            LogObserver(access=config.access_log, course=shared.tells_course),
            *observers,
        ]
        self._observer_failures = Pace(1, time.monotonic)
        self._listeners: list[Listener] = []
        self._tls: ServerTls | None = None
        self._throw_away: ThrowAway | None = None  # a certificate for development
        self._choice: Choice | None = None
        self._at_work: EngineServer | None = None
        self._told_to_end = self._suspended = False  # before the start
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Future[None] | None = None
        self._helpers: list[asyncio.Task[None]] = []
        self._follower: asyncio.Task[None] | None = None  # of files of networks
        self._rules = Rules()  # what the configuration says, before what was set at the gate
        self._watchdog: Watchdog | None = None
        self._changed: list[asyncio.Future[None]] = []
        self._background = Background(self._task_failed, self._task_over)
        self._end_at: float | None = None  # when what has not ended by then is given up
        self.is_last_at: Callable[[Listener], bool] = lambda _: False
        self._farewell: Farewell | None = None
        self._ends: Ends | None = None
        self._ends_lock = threading.RLock()

    # -- facts ---------------------------------------------------------------------------------------------------------

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
        return _threads(self.config, self.choice.engine)

    @property
    def engine_reason(self) -> str:
        """Why that one."""
        return self.choice.reason

    @property
    def tls_reason(self) -> str:
        """What enciphers, and why that; empty where no TLS is spoken."""
        if self._tls is None:
            return ""
        why = self._tls.why_in_python(self.choice.engine)
        return f"{OPENSSL_VERSION}, in compiled code" if why is None else f"Python's ssl: {why}"

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
            ConfigurationError: The service, the addresses and the model do not go together. Nothing was opened.
            BindError: An address cannot be listened on. Those opened before it were closed again.
            LimitError: The system gives no thread, or does not say how many descriptors there may be.
            StoppedError: It was told to end before. Nothing was opened.
        """
        if self._told_to_end:
            raise StoppedError(f"{self.service.name} was told to stop before it served")
        config = self.config
        access = AccessFiles(config.gate.allow, config.gate.deny)
        before = access.signature()
        supervision = self._shared.supervision
        if supervision is None and config.supervisor.count is not None:
            raise ConfigurationError(
                "workers are started by a supervisor, which imports no code of yours: serve with `penstock serve "
                "MODULE:OBJECT --workers N`, or say workers in penstock.toml, instead of in code",
                "workers",
            )
        if config.model == "process" and self._shared.nursery is None:
            raise ConfigurationError(
                "processes for connections are forked before anything else begins, and for one service: `penstock "
                "serve` and `penstock.run` do so",
                "model",
            )
        try:
            plan, rules = self._prepare(access)
            await self.obtain()
            listeners = self._listeners
            self._loop = asyncio.get_running_loop()
            for listener in listeners:
                self._check_kind(listener.kind, listener.requested)
                refused = set_tcp_options(listener, config.tcp)
                for warning in refused + set_receive_buffer(listener, config.overload.receive_buffer_bytes):
                    self._warn(warning)
            if config.gate.proxy_from:
                proxies = AccessList(config.gate.proxy_from)
                self._listeners = listeners = [proxied(listener, proxies) for listener in listeners]
            if self._tls is not None:
                self._listeners = listeners = [layered(listener, self._tls) for listener in listeners]
            self._stopped = self._loop.create_future()
            self._rules = rules
            if self._shared.begins_gate:
                if supervision is not None:
                    counts = await supervision.counts(self.service.name, self._most_here(), self.gate.wake)
                    if counts is not None:
                        self.gate.share(counts)
                self.gate.begin(rules)
            nursery = self._shared.nursery
            if nursery is None:
                self._at_work = self.choice.engine.serve(listeners, plan)
            else:
                self._at_work = nursery.serve(self._loop, listeners, plan)
            for warning in [*warnings_about(config, self.addresses), *warnings_now(self._tls)]:
                self._warn(warning)
            if config.overload.stall_s is not None and self._shared.watches_loop:
                self._watchdog = Watchdog(self._loop, config.overload.stall_s, self._stalled, self._stall_ended)
                self._watchdog.prepare()
            self._at_work.start()
            if self._suspended:
                self._at_work.suspend()
        except BaseException:
            if self._watchdog is not None:
                self._watchdog.stop()
            self._at_work = None
            self._close_listeners()
            raise
        self._follow(access, before)
        memory = memory_of(config.overload)
        if memory is not None:
            emit = self._emit if self._shared.watches_loop else _tell_nobody
            follow = follow_memory(memory, self.gate, self._at_work, emit, share=self._shared.servers)
            self._helpers.append(self._loop.create_task(follow))
        if self._watchdog is not None:
            self._watchdog.start()
        for listener in listeners:
            self._emit(Listening(listener))
        if self._tls is not None:
            logger.info("certificates: %s", self._tls.material.expiry(time.time()))
        if self._throw_away is not None:
            logger.warning("tls_dev: a temporary certificate; clients trust it with --ca %s", self._throw_away.ca)

    def open(self) -> None:
        """Open every address, and accept nobody yet: who connects waits in the backlog. May be repeated.

        `start` does so where it was not done before. A start that fails closes them, and so does `close`.

        Raises:
            ConfigurationError, BindError: As `start`.
        """
        if not self._listeners:
            self._listeners = open_listeners(**self._to_open())

    async def obtain(self) -> None:
        """Open every address, or, in a worker, have its supervisor do so, which keeps them: else as `open`."""
        supervision = self._shared.supervision
        if supervision is None:
            self.open()
        elif not self._listeners:
            self._listeners = await supervision.listeners(self.service.name, **self._to_open())

    def _to_open(self) -> dict[str, Any]:
        """Say what is to be opened, and how: the arguments of `open_listeners`."""
        config, supervision = self.config, self._shared.supervision
        inherited = self._shared.inherited
        if inherited is None:
            inherited = supervision.inherited if supervision else inherited_listeners(os.environ, os.getpid())
        if inherited and isinstance(config.bind, DefaultBind):
            addresses = [found.address for found in inherited]  # what the service manager opened is what was meant
        else:
            addresses = [parse_address(text) for text in config.bind]
        return {
            "addresses": self._with_tls(addresses),
            "backlog": config.backlog,
            "reuse_address": config.reuse_address,
            "uds_mode": config.uds_mode,
            "uds_owner": owner_of(config.uds_owner, config.process),
            "inherited": inherited,
        }

    def close(self) -> None:
        """Close what `open` opened and no `start` has used. May be repeated."""
        if self._at_work is None:
            self._close_listeners()

    def check(self) -> None:
        """Refuse what `start` would refuse before it opens an address. Needs no loop.

        Raises:
            ConfigurationError: As `start`.
        """
        self._prepare(AccessFiles(self.config.gate.allow, self.config.gate.deny))
        owner_of(self.config.uds_owner, self.config.process)
        addresses = self._with_tls([parse_address(text) for text in self.config.bind])
        self._throw_away_is_over()
        for address in addresses:
            self._check_kind(address.kind, address)

    @property
    def certificate_warnings(self) -> Sequence[str]:
        """What to warn of about the certificates, once they were loaded: by `check`, or the start."""
        return warnings_now(self._tls)

    def _with_tls(self, addresses: list[Address]) -> list[Address]:
        """Load what TLS is spoken with. Where the user chose no addresses, a certificate is enough for TLS on them.

        Raises:
            ConfigurationError: As `tls_of`, or a file is refused.
        """
        tls = self.config.tls
        if isinstance(self.config.bind, DefaultBind) and (tls.cert or tls.dev):
            addresses = [with_tls(address) for address in addresses]
        if tls.dev and (self.app is None or any(at.may_be_tls for at in addresses)):
            self._throw_away = self._throw_away or ThrowAway(addresses)
            tls = self._throw_away.config(tls)
        self._tls = tls_of(tls, addresses, alone=self.app is None)
        return addresses

    @property
    def choice(self) -> Choice:
        """Which engine serves, why, and what it calls. Chosen when it is asked for first, and once.

        Raises:
            ConfigurationError: The engine that was asked for is not there, the service and the model do not go
                together, or an option is set that means nothing to the service.
        """
        if self._choice is None:
            refuse_without(self.service, values(self.config))
            self._choice = choose(self.service, self.config)
        return self._choice

    def _prepare(self, access: AccessFiles) -> tuple[Plan, Rules]:
        """Say what the engine is to do, and what the gate is to go by."""
        config = self.config
        engine, service = self.choice.engine, self.choice.service
        rules = self._rules_of(config, access.load())
        plan = Plan(
            service=service,
            timeouts=config.timeouts,
            limits=config.limits,
            threads=_threads(config, engine),
            emit=self._emit,
            on_stopped=self._engine_stopped,
            blocking=config.model == "threads",
            cancels_orphans=config.on_after_close == "cancel",
            gate=self.gate,
            budget=OutputBudget(self._share_of(config.overload.write_total_bytes)),
            clock=self._clock,
            server=self,
        )
        refusal = engine.refuses(plan)
        if refusal is not None:
            raise ConfigurationError(refusal)
        return plan, rules

    def _rules_of(self, config: ServerConfig, access: AccessList) -> Rules:
        engine = self.choice.engine
        places = _threads(config, engine) if engine.thread_per_connection else None
        if config.model == "process":
            places = config.max_processes
        # With workers the limit is that of all: this one is bounded by its own descriptors beside it.
        descriptors = None if self._counts_together else self._descriptors()
        return rules_of(config, access, descriptors, engine.descriptors_per_connection, places)

    @property
    def _counts_together(self) -> bool:
        supervision = self._shared.supervision
        return supervision is not None and supervision.counts_together

    def _descriptors(self) -> int | None:
        descriptors = descriptor_limit()
        return None if descriptors is None else descriptors // self._shared.servers

    def _most_here(self) -> int | None:
        """Return how many connections this process can have."""
        descriptors = self._descriptors()
        return None if descriptors is None else affordable(descriptors, self.choice.engine.descriptors_per_connection)

    def _share_of(self, total_bytes: int | None) -> int | None:
        """Return what is this process's of what all workers may hold."""
        supervision = self._shared.supervision
        return total_bytes if total_bytes is None or supervision is None else max(1, total_bytes // supervision.workers)

    def _follow(self, access: AccessFiles, before: Any) -> None:
        """Look for changes of the files of networks from now on, in place of those before."""
        assert self._loop is not None
        if self._follower is not None:
            self._follower.cancel()
            self._helpers.remove(self._follower)
        follows = access.paths and self._shared.begins_gate  # a gate that is shared has one who does
        self._follower = self._loop.create_task(access.follow(self.gate, before)) if follows else None
        if self._follower is not None:
            self._helpers.append(self._follower)

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
            self.config = new
            return changed
        access = AccessFiles(new.gate.allow, new.gate.deny)
        signature, networks = await aside(lambda: (access.signature(), access.load()), "penstock-networks")
        tls = self._tls
        has_files = tls is not None and not new.tls.dev
        material = await aside(lambda: Material(new.tls), "penstock-certificates") if has_files else None
        rules = self._rules_of(new, networks)
        changes = {
            spec.name: value
            for spec in dataclasses.fields(Rules)
            if spec.name not in FIXED and (value := getattr(rules, spec.name)) != getattr(self._rules, spec.name)
        }
        self.gate.set(**changes)
        self.config, self._rules = new, rules
        if tls is not None and material is not None:
            tls.exchange(material)
            logger.info("certificates: %s", material.expiry(time.time()))
            for warning in warnings_now(tls):
                self._warn(warning)
        self._follow(access, signature)
        return changed

    def _check_kind(self, kind: Kind | None, requested: Address) -> None:
        """Refuse what makes no sense together.

        Raises:
            ConfigurationError: A conversation on a datagram address, or the reverse; a kind of socket that none serves.
        """
        check_proxied(kind, requested, self.config.gate.proxy_from)
        if self.config.model == "process":
            refuse_unforked(self.config, kind, requested)
        if kind is Kind.RAW:
            raise ConfigurationError(f"{requested}: raw sockets can be connected, not served")
        if requested.starts_tls and self.service.written_for:
            raise ConfigurationError(
                f"{requested}: {self.service.has_no('does not say when TLS begins')}, or say tls://"
            )
        if kind is Kind.DATAGRAM and self.service.datagram is None and not self.service.sessions:
            raise ConfigurationError(
                f"{self.service.name} needs connections, and {requested} has none: use tcp://, unix: or "
                "unix+seqpacket:, or write it to keep sessions, with sessions=True"
            )
        timeouts = self.config.timeouts
        if kind is Kind.DATAGRAM and self.service.sessions and timeouts.idle_s is None is timeouts.receive_idle_s:
            raise ConfigurationError(
                f"{self.service.name} keeps a session for each sender on {requested} until that is silent: "
                "timeout_idle cannot be none",
                "timeouts.idle_s",
            )
        if kind is not Kind.DATAGRAM and self.service.only_datagrams:
            raise ConfigurationError(
                f"{self.service.name} handles datagrams, and {requested} has connections: use udp:// or unix+dgram:"
            )

    def secure(self, tls: Any) -> LayerMaker:
        """For `ConnectionBase.start_tls`: return what makes the layer of a connection that has begun in clear.

        Raises:
            LocalProtocolError: The server has no certificate, and the caller brings none.
        """
        if tls is not None and not isinstance(tls, SSLContext):
            raise LocalProtocolError(f"start_tls takes an ssl.SSLContext at a server, not {type(tls).__name__}")
        if self._tls is not None:
            return self._tls.secure(tls)
        if tls is None:
            raise LocalProtocolError(
                "there is no certificate: give --tls-cert, and addresses as tcp://HOST:PORT?tls=start"
            )
        return layer_by(tls)

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
            self._emit(Suspended())

    def resume(self) -> None:
        """Accept again. May be repeated."""
        self._suspended = False
        if self._at_work is not None:
            self._at_work.resume()
            self._emit(Resumed())

    def begin_drain(self, *, timeout_s: float | Default | None = DEFAULT) -> None:
        """Stop accepting and let every connection finish what it received. May be repeated; `wait_stopped` waits.

        Before the start, it is the start that is refused, with StoppedError.

        Args:
            timeout_s: When to cut what is left, in place of ``timeouts.drain_s``; None for never.
        """
        self._told_to_end = True
        if self._at_work is not None and self._stopped is not None and not self._stopped.done():
            self._emit(Draining(len(self.connections)))
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
        await turn_of(self._loop).take()
        while True:
            # Before the fact is looked at: an engine's thread may make it true right after.
            change = self._loop.create_future()
            self._changed.append(change)
            if fact(self):
                return
            await change

    async def wait_connections(self, count: int) -> None:
        """Wait until exactly ``count`` connections are open."""
        await self.wait_until(lambda server: len(server.connections) == count)

    # -- to another process, and from one ------------------------------------------------------------------------------

    @property
    def mover(self) -> Mover | None:
        """What tells other processes of its connections; None where none of them move, or it does not serve."""
        return None if self._at_work is None else self._at_work.mover

    def busy(self) -> set[int]:
        """Return the ids of connections that have background tasks here."""
        return self._background.owners()

    def places_of(self, conn: ConnectionBase[Any]) -> list[Sequence[Any]]:
        """Return the application's groups and keys that a connection has, each as `App.take_place` has it."""
        places = [each.place(self.app) for each in self._owners(conn) if hasattr(each, "place")]
        return [place for place in places if place is not None]

    def waiting_for(self, conn: ConnectionBase[Any]) -> bytes:
        """Give away what groups have for a connection whose peer does not read."""
        return b"".join(each.take_waiting() for each in self._owners(conn) if hasattr(each, "take_waiting"))

    def _owners(self, conn: ConnectionBase[Any]) -> list[Any]:
        return [] if self._ends is None else self._ends.owners(conn.id)

    def take_places(self, conn: ConnectionBase[Any], places: Iterable[Sequence[Any]]) -> None:
        """Have a connection that comes from another process in the groups and under the keys that it had there."""
        if self.app is not None:
            for place in places:
                self.app.take_place(conn, place)

    def adopt(self, sock: socket.socket, arrival: Arrival) -> Adoption:
        """As `EngineServer.adopt`."""
        assert self._at_work is not None, "the server was not started"
        return self._at_work.adopt(sock, arrival)

    # -- what belongs to its connections -------------------------------------------------------------------------------

    def start_task(self, conn: ConnectionBase[Any], work: Work, name: str, *, finish: bool = False) -> BackgroundTask:
        """Run ``work`` until ``conn`` has ended: what `ConnectionBase.task` does. Safe from every thread."""
        assert self._loop is not None, "the server was not started"
        if finish:
            conn.task_begun()
        try:
            task = self._background.start(self._loop, conn, work, name, finish=finish)
        except BaseException:
            if finish:
                conn.task_over()
            raise
        if not (conn.is_datagram or self.when_closed(conn, task.cancel)):
            task.cancel()
        elif task.done:  # at once, or on the loop's thread meanwhile: before there was anything to forget
            self._task_over(task)
        return task

    def start_lasting(self, work: Work, name: str) -> BackgroundTask:
        """Run ``work`` until the server has stopped: then it is cancelled, and waited for. Safe from every thread."""
        assert self._loop is not None, "the server was not started"
        return self._background.start(self._loop, None, work, name)

    def _task_over(self, task: RunningTask) -> None:
        if task.conn is not None:
            self.forget_closed(task.conn, task.cancel)
            if task.finish:
                task.finish = False
                task.conn.task_over()

    def when_closed(
        self, conn: ConnectionBase[Any], closed: Callable[[], object], resumed: Callable[[], object] | None = None
    ) -> bool:
        """Have ``closed`` called once a connection and its handler have ended, on the engine's thread.

        Args:
            conn: The connection.
            closed: Called then.
            resumed: Called whenever its output has sunk from over the high watermark to the low one.

        Returns:
            False when the connection is closing already: then nothing will be called.
        """
        with self._ends_lock:  # threads may be the first two to ask
            if self._ends is None:
                self._ends = Ends()
                self._observers.append(self._ends)
        return self._ends.add(conn, closed, resumed)

    def forget_closed(
        self, conn: ConnectionBase[Any], closed: Callable[[], object], resumed: Callable[[], object] | None = None
    ) -> None:
        """Have callbacks of `when_closed` not called. May be repeated."""
        if self._ends is not None:
            self._ends.remove(conn, closed, resumed)

    @property
    def slow_connections(self) -> Collection[int]:
        """The ids of the connections whose output is over the high watermark, once `when_closed` was asked."""
        return () if self._ends is None else self._ends.slow

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it serves in."""
        assert self._loop is not None, "the server was not started"
        return self._loop

    def _task_failed(self, conn: ConnectionBase[Any] | None, name: str, error: BaseException) -> None:
        self._emit(TaskFailed(conn, name, error))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is None:
            await self.drain()
        else:
            await self.stop()

    # -- what the engine reports ---------------------------------------------------------------------------------------

    def _emit(self, event: Event) -> None:
        if type(event) is HandlerFailed:
            event = self._explained(event)
        interrupt: BaseException | None = None
        for observer in self._observers:
            try:
                observer.observe(event)
            except BaseException as error:  # an observer's mistake is no connection's
                if is_interrupt(error):
                    interrupt = error  # when all have been told
                else:
                    self._observer_failed(observer, event, error)
        if interrupt is not None:
            raise interrupt
        if self.config.once and isinstance(event, Closed | DatagramHandled):
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self.begin_drain)
        if self._changed:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._wake)

    def _explained(self, event: HandlerFailed) -> HandlerFailed:
        conn = event.connection
        return HandlerFailed(conn, explained(event.error, self.service, (self.service if conn is None else conn).codec))

    def _observer_failed(self, observer: Observer, event: Event, error: BaseException) -> None:
        more = self._observer_failures.more()
        if more is not None:
            with contextlib.suppress(Exception):  # the log itself may be what fails
                logger.error("observer %s failed at %s%s", text_of(observer), event.name, more, exc_info=error)

    def _stalled(self, frames: Sequence[str]) -> None:
        self._emit(Stalled(frames))

    def _stall_ended(self, duration_s: float) -> None:
        self._emit(StallEnded(duration_s))

    def _wake(self) -> None:
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)

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
            for helper in self._helpers:
                helper.cancel()
            if self._watchdog is not None:
                self._watchdog.stop()
            self._close_listeners()
            self._emit(Stopped())
        finally:  # whatever failed without memory: no caller waits for ever
            if not self._stopped.done():
                self._stopped.set_result(None)

    def _close_listeners(self) -> None:
        listeners, self._listeners = self._listeners, []
        close_listeners(listeners)
        self._throw_away_is_over()

    def _throw_away_is_over(self) -> None:
        throw_away, self._throw_away = self._throw_away, None
        if throw_away is not None:
            throw_away.close()


def _tell_nobody(_event: Event) -> None:
    """Another server of the application tells of it."""


def _threads(config: ServerConfig, engine: Engine) -> int:
    return engine.default_threads if isinstance(config.threads, DefaultThreads) else config.threads
