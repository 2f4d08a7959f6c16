"""The options of the gate: who is let in, how many, how fast, and what the others see."""

# ruff: noqa: D102, RUF009  # the contract of a method is written once, in Kind; declare makes a dataclass field, once

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ..address.networks import check_entry
from ..errors import ConfigurationError
from ..reasons import Refusal
from ..suggest import did_you_mean
from ..units import Rate
from .kinds import AUTO, Auto, Frequency, Integer, Repeated, Text, Unless, quote
from .option import check_fields, declare

# More than any machine holds.
MAX_COUNT: Final = 100_000_000


class Action(StrEnum):
    """What a peer that is refused sees."""

    RESET = "reset"  # a reset, as a firewall's reject answers
    CLOSE = "close"  # the refusal's text, if there is one, then EOF
    WAIT = "wait"  # nothing: its connection stays in the backlog until there is room


# What can be known before accept(2), so that the peer can be left in the backlog. The others stand in one queue with
# peers that would be let in, and would hold those up.
CAN_WAIT: Final = frozenset(
    {Refusal.MEMORY, Refusal.LIMIT, Refusal.RATE, Refusal.HANDSHAKES, Refusal.OVERLOAD, Refusal.DESCRIPTORS}
)


def refuse_waiting(actions: Mapping[Refusal, Action]) -> None:
    """Refuse actions that are impossible.

    Raises:
        ConfigurationError: A peer is to wait that is known only after accept(2).
    """
    for reason, action in actions.items():
        if action is Action.WAIT and reason not in CAN_WAIT:
            raise ConfigurationError(
                f"a peer refused for {reason} cannot wait in the backlog, where others would wait behind it: "
                "reset or close"
            )


def actions_of(words: tuple[str, ...]) -> dict[Refusal, Action]:
    """Read what ``--on-refusal`` was given: ``wait`` for every reason that can wait, ``denied=close`` for one.

    A word for one reason holds whatever is said for all; of two that say something about the same, the last.

    Raises:
        ConfigurationError: A word is no action, a reason does not exist, or cannot wait.
    """
    general: dict[Refusal, Action] = {}
    special: dict[Refusal, Action] = {}
    for word in words:
        reason, _, action = word.rpartition("=")
        found = _action(action)
        if reason:
            special[_reason(reason)] = found
        else:
            general = {each: found for each in Refusal if found is not Action.WAIT or each in CAN_WAIT}
    refuse_waiting(special)
    return general | special


def _action(word: str) -> Action:
    try:
        return Action(word)
    except ValueError:
        raise ConfigurationError(
            f"{quote(word)} is not one of {', '.join(Action)}{did_you_mean(word, Action)}"
        ) from None


def _reason(word: str) -> Refusal:
    try:
        return Refusal(word)
    except ValueError:
        hint = did_you_mean(word, Refusal)
        raise ConfigurationError(f"{quote(word)} is not a refusal reason: {', '.join(Refusal)}{hint}") from None


@dataclass(frozen=True, slots=True)
class OnRefusal(Text):
    """One word of ``--on-refusal``."""

    metavar: str = "[REASON=]ACTION"
    allowed: str = "reset, close or wait, for one reason as denied=close"

    def check(self, value: object) -> None:
        Text.check(self, value)
        assert isinstance(value, str)
        actions_of((value,))


@dataclass(frozen=True, slots=True)
class Network(Text):
    """Who is meant by ``--reserve-for``: an entry."""

    metavar: str = "NETWORK"
    allowed: str = "a network, an address, uid:NUMBER or gid:NUMBER"

    def check(self, value: object) -> None:
        Text.check(self, value)
        assert isinstance(value, str)
        check_entry(value)


@dataclass(frozen=True, slots=True)
class Access(Text):
    """Who is meant by ``--allow`` and ``--deny``: an entry, or a file of entries."""

    metavar: str = "NETWORK"
    allowed: str = "a network, an address, uid:NUMBER, gid:NUMBER, or @FILE with one of them per line"

    def check(self, value: object) -> None:
        Text.check(self, value)
        assert isinstance(value, str)
        if not value.startswith("@"):
            check_entry(value)
        elif value == "@":
            raise ConfigurationError("'@' names no file")

    def beside(self, value: object, directory: Path) -> str:
        assert isinstance(value, str)
        return f"@{directory / value[1:]}" if value.startswith("@") else value


@dataclass(frozen=True, slots=True)
class GateConfig:
    """Who is let in. Each default is safe on the open internet; ``none`` has to be typed.

    Attributes:
        max_connections: Open at once. ``auto``: 10,000, or what nine tenths of the descriptors allow.
        max_per_peer: Open at once from one address. ``auto``: a quarter of ``max_connections``, or of the threads where
            each connection holds one, as on the blocking engine; and peers on this machine, which may be a proxy that
            stands for many, are not counted; a number holds for them too.
        peer_prefix_ipv4: Bits of an IPv4 address by which peers are one.
        peer_prefix_ipv6: Bits of an IPv6 address by which peers are one. A subscriber has at least 64 to choose from.
        max_handshakes: Open at once of peers that have yet to show who they are, where the handler asks for that
            (``conn.begin_handshake``). ``auto``: a tenth of ``max_connections``, or of the threads as above, so that
            those who never do leave nine tenths to those who have.
        max_orphans: Handlers at work at once whose peers have gone: the place of such a peer is free, its handler is
            not. At that limit the one that has waited longest without a received message unfinished is cancelled; where
            each has one, new clients are refused with ``overload``. ``auto``: a tenth of ``max_connections``, or of the
            threads as above, and 8 at least.
        max_sessions: Of the connections, those that are sessions of datagrams, in each process. At that number one that
            was heard from once gives way; where each was heard from twice, what newcomers send is dropped. ``auto``:
            half of ``max_connections``, or of the threads as above: senders can be forged, and leave the rest to
            connections.
        accept_rate: Connections admitted at once and then in that time. None: a number that suits the rush after a
            restart is no protection, and one that protects refuses the rush.
        accept_rate_per_peer: The same for each address.
        allow: Networks and users that may connect. One that is named excludes all others of its kind.
        deny: Who may not. Of all networks that hold a peer the longest prefix decides.
        reserve_for: Whose connections control the server or ask for its health: they are let in however many others
            there are, for a check that meets a full server would have it restarted. `reserve` of them at once are
            refused for nothing but ``deny`` and ``allow``, and are spared when memory is short; no other peer has these
            places. Not together with the action ``wait``: in the backlog they would wait behind the others.
        reserve: How many that are. 8: a probe from each of a few balancers, and an operator.
        proxy_from: Proxies. Where there are any, only they may connect, and each connection has to begin with a header
            of the PROXY protocol, which says whose it is: all else here is about that peer. Addresses that end with
            ``?proxy=off`` are left out. Not together with the action ``wait`` and limits per peer: who waits in the
            backlog is not known.
        on_refusal: What the refused see.
        refusal_text: What they are sent before a close.
    """

    max_connections: int | Auto | None = declare(
        AUTO,
        "max_connections",
        Unless(Integer(1, MAX_COUNT), auto=True),
        "Gate",
        "Maximum open connections",
        default_text="10,000, or 9/10 of the descriptor limit if lower",
    )
    max_per_peer: int | Auto | None = declare(
        AUTO,
        "max_per_peer",
        Unless(Integer(1, MAX_COUNT), auto=True),
        "Gate",
        "Maximum open connections per remote address",
        default_text="1/4 of `--max-connections`, or of `--threads` with --engine blocking; "
        "local clients are not counted",
    )
    peer_prefix_ipv4: int = declare(
        32,
        "peer_prefix_ipv4",
        Integer(1, 32),
        "Gate",
        "Count IPv4 clients per prefix of this length",
    )
    peer_prefix_ipv6: int = declare(
        64,
        "peer_prefix_ipv6",
        Integer(1, 128),
        "Gate",
        "Count IPv6 clients per prefix of this length",
    )
    max_handshakes: int | Auto | None = declare(
        AUTO,
        "max_handshakes",
        Unless(Integer(1, MAX_COUNT), auto=True),
        "Gate",
        "Maximum connections still in their handshake; new clients are refused above it",
        default_text="1/10 of `--max-connections`, or of `--threads` with --engine blocking",
    )
    max_orphans: int | Auto | None = declare(
        AUTO,
        "max_orphans",
        Unless(Integer(1, MAX_COUNT), auto=True),
        "Gate",
        "Maximum handlers still at work after their clients have gone; above it idle ones are cancelled",
        default_text="1/10 of `--max-connections`, or of `--threads` with --engine blocking, at least 8",
    )
    max_sessions: int | Auto | None = declare(
        AUTO,
        "max_sessions",
        Unless(Integer(1, MAX_COUNT), auto=True),
        "Gate",
        "Maximum sessions of datagram senders, for services that keep them; above it senders that were heard only "
        "once give way",
        default_text="1/2 of `--max-connections`, or of `--threads` with --engine blocking",
    )
    accept_rate: Rate | None = declare(
        None, "accept_rate", Frequency(), "Gate", "Accept at most RATE new connections, e.g. 100/s"
    )
    accept_rate_per_peer: Rate | None = declare(
        None, "accept_rate_per_peer", Frequency(), "Gate", "Accept at most RATE new connections per remote address"
    )
    allow: tuple[str, ...] = declare(
        (), "allow", Repeated(Access(), empty=True), "Gate", "Allow only these networks (longest prefix wins)"
    )
    deny: tuple[str, ...] = declare(
        (), "deny", Repeated(Access(), empty=True), "Gate", "Deny these networks (longest prefix wins)"
    )
    reserve_for: tuple[str, ...] = declare(
        (), "reserve_for", Repeated(Network(), empty=True), "Gate", "Accept these networks even when the server is full"
    )
    reserve: int = declare(
        8, "reserve", Integer(1, 1024), "Gate", "Connections reserved for the networks of `--reserve-for`"
    )
    proxy_from: tuple[str, ...] = declare(
        (),
        "proxy_from",
        Repeated(Network(), empty=True),
        "Gate",
        "Accept connections from these proxies only, each with a PROXY protocol header that names the client",
    )
    on_refusal: tuple[str, ...] = declare(
        ("reset",),
        "on_refusal",
        Repeated(OnRefusal()),
        "Gate",
        "What refused clients get: a reset, a close, or a wait in the backlog; can be set per reason",
    )
    refusal_text: str = declare(
        "", "refusal_text", Text("TEXT", "text"), "Gate", "Line to send before closing, with `--on-refusal close`"
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.refusal_text and Action.CLOSE not in self.actions.values():
            raise ConfigurationError(
                "refusal_text is never sent, because no on_refusal is close: a reset would overtake the text",
                "GateConfig.refusal_text",
            )
        if self.reserve_for and Action.WAIT in self.actions.values():
            raise ConfigurationError(
                "a reserve does not go together with on_refusal wait: its peers would wait in the backlog behind the "
                "others; reset or close those",
                "GateConfig.reserve_for",
            )

        limits_peers = self.accept_rate_per_peer is not None or self.max_per_peer not in (AUTO, None)
        if self.proxy_from and limits_peers and Action.WAIT in self.actions.values():
            raise ConfigurationError(
                "limits per peer do not go together with on_refusal wait behind a proxy: whose connections wait in the"
                " backlog is known only after the header; reset or close the others",
                "GateConfig.proxy_from",
            )

    @property
    def actions(self) -> dict[Refusal, Action]:
        """What the refused see, by reason."""
        return actions_of(self.on_refusal)
