"""What a gate decides by, and what changes while connections come and go: rules, counts, addresses that were read."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final

from ..address import Peer
from ..address.networks import host_number, network_key
from ..config import Action
from ..errors import ConfigurationError
from ..reasons import Refusal
from .buckets import Buckets
from .counts import Counts
from .orphans import Orphans
from .rules import FIXED, Rules
from .shared_counts import SharedCounts

# Addresses whose key and whose judgement by ``allow`` and ``deny`` are remembered: some 200 bytes each.
MAX_KNOWN: Final = 4096


class GateState:
    """The rules of a gate and its counts, and those who wait until one of them changes.

    Args:
        rules: What it goes by; None: what it is told by `begin`, until then it lets everybody in.
        counts: What it reads and writes who is in; None for those of this process alone.

    Attributes:
        rules: What it goes by now.
        counts: Who is in, and who was refused.
        orphans: The handlers of this process that outlive their peers.
        shedding: Whether everybody is refused for want of memory.
        waits: Whether `opens_at` could say anything but now.
        judges_datagrams: Whether `admit_datagram` could refuse anything.
    """

    def __init__(self, rules: Rules | None = None, counts: Counts | None = None) -> None:
        self.rules = rules or Rules()
        self.counts: Counts | SharedCounts = counts or Counts()
        self._shared: SharedCounts | None = None
        self._has_token = False  # of `accept_rate`, taken for whoever is accepted next
        self.orphans = Orphans()
        self.shedding = False
        self._changes: dict[str, Any] | None = {} if rules is None else None  # what was set before `begin`
        self._watchers: list[Callable[[], object]] = []
        self._make_buckets()
        self._notice()

    def share(self, counts: SharedCounts) -> None:
        """Count together with the gates of other processes from now on: before `begin`, and before anybody is in."""
        self.counts = self._shared = counts
        self._make_buckets()
        self._notice()

    def begin(self, rules: Rules) -> None:
        """Go by ``rules`` from now on, and by what was set before this instead of what they say.

        Raises:
            ConfigurationError: The two contradict each other. Nothing was changed.
        """
        self.rules = dataclasses.replace(rules, **(self._changes or {}))
        self._changes = None
        self._make_buckets()
        self._notice()
        self.wake()

    @property
    def open(self) -> int:
        """Connections that were admitted, and whose transports are there."""
        return self.counts.open

    @property
    def reserved(self) -> int:
        """Those of them that are of ``rules.reserve_for``: the first of them have the places of the reserve."""
        return self.counts.reserved

    @property
    def handshakes(self) -> int:
        """Those of them that have not finished their handshake."""
        return self.counts.handshakes

    @property
    def refused(self) -> Counter[Refusal]:
        """Refusals so far, by reason."""
        return self.counts.refused

    def _notice(self) -> None:
        """Look at the rules once for what is asked for each accept and each datagram."""
        rules = self.rules
        self.waits = Action.WAIT in rules.actions.values()
        self.judges_datagrams = bool(rules.access) or rules.datagram_rate_per_peer is not None
        self._has_reserve = bool(rules.reserve_for)
        if self._shared is not None and self.waits:
            self._shared.may_wait()
        # By the text of an address, what it is counted under and whether it may connect at all: to read one costs as
        # much as the rest of a decision. Set after `rules`, and looked up before them: what another thread notes by old
        # rules it notes in the old table.
        self._known: dict[str, tuple[Hashable, bool]] = {}

    def _make_buckets(self, before: Rules | None = None) -> None:
        """Make those whose rate is another than ``before``: the others are as full as they are."""
        rules = self.rules
        if before is None or before.accept_rate != rules.accept_rate:
            rate = rules.accept_rate
            self._bucket = None if rate is None else self.counts.bucket(rate, is_new=before is not None)
            self._has_token = False
        if before is None or before.accept_rate_per_peer != rules.accept_rate_per_peer:
            rate = rules.accept_rate_per_peer
            self._buckets = None if rate is None else self.counts.buckets(rate, is_new=before is not None)
        if before is None or before.datagram_rate_per_peer != rules.datagram_rate_per_peer:
            self._datagrams = None if rules.datagram_rate_per_peer is None else Buckets(rules.datagram_rate_per_peer)

    # -- whom it counts ------------------------------------------------------------------------------------------------

    def open_of(self, peer: Peer) -> int:
        """Return how many connections of the peer's address are open; 0 for Unix peers, who are not counted."""
        return self.counts.of_key(self._key(peer.host))

    def _key(self, host: str) -> Hashable:
        """Return what a peer is counted under; None for a Unix peer, of whom there is one kind only."""
        return (self._known.get(host) or self._know(host))[0] if host else None

    def _know(self, host: str) -> tuple[Hashable, bool]:
        """Read an address: return what it is counted under, and whether ``allow`` and ``deny`` let it in."""
        known, rules = self._known, self.rules
        key: Hashable = host  # as it stands it is one address
        if ":" in host or rules.ipv4_prefix != 32:
            version, number = host_number(host)
            key = network_key(version, number, rules.ipv4_prefix if version == 4 else rules.ipv6_prefix)
        if len(known) >= MAX_KNOWN:
            known.clear()
        known[host] = judged = key, rules.access.permits(host)
        return judged

    # -- changing ------------------------------------------------------------------------------------------------------

    def set(self, **changes: Any) -> None:
        """Change rules while connections come and go, by the field names of `Rules`: ``set(max_per_peer=15)``.

        Those who are in stay. Buckets whose rate changes are full again. What is set before the server starts holds
        after it, whatever the configuration says.

        Raises:
            ConfigurationError: A name is unknown, a value is refused, or a prefix or ``reserve_for`` is to change after
                the start: the connections that are open are counted by the old one. Nothing was changed.
        """
        known = [spec.name for spec in dataclasses.fields(Rules)]
        for name, value in changes.items():
            if name not in known:
                raise ConfigurationError(f"unknown name {name}; known are {', '.join(known)}", "Gate")
            if self._changes is None and name in FIXED and value != getattr(self.rules, name):
                raise ConfigurationError(f"{name} is set at the start: open connections are counted by it", "Gate")
        before, self.rules = self.rules, dataclasses.replace(self.rules, **changes)
        if self._changes is not None:
            self._changes.update(changes)
        self._make_buckets(before)
        self._notice()
        self.wake()

    def shed(self, shedding: bool) -> None:
        """Refuse everybody for want of memory, or do so no longer."""
        if shedding != self.shedding:
            self.shedding = shedding
            self.wake()

    def watch(self, watcher: Callable[[], object]) -> None:
        """Have ``watcher`` called by `wake`; it waits until `opens_at` says something else."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], object]) -> None:
        """Have it called no longer. May be repeated."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def wake(self) -> None:
        """There may be room: have those who wait look again.

        Called when a connection has left, a handshake is over or the rules have changed; and for a place that became
        free in another process, as a descriptor tells it. A call too many costs a look.
        """
        for watcher in self._watchers:
            watcher()
