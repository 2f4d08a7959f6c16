"""What connections need of what made them, server or client: the part that is the same on every engine in Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..config import Limits, Timeouts
from ..core.budget import OutputBudget
from ..core.contract import Clock
from ..core.law.durations import Durations
from ..core.law.levels import Levels
from .alarms import Alarms
from .link import LayerMaker

if TYPE_CHECKING:
    from ..core.gate import Gate


@dataclass(slots=True, kw_only=True)
class Context:
    """What a connection needs of what made it: a server, or a client.

    Attributes:
        clock: Where time comes from.
        timeouts: At first.
        limits: Of its buffers.
        alarms: Keeps the connections' timers.
        budget: What all peers together are owed.
        gate: Counts handshakes; a client has none.
        server: As of the plan.
        only_received_counts: What is sent to a peer does not keep it from being idle: it may have gone, and nothing
            would say so.
        secure: Makes what makes the TLS layer of a connection that is open already, of what its user said; None: it
            cannot.
        durations: The timeouts, as the law has them: one object for all connections that have these.
        levels: The limits, likewise.
    """

    clock: Clock
    timeouts: Timeouts
    limits: Limits
    alarms: Alarms
    budget: OutputBudget = field(default_factory=OutputBudget)
    gate: Gate | None = None
    server: Any = None
    only_received_counts: bool = False
    secure: Callable[[Any], LayerMaker] | None = None
    durations: Durations = field(init=False)
    levels: Levels = field(init=False)

    def __post_init__(self) -> None:
        self.durations = self.durations_of(self.timeouts)
        self.levels = self.levels_of(self.limits)

    def durations_of(self, timeouts: Timeouts) -> Durations:
        """Return timeouts as the law has them."""
        return Durations(timeouts, self.only_received_counts)

    def levels_of(self, limits: Limits) -> Levels:
        """Return limits as the law has them."""
        return Levels(limits)
