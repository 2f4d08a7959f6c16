"""What a gate goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..address.networks import AccessList
from ..config import Action, refuse_waiting
from ..errors import ConfigurationError
from ..reasons import Refusal
from ..units import Rate

_KINDS: Final = (  # of rules that are no limits, so that a wrong one is refused before anything goes by it
    (("accept_rate", "accept_rate_per_peer", "datagram_rate_per_peer"), Rate | None, "a Rate, or None for no limit"),
    (("access", "reserve_for"), AccessList, "an AccessList"),
    (("actions",), Mapping, "an Action for each Refusal"),
    (("text",), bytes, "bytes"),
)

# Of which there is one at least, or no limit.
_COUNTS: Final = (
    "max_connections",
    "max_per_peer",
    "max_handshakes",
    "max_orphans",
    "max_sessions",
    "datagram_amplification",
)

# Set at the start: open connections are counted by these.
FIXED: Final = ("ipv4_prefix", "ipv6_prefix", "reserve_for")


@dataclass(frozen=True, slots=True)
class Rules:
    """What a gate goes by. None is no limit.

    Attributes:
        max_connections: Open at once.
        max_per_peer: Open at once from one address, or one network of the prefixes below. Never of Unix peers.
        loopback_counts: Whether ``max_per_peer`` holds for peers on this machine too.
        ipv4_prefix: Bits by which IPv4 peers are one.
        ipv6_prefix: Bits by which IPv6 peers are one: a subscriber has 64 of them to choose from.
        accept_rate: How often a connection is admitted.
        accept_rate_per_peer: How often one of the same address is. Never of Unix peers.
        max_orphans: Handlers at once whose peers have gone.
        max_handshakes: Admitted and not yet through their handshake.
        max_sessions: Of the connections, those that are sessions of datagrams, in this process.
        datagram_rate_per_peer: How often a datagram of one address is handled. Never of Unix peers.
        datagram_amplification: How many times the bytes of a datagram its answers may have together, headers included.
            Never of peers on this machine, whose addresses cannot be forged from outside.
        access: Who may connect at all.
        reserve: Connections beyond ``max_connections`` that are kept for ``reserve_for``.
        reserve_for: Control and health checks: who of them is within the reserve is refused for nothing but ``access``.
            Beyond it they are as everybody else. Empty: there is no reserve.
        actions: What a refused peer sees, by reason; a reset where a reason is missing.
        text: What is sent before a close.
    """

    max_connections: int | None = None
    max_per_peer: int | None = None
    loopback_counts: bool = True
    ipv4_prefix: int = 32
    ipv6_prefix: int = 64
    accept_rate: Rate | None = None
    accept_rate_per_peer: Rate | None = None
    max_handshakes: int | None = None
    max_orphans: int | None = None
    max_sessions: int | None = None
    datagram_rate_per_peer: Rate | None = None
    datagram_amplification: int | None = None
    access: AccessList = field(default_factory=AccessList)
    reserve: int = 0
    reserve_for: AccessList = field(default_factory=AccessList)
    actions: Mapping[Refusal, Action] = field(default_factory=dict)
    text: bytes = b""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigurationError(f"{name} is {value!r}: at least 1, or None for no limit")
        for names, kind, allowed in _KINDS:
            for name in names:
                if not isinstance(value := getattr(self, name), kind):
                    raise ConfigurationError(f"{name} is {value!r}: {allowed}")
        if not ({*map(type, self.actions)} <= {Refusal} and {*map(type, self.actions.values())} <= {Action}):
            raise ConfigurationError(f"actions is {self.actions!r}: an Action for each Refusal")
        refuse_waiting(self.actions)
        if self.reserve_for and self.reserve and Action.WAIT in self.actions.values():
            raise ConfigurationError(
                "a reserve is of no use where the refused wait: its peers would wait behind them, in the same backlog"
            )

    def action(self, reason: Refusal) -> Action:
        """Return what a peer sees that is refused for ``reason``."""
        return self.actions.get(reason, Action.RESET)
