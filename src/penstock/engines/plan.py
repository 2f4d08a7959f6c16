"""What an engine is told to serve: the service, its limits, and who is told of what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ..config import Limits, Timeouts
from ..core.budget import OutputBudget
from ..core.contract import Clock
from ..core.events import Event, Tally
from ..core.gate import Gate
from ..core.handlers import Driver, driver_of
from ..core.service import Service
from .link import LayerMaker


class OfServer(TypedDict):
    """What the connections of a server need of its plan, as arguments of a `Context`."""

    timeouts: Timeouts
    limits: Limits
    budget: OutputBudget
    gate: Gate
    server: Any
    secure: Callable[[Any], LayerMaker] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an engine is to do with its listeners.

    Attributes:
        service: What is done with a connection or a datagram.
        timeouts: At first, for each connection.
        limits: For each connection.
        threads: Most threads that handlers may occupy.
        blocking: Call ``def`` handlers in threads.
        cancels_orphans: Cancel handlers that are at work ``timeouts.after_close_s`` after their connections.
        gate: Decides who is let in.
        budget: What all peers together are owed.
        emit: Told of every event.
        tally: Told of the number of events that nobody wants to be told of one by one; None: there are none.
        clock: Where time comes from; None for the engine's own.
        server: The `Server` that connections say they belong to; None for a client's.
        driver: How the handler is called: chosen here, once.
        on_stopped: Called once, when the engine was told to drain or stop and no connection is left.
    """

    service: Service[Any]
    timeouts: Timeouts
    limits: Limits
    threads: int
    emit: Callable[[Event], None]
    on_stopped: Callable[[], None]
    blocking: bool = False
    cancels_orphans: bool = False
    gate: Gate = field(default_factory=Gate)
    budget: OutputBudget = field(default_factory=OutputBudget)
    clock: Clock | None = None
    server: Any = None
    tally: Tally | None = None
    driver: Driver = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "driver", driver_of(self.service.handler, blocking=self.blocking))

    def for_connections(self) -> OfServer:
        """Return what its connections need of it."""
        return {
            "timeouts": self.timeouts,
            "limits": self.limits,
            "budget": self.budget,
            "gate": self.gate,
            "server": self.server,
            "secure": getattr(self.server, "secure", None),
        }
