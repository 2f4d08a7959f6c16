"""What lives beside the servers of a process, and may steer them: the control socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .life import Life


@dataclass(frozen=True, slots=True)
class Steered:
    """What a process is there for, to one who steers it.

    Attributes:
        name: What is served.
        life: It.
        reload: Does what SIGHUP does, and returns what came of it; None where there is nothing to read again.
    """

    name: str
    life: Life
    reload: Callable[[], Awaitable[str]] | None


# Makes what lives beside the servers. Its addresses are opened before theirs, and it begins before them and ends after
# them, in the same loop.
Beside = Callable[[Steered], Life]
