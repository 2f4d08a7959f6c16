"""What a server asks of the supervisor whose worker its process is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..address import Address
from ..core.shared_counts import SharedCounts
from ..engines.listener import Listener
from .inherited import InheritedSocket
from .life import Life
from .server import Server


class Supervision(Protocol):
    """The supervisor, as its worker knows it. All methods belong to the loop's thread.

    Attributes:
        inherited: The sockets that a service manager handed down to the supervisor.
        workers: How many workers there are to be.
        counts_together: Whether the limits of the gate are those of all workers.
        is_first: Whether it is the worker that has the services which one worker has: there is one at each time, but
            for a successor.
    """

    workers: int
    is_first: bool
    counts_together: bool
    inherited: Sequence[InheritedSocket]

    def begin(self, life: Life, servers: Sequence[Server]) -> None:
        """The loop runs, and nothing has begun yet: from now on the supervisor is heard."""

    async def introduced(self) -> None:
        """Wait until the groups and registries of this process have members and keys of the other workers, too.

        May be repeated. `listeners` does so as well, before any peer is served.
        """

    async def listeners(
        self,
        service: str,
        addresses: Sequence[Address],
        *,
        backlog: int,
        reuse_address: bool,
        uds_mode: int,
        uds_owner: tuple[int, int] | None,
        inherited: Sequence[InheritedSocket],
    ) -> list[Listener]:
        """Return this worker's listeners on the addresses, which the supervisor has opened and keeps.

        Raises:
            ConfigurationError, BindError: As `open_listeners`.
        """

    async def counts(self, service: str, most_here: int | None, woken: Callable[[], object]) -> SharedCounts | None:
        """Return what this worker counts together with the others; None where each counts by itself.

        Args:
            service: Whose connections.
            most_here: How many of them this process can have.
            woken: Called when a place may have become free in another worker.
        """

    def ready(self) -> None:
        """It serves."""

    def told_to_end(self) -> None:
        """It was told to end by somebody else than the supervisor, and begins to."""

    async def end(self) -> None:
        """It has ended. What it has said to others is written."""


class Worker:
    """A worker, as the signals see it that end it: its supervisor is told of them.

    Args:
        life: What begins, serves and ends.
        supervision: The supervisor.
    """

    def __init__(self, life: Life, supervision: Supervision) -> None:
        self._life = life
        self._supervision = supervision

    def begin_drain(self) -> None:
        """End in order, soon."""
        self._supervision.told_to_end()
        self._life.begin_drain()

    def begin_stop(self) -> None:
        """End at once."""
        self._supervision.told_to_end()
        self._life.begin_stop()
