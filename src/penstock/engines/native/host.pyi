import asyncio
from collections.abc import Callable
from typing import Any

from ..base import Plan
from ..loop.stream import StreamConnection
from .poller import Poller

class Host:
    # At run time they are no subclasses, but have the same methods.
    connections: list[StreamConnection[Any]]
    messages_in: int
    messages_out: int
    ending: bool
    def __init__(
        self, poller: Poller, loop: asyncio.AbstractEventLoop, plan: Plan, idle: Callable[[], None]
    ) -> None: ...
    def join(self) -> None: ...
    def part(self) -> None: ...
