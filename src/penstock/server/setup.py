"""What a service and its configuration come to: the engine, its plan, the gate's rules, addresses and certificates."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from ssl import OPENSSL_VERSION, SSLContext
from typing import Any

from ..address import Address, Kind, parse_address
from ..address.networks import AccessList
from ..config import DefaultBind, DefaultThreads, ServerConfig
from ..config.keywords import timeouts_of
from ..config.options import values
from ..core.budget import OutputBudget
from ..core.contract import Clock
from ..core.events import Event, Tally
from ..core.gate import Gate
from ..core.rules import Rules
from ..core.schema import fitted
from ..core.service import Service
from ..engines.link import LayerMaker
from ..engines.listener import Listener
from ..engines.plan import Plan
from ..errors import ConfigurationError, LocalProtocolError
from .access_files import AccessFiles, Signature
from .certificate_files import signatures
from .choice import Choice, choose
from .datagram_options import set_receive_buffer
from .descriptors import affordable, descriptor_limit
from .dev_tls import ThrowAway
from .gate_rules import rules_of
from .identity import owner_of
from .model import refuse_unforked, refuse_without
from .proxy import check_proxied, proxied
from .shared import Shared
from .sockets import inherited_listeners
from .tcp_options import set_tcp_options
from .tls import ServerTls, layer_by, layered, tls_of, with_tls


class Setup:
    """One service as it is to be served: what fits is made of its configuration, and what does not is refused.

    It opens nothing.

    Args:
        service: What to serve.
        config: How.
        shared: What it shares with others.

    Raises:
        ApplicationError: What the handler is annotated to take is not what its codec gives.

    Attributes:
        service: With the codec that was asked for, decoding into what the handler is annotated with.
        config: With the service's own timeouts, where nothing else was asked for.
        shared: As given.
        tls: What TLS is spoken with, once the addresses are known; None where none is.
        certificates: The signatures of their files, from before these were read.
        throw_away: A certificate for development, in use; None where there is none.
    """

    def __init__(self, service: Service[Any], config: ServerConfig, shared: Shared) -> None:
        if config.codec is not None:
            service = service.with_codec(config.codec)
        if config.bad_messages != "service":
            service = service.with_bad_messages(config.bad_messages)
        self.service = fitted(service)
        self.config = replace(config, timeouts=config.timeouts.suited(timeouts_of(self.service.timeouts)))
        self.shared = shared
        self.tls: ServerTls | None = None
        self.certificates: list[Signature] = []
        self.throw_away: ThrowAway | None = None
        self._choice: Choice | None = None

    # -- the engine ----------------------------------------------------------------------------------------------------

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

    @property
    def threads(self) -> int:
        """The most threads that handlers may occupy."""
        threads = self.config.threads
        return self.choice.engine.default_threads if isinstance(threads, DefaultThreads) else threads

    @property
    def tls_reason(self) -> str:
        """What enciphers, and why that; empty where no TLS is spoken."""
        if self.tls is None:
            return ""
        why = self.tls.why_in_python(self.choice.engine)
        return f"{OPENSSL_VERSION}, in compiled code" if why is None else f"Python's ssl: {why}"

    def plan(
        self,
        *,
        emit: Callable[[Event], None],
        tally: Tally,
        on_stopped: Callable[[], None],
        gate: Gate,
        clock: Clock | None,
        server: object,
    ) -> Plan:
        """Say what the engine is to do. The arguments are the plan's.

        Raises:
            ConfigurationError: The engine cannot.
        """
        config = self.config
        plan = Plan(
            service=self.choice.service,
            timeouts=config.timeouts,
            limits=config.limits,
            threads=self.threads,
            emit=emit,
            tally=tally,
            on_stopped=on_stopped,
            blocking=config.model == "threads",
            cancels_orphans=config.on_after_close == "cancel",
            gate=gate,
            budget=OutputBudget(self._share_of(config.overload.write_total_bytes)),
            clock=clock,
            server=server,
        )
        refusal = self.choice.engine.refuses(plan)
        if refusal is not None:
            raise ConfigurationError(refusal)
        return plan

    def _share_of(self, total_bytes: int | None) -> int | None:
        """Return what is this process's of what all workers may hold."""
        supervision = self.shared.supervision
        if total_bytes is None or supervision is None or self.shared.is_in_one:
            return total_bytes
        return max(1, total_bytes // supervision.workers)

    # -- the gate ------------------------------------------------------------------------------------------------------

    def rules_of(self, config: ServerConfig, access: AccessList) -> Rules:
        """Return what the gate goes by under ``config``, which may be another one than is served.

        Raises:
            ConfigurationError: Its limits are more than the system has.
        """
        engine = self.choice.engine
        places = self.threads if engine.thread_per_connection else None
        if config.model == "process":
            places = config.max_processes
        supervision = self.shared.supervision
        # With workers the limit is that of all: this one is bounded by its own descriptors beside it.
        counts_together = supervision is not None and supervision.counts_together
        descriptors = None if counts_together else self._descriptors()
        return rules_of(config, access, descriptors, engine.descriptors_per_connection, places)

    def most_here(self) -> int | None:
        """Return how many connections this process can have; None where the system sets no limit."""
        descriptors = self._descriptors()
        return None if descriptors is None else affordable(descriptors, self.choice.engine.descriptors_per_connection)

    def _descriptors(self) -> int | None:
        descriptors = descriptor_limit()
        return None if descriptors is None else descriptors // self.shared.servers

    # -- addresses -----------------------------------------------------------------------------------------------------

    def to_open(self) -> dict[str, Any]:
        """Say what is to be opened, and how: the arguments of `open_listeners`. Loads certificates.

        Raises:
            ConfigurationError: A file of TLS or a socket's owner is refused.
        """
        config, supervision = self.config, self.shared.supervision
        inherited = self.shared.inherited
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

    def furnish(self, listeners: Sequence[Listener], warn: Callable[[str], object]) -> list[Listener]:
        """Return listeners that were opened with what is set on them and what stands before their bytes.

        Args:
            listeners: Just opened, or handed down.
            warn: Told of an option that the system does not take.

        Raises:
            ConfigurationError: The service and an address do not go together.
        """
        config = self.config
        for listener in listeners:
            self._check_kind(listener.kind, listener.requested)
            refused = set_tcp_options(listener, config.tcp)
            for warning in refused + set_receive_buffer(listener, config.overload.receive_buffer_bytes):
                warn(warning)
        furnished = list(listeners)
        if config.gate.proxy_from:
            proxies = AccessList(config.gate.proxy_from)
            furnished = [proxied(listener, proxies) for listener in furnished]
        return [layered(listener, self.tls) for listener in furnished]

    def secure(self, tls: Any) -> LayerMaker:
        """For `ConnectionBase.start_tls`: return what makes the layer of a connection that has begun in clear.

        Raises:
            LocalProtocolError: The server has no certificate, and the caller brings none.
        """
        if tls is not None and not isinstance(tls, SSLContext):
            raise LocalProtocolError(f"start_tls takes an ssl.SSLContext at a server, not {type(tls).__name__}")
        if self.tls is not None:
            return self.tls.secure(tls)
        if tls is None:
            raise LocalProtocolError(
                "there is no certificate: give --tls-cert, and addresses as tcp://HOST:PORT?tls=start"
            )
        return layer_by(tls)

    def _with_tls(self, addresses: list[Address]) -> list[Address]:
        """Load what TLS is spoken with. Where the user chose no addresses, a certificate is enough for TLS on them.

        Raises:
            ConfigurationError: As `tls_of`, or a file is refused.
        """
        tls, app = self.config.tls, self.shared.app
        if isinstance(self.config.bind, DefaultBind) and (tls.cert or tls.dev):
            addresses = [with_tls(address) for address in addresses]
        if tls.dev and (app is None or any(at.may_be_tls for at in addresses)):
            self.throw_away = self.throw_away or ThrowAway(addresses)
            tls = self.throw_away.config(tls)
        self.certificates = signatures(tls)
        self.tls = tls_of(tls, addresses, alone=app is None)
        return addresses

    def throw_away_is_over(self) -> None:
        """Remove a certificate for development. May be repeated."""
        throw_away, self.throw_away = self.throw_away, None
        if throw_away is not None:
            throw_away.close()

    # -- what is refused -----------------------------------------------------------------------------------------------

    def check(self, access: AccessFiles) -> None:
        """Refuse what a start would refuse before it opens an address.

        Raises:
            ConfigurationError: The service, the addresses and the model do not go together.
        """
        self.rules_of(self.config, access.load())
        owner_of(self.config.uds_owner, self.config.process)
        addresses = self._with_tls([parse_address(text) for text in self.config.bind])
        self.throw_away_is_over()
        for address in addresses:
            self._check_kind(address.kind, address)

    def check_process(self) -> None:
        """Refuse what a process has to be begun for by the command line.

        Raises:
            ConfigurationError: Workers, or a process for each connection, and this is neither.
        """
        if self.shared.supervision is None and self.config.supervisor.count is not None:
            raise ConfigurationError(
                "workers are started by a supervisor, which imports no code of yours: serve with `penstock serve "
                "MODULE:OBJECT --workers N`, or say workers in penstock.toml, instead of in code",
                "workers",
            )
        if self.config.model == "process" and self.shared.nursery is None:
            raise ConfigurationError(
                "processes for connections are forked before anything else begins, and for one service: `penstock "
                "serve` and `penstock.run` do so",
                "model",
            )

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
                "timeout_idle",
            )
        if kind is not Kind.DATAGRAM and self.service.only_datagrams:
            raise ConfigurationError(
                f"{self.service.name} handles datagrams, and {requested} has connections: use udp:// or unix+dgram:"
            )
