"""From the gate's options to its rules: every default is worked out from what the machine allows."""

from __future__ import annotations

import logging
from typing import Final

from ..address.networks import AccessList
from ..config import AUTO, Action, GateConfig, ServerConfig
from ..core.rules import Rules
from ..reasons import Refusal
from .descriptors import DEFAULT_MAX_CONNECTIONS, affordable, descriptors_for, reserve_of

logger = logging.getLogger("penstock")

# A quarter: no single address can take the whole server, and four together can still take all of it.
DEFAULT_PEER_SHARE: Final = 4
# A tenth: peers that connect and never show who they are take no more from those who do.
DEFAULT_HANDSHAKE_SHARE: Final = 10
# A tenth: what is left of peers that have gone takes no more from those who are there.
DEFAULT_ORPHAN_SHARE: Final = 10
# Half: the senders of datagrams, who can be forged, leave as much to connections.
DEFAULT_SESSION_SHARE: Final = 2
# One whose handler is stuck does not keep a small server from its next peer.
LEAST_ORPHANS: Final = 8


def rules_of(
    config: ServerConfig, access: AccessList, descriptors: int | None, each: int = 1, places: int | None = None
) -> Rules:
    """Work out what a server's gate goes by; log what was lowered.

    Args:
        config: The server's.
        access: Who may connect at all.
        descriptors: How many the process may have open; None for no limit.
        each: How many a connection has open on the server's engine.
        places: How many connections the engine serves at once, while the others wait; None for any number.
    """
    gate = config.gate
    limit = _max_connections(gate, descriptors, each)
    if places is not None and reserve_of(gate):
        limit = _beside_reserve(gate, limit, places)
    actions = gate.actions
    if config.once or config.model == "one-at-a-time":
        limit = 1
        actions[Refusal.LIMIT] = Action.WAIT
    if config.model == "process" and (limit is None or config.max_processes <= limit):
        limit = config.max_processes
        actions[Refusal.LIMIT] = Action.WAIT
    # Behind a proxy it is not known whose connections wait in the backlog.
    knows_peers = not (gate.proxy_from and Action.WAIT in actions.values())
    per_peer, handshakes, orphans = gate.max_per_peer, gate.max_handshakes, gate.max_orphans
    # A share of what can be had: of connections that hold a thread each there are no more than threads.
    shared = min((most for most in (limit, places) if most is not None), default=None)
    if per_peer == AUTO:
        per_peer = None if shared is None or not knows_peers else max(1, shared // DEFAULT_PEER_SHARE)
    if handshakes == AUTO:
        handshakes = None if shared is None else max(1, shared // DEFAULT_HANDSHAKE_SHARE)
    if orphans == AUTO:
        orphans = None if shared is None else max(LEAST_ORPHANS, shared // DEFAULT_ORPHAN_SHARE)
    sessions = gate.max_sessions
    if sessions == AUTO:
        sessions = None if shared is None else max(1, shared // DEFAULT_SESSION_SHARE)
    text = gate.refusal_text
    return Rules(
        max_connections=limit,
        max_per_peer=per_peer,
        max_handshakes=handshakes,
        max_orphans=orphans,
        max_sessions=sessions,
        loopback_counts=gate.max_per_peer != AUTO,
        ipv4_prefix=gate.peer_prefix_ipv4,
        ipv6_prefix=gate.peer_prefix_ipv6,
        accept_rate=gate.accept_rate,
        accept_rate_per_peer=gate.accept_rate_per_peer,
        datagram_rate_per_peer=config.overload.datagram_rate_per_peer,
        datagram_amplification=config.overload.datagram_amplification,
        access=access,
        reserve=reserve_of(gate),
        reserve_for=AccessList(gate.reserve_for),
        actions=actions,
        text=f"{text}\n".encode() if text else b"",
    )


def _max_connections(config: GateConfig, descriptors: int | None, each: int) -> int | None:
    wanted = config.max_connections
    kept = reserve_of(config) * each  # no part of what everybody shares
    room = None if descriptors is None else affordable(descriptors - kept, each)
    if wanted == AUTO:
        return DEFAULT_MAX_CONNECTIONS if room is None else min(DEFAULT_MAX_CONNECTIONS, room)
    if wanted is not None and room is not None and wanted > room:
        logger.warning(
            "max_connections lowered from %d to %d: the process is limited to %d descriptors; "
            "raise that with ulimit -n %d or LimitNOFILE= in its systemd unit",
            wanted,
            room,
            descriptors,
            descriptors_for(wanted, each) + kept,
        )
        return room
    return wanted


def _beside_reserve(config: GateConfig, limit: int | None, places: int) -> int:
    """Return how many connections leave the reserve its places: who waits for one stands before it in the backlog."""
    room = max(1, places - reserve_of(config))
    if limit is not None and limit <= room:
        return limit
    if config.max_connections not in (AUTO, None):
        logger.warning(
            "max_connections lowered from %d to %d: each connection takes one of %d threads, %d are reserved",
            limit,
            room,
            places,
            reserve_of(config),
        )
    return room
