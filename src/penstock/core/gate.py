"""Admission: who is let in, who is refused and how, who waits. Decisions without I/O on instants the engine tells.

Three things: `Rules` say what is allowed, `Counts` who is in, and a gate decides by the two.

An engine asks `Gate.opens_at` before accept(2), when no peer is known yet; `Gate.admit` after it, when it is known;
and tells `Gate.leave`, then `Gate.wake`, when one that was admitted has ended. Nothing else counts connections.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from math import inf
from typing import Final, Protocol, TypeVar

from ..address import Peer
from ..address.networks import AccessList
from ..config import Action
from ..reasons import Refusal
from .gate_state import GateState
from .orphans import LOOK_AGAIN_S, Orphan


class _HasPeer(Protocol):
    @property
    def peer(self) -> Peer: ...


C = TypeVar("C", bound=_HasPeer)

# Of IPv4 and UDP, without which a datagram does not travel; those of IPv6 are longer, and so are the questions.
HEADER_BYTES: Final = 28


class Gate(GateState):
    """Decides who is let in, by its rules and its counts.

    It has no lock: an engine with several threads asks it under its own. `set`, `shed` and `wake` may be called
    meanwhile, from one thread: each decision goes by what was there when it looked.
    """

    # -- deciding ------------------------------------------------------------------------------------------------------

    def opens_at(self, now: float) -> float:
        """Return from when on connections are to be taken from the backlog.

        Returns:
            An instant, which is ``now`` or earlier when they are to be taken at once; infinity until somebody leaves
            or the rules change. Reasons whose action is not to wait are no reason here: `admit` refuses for those.
        """
        if not self.waits:
            return now
        shared = self._shared
        if shared is None:
            return self._opens_at(now)
        with shared.lock:
            opens_at = self._opens_at(now)
            shared.waits(opens_at == inf)
            return opens_at

    def _opens_at(self, now: float) -> float:
        rules, counts = self.rules, self.counts
        actions = rules.actions
        limit = rules.max_connections
        for reason, full in (
            (Refusal.MEMORY, self.shedding),
            (Refusal.LIMIT, counts.is_full_here or (limit is not None and counts.open >= limit)),
            (Refusal.HANDSHAKES, rules.max_handshakes is not None and counts.handshakes >= rules.max_handshakes),
        ):
            if full and actions.get(reason) is Action.WAIT:
                return inf
        if actions.get(Refusal.OVERLOAD) is Action.WAIT and self._has_too_many_orphans(now):
            return now + LOOK_AGAIN_S  # one that can be cancelled comes of a message's end, which nobody is told of
        bucket = self._bucket
        if bucket is not None and actions.get(Refusal.RATE) is Action.WAIT and not self._has_token:
            return max(now, bucket.ready_at())
        return now

    def hold_place(self, now: float) -> bool:
        """Take what whoever is accepted next would wait for, so that no other process has taken it by then.

        Called after `opens_at`, before accept(2); what is not used is given back by `let_go`. May be repeated.

        Returns:
            Whether there was a place; else `opens_at` says when.
        """
        shared = self._shared
        if shared is None:
            return True
        rules = self.rules
        with shared.lock:
            if rules.actions.get(Refusal.LIMIT) is Action.WAIT and not shared.holds:
                limit = rules.max_connections
                if shared.is_full_here or (limit is not None and shared.open >= limit):
                    return False
                shared.hold()
            bucket = self._bucket
            if bucket is not None and rules.actions.get(Refusal.RATE) is Action.WAIT and not self._has_token:
                self._has_token = bucket.take(now)
                return self._has_token
        return True

    def let_go(self) -> None:
        """Give back what `hold_place` has taken: no connection was accepted for it."""
        shared = self._shared
        if shared is None:
            return
        if self._has_token and self._bucket is not None:
            with shared.lock:
                self._bucket.give_back()
        self._has_token = False
        shared.let_go()

    def admit(self, peer: Peer, now: float, proxies: AccessList | None = None) -> Refusal | None:
        """Let a peer in and count it, or say why not and count that.

        Args:
            peer: Who connected.
            now: When.
            proxies: Where only these may connect, each for somebody else, whom `introduce` judges: it is not asked
                whether they may connect by themselves, nor how often. None where peers come by themselves.

        Raises:
            MemoryError: It was not let in, and no connection is counted.
        """
        refusal: Refusal | None
        if proxies is not None and not proxies.names(peer.host, peer.uid, peer.gid):
            refusal = Refusal.PROXY_UNTRUSTED
        elif self._shared is None:
            refusal = self._why_not(peer, now, proxies is not None)
        else:
            with self._shared.lock:
                refusal = self._why_not(peer, now, proxies is not None)
        if refusal is not None:
            self.counts.refused[refusal] += 1
        return refusal

    def introduce(self, proxy: Peer, peer: Peer, now: float) -> Refusal | None:
        """A proxy that was let in says for whom: judge and count the peer in its place.

        From now on the connection is counted by the peer, be it refused: `leave` is to be told of that one.

        Raises:
            MemoryError: Nothing has changed.
        """
        if self._shared is None:
            refusal = self._introduce(proxy, peer, now)
        else:
            with self._shared.lock:
                refusal = self._introduce(proxy, peer, now)
        if refusal is not None:
            self.counts.refused[refusal] += 1
        return refusal

    def _introduce(self, proxy: Peer, peer: Peer, now: float) -> Refusal | None:
        was_reserved = int(self._has_reserve and self.is_reserved(proxy))
        is_reserved = int(self._has_reserve and self.is_reserved(peer))
        refusal = self._why_not_introduced(peer, now, left_reserve=was_reserved > is_reserved)
        self.counts.move(self._key(proxy.host), was_reserved, self._key(peer.host), is_reserved)
        return refusal

    def _why_not_introduced(self, peer: Peer, now: float, *, left_reserve: bool) -> Refusal | None:
        """Ask what depends on who it is; the rest was asked of the proxy."""
        rules, counts, host = self.rules, self.counts, peer.host
        if host:
            key, permitted = self._known.get(host) or self._know(host)
        else:
            key, permitted = None, not rules.access or rules.access.permits_user(peer.uid, peer.gid)
        if not permitted:
            return Refusal.DENIED
        had_a_place = left_reserve and counts.reserved <= rules.reserve  # of those that are kept for others
        most = rules.max_connections
        if had_a_place and most is not None and counts.open - counts.reserved >= most:
            return Refusal.LIMIT
        return None if key is None else self._why_not_one_more(key, host, now)

    def _why_not_one_more(self, key: Hashable, host: str, now: float) -> Refusal | None:
        """Say whether there are too many of one address, or they come too fast."""
        rules = self.rules
        full = rules.max_per_peer is not None and self.counts.of_key(key) >= rules.max_per_peer
        if full and (rules.loopback_counts or not _is_loopback(host)):
            return Refusal.PER_PEER
        if self._buckets is not None and not self._buckets.take(key, now):
            return Refusal.PEER_RATE
        return None

    def _why_not(self, peer: Peer, now: float, is_proxy: bool) -> Refusal | None:
        host = peer.host
        if host:
            key, permitted = self._known.get(host) or self._know(host)
        else:
            key, access = None, self.rules.access
            permitted = not access or access.permits_user(peer.uid, peer.gid)
        if not permitted and not is_proxy:
            return Refusal.DENIED
        rules, counts = self.rules, self.counts
        taken = counts.open
        if self._has_reserve:
            is_reserved = self.is_reserved(peer)
            if is_reserved and counts.reserved < rules.reserve:
                counts.enter(key, 1)
                return None
            taken -= min(counts.reserved, rules.reserve)
        if self.shedding:
            return Refusal.MEMORY
        if counts.is_full_here or (rules.max_connections is not None and taken >= rules.max_connections):
            return Refusal.LIMIT
        if rules.max_handshakes is not None and counts.handshakes >= rules.max_handshakes:
            return Refusal.HANDSHAKES
        if self.orphans and self._has_too_many_orphans(now):
            return Refusal.OVERLOAD
        is_counted = key is not None and not is_proxy
        if is_counted and (refusal := self._why_not_one_more(key, host, now)) is not None:
            return refusal
        bucket, buckets = self._bucket, self._buckets
        if bucket is not None and not self._has_token and not bucket.take(now):
            if buckets is not None and is_counted:
                buckets.give_back(key)  # what one refuses costs nothing of the other
            return Refusal.RATE
        counts.enter(key, int(self._has_reserve and is_reserved))
        self._has_token = False
        return None

    def take_over(self, peer: Peer) -> None:
        """Count a connection that another process had let in, and that is this one's from now on. It is not judged.

        Raises:
            MemoryError: It is not counted.
        """
        reserved = int(self._has_reserve and self.is_reserved(peer))
        if self._shared is None:
            self.counts.enter(self._key(peer.host), reserved)
            return
        with self._shared.lock:
            self.counts.enter(self._key(peer.host), reserved)

    def refuse(self, reason: Refusal) -> None:
        """Count a refusal that was decided elsewhere: a process without descriptors cannot ask who is there."""
        self.counts.refused[reason] += 1

    def part(self, peer: Peer) -> None:
        """A connection that was admitted has lost its transport, not its handler. Then call `wake`, if `waits`.

        Its place is free. Under its address it counts until `leave`: else to connect, send and reset, again and again,
        would be enough to have any number of handlers at work.

        Raises:
            MemoryError: Nothing has changed: it is to be told again.
        """
        self.counts.part(int(self._has_reserve and self.is_reserved(peer)))

    def leave(self, peer: Peer, *, orphan: bool = False) -> None:
        """A connection that was admitted has ended, and its handler too. Then call `wake`, if `waits`.

        Args:
            peer: Whose it was.
            orphan: `part` was called for it before.

        Raises:
            MemoryError: Nothing has changed: it is to be told again.
        """
        self.counts.leave(self._key(peer.host), int(self._has_reserve and self.is_reserved(peer)), orphan)

    def _has_too_many_orphans(self, now: float) -> bool:
        most = self.rules.max_orphans
        return most is not None and self.orphans.is_full(most, now)

    def orphaned(self, now: float) -> Orphan | None:
        """There is an orphan more: have one of them cancelled if there are too many. Return which."""
        most = self.rules.max_orphans
        return None if most is None else self.orphans.give_way(most, now)

    # -- datagrams -----------------------------------------------------------------------------------------------------

    def admit_datagram(self, peer: Peer, now: float) -> Refusal | None:
        """Say whether a datagram of this sender is to be handled; count it if not."""
        refusal = self._why_not_datagram(peer.host, now)
        if refusal is not None:
            self.counts.refused[refusal] += 1
        return refusal

    def _why_not_datagram(self, host: str, now: float) -> Refusal | None:
        if not host:
            return None  # a Unix socket does not say who sends
        key, permitted = self._known.get(host) or self._know(host)
        if not permitted:
            return Refusal.DENIED
        buckets = self._datagrams
        if buckets is not None and not buckets.take(key, now):
            return Refusal.PEER_RATE
        return None

    def amplifies(self, question_bytes: int, answers: int, answer_bytes: int) -> bool:
        """Say whether the answers to one datagram would be a weapon against the address it claims to be from.

        Args:
            question_bytes: Its payload.
            answers: How many datagrams answer it, the next one included.
            answer_bytes: Their payloads together.
        """
        limit = self.rules.datagram_amplification
        return limit is not None and answers * HEADER_BYTES + answer_bytes > limit * (HEADER_BYTES + question_bytes)

    @staticmethod
    def is_local(peer: Peer) -> bool:
        """Say whether a peer is on this machine: no other machine can claim to be."""
        host = peer.host
        return not host or _is_loopback(host)

    # -- the reserve ---------------------------------------------------------------------------------------------------

    def is_reserved(self, peer: Peer) -> bool:
        """Say whether a peer is one of those whom the reserve is kept for."""
        return self.rules.reserve_for.names(peer.host, peer.uid, peer.gid)

    def unreserved(self, connections: Iterable[C]) -> list[C]:
        """Leave out those who have the places of the reserve: the first of them, as many as there are places."""
        if not self._has_reserve:
            return list(connections)
        left = self.rules.reserve
        others: list[C] = []
        for connection in connections:
            if left and self.is_reserved(connection.peer):
                left -= 1
            else:
                others.append(connection)
        return others

    # -- handshakes ----------------------------------------------------------------------------------------------------

    def begin_handshake(self, now: float) -> Handshake:
        """A connection that was admitted begins a handshake, which takes one of ``max_handshakes`` until it ends."""
        handshake = Handshake(self, now)
        self.counts.begin_handshake()
        return handshake

    def at_once(self, most: int) -> int:
        """Return how many of ``most`` connections to take before their handlers run, who begin the handshakes."""
        limit = self.rules.max_handshakes
        if limit is None:
            return most
        handshakes = self.counts.handshakes
        if handshakes >= limit:  # then `admit` refuses, and there is nothing to overshoot
            return most
        return min(most, limit - handshakes)


class Handshake:
    """One connection's handshake. Its holder calls `end`, however it ends: done, failed, late, reset, stopped.

    Attributes:
        since: When it began, on the engine's clock.
    """

    __slots__ = ("_gate", "since")

    def __init__(self, gate: Gate, since: float) -> None:
        self._gate: Gate | None = gate
        self.since = since

    def end(self) -> None:
        """Give the place back, and tell those who wait for one. May be repeated, also by a signal handler meanwhile.

        Raises:
            MemoryError: Nothing has changed: it is to be told again.
        """
        gate, self._gate = self._gate, None
        if gate is not None:
            try:
                gate.counts.end_handshake()
            except BaseException:
                self._gate = gate
                raise
            if gate.rules.max_handshakes is not None and gate.waits:
                gate.wake()


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host == "::1"
