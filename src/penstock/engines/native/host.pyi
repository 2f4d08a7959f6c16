import asyncio
from collections.abc import Callable
from typing import Any

from ...codecs.base import Codec
from ...config import Limits, Timeouts
from ...core.budget import OutputBudget
from ...core.contract import Clock
from ...core.events import Event, Tally
from ...core.gate import Gate
from ...core.handlers import AnyHandler
from ..link import LayerMaker
from ..loop.stream import StreamConnection
from ..orphans import OrphanKeeper
from .polling.poller import Poller

class Host:
    # At run time they are no subclasses, but have the same methods.
    connections: list[StreamConnection[Any]]
    messages_in: int
    messages_out: int
    ending: bool
    keeper: OrphanKeeper | None
    cancels_on_close: bool
    closes_at_eof: bool
    hands_over: bool
    threaded: bool
    tally: Tally | None
    secure: Callable[[Any], LayerMaker] | None
    def __init__(
        self,
        poller: Poller,
        loop: asyncio.AbstractEventLoop,
        codec: Codec[Any],
        *,
        timeouts: Timeouts,
        limits: Limits,
        clock: Clock | None,
        emit: Callable[[Event], None],
        budget: OutputBudget,
        idle: Callable[[], None] | None = None,
        gate: Gate | None = None,
        server: Any = None,
        name: str | None = None,
    ) -> None: ...
    def handle_with(self, handler: AnyHandler) -> None: ...
    def survive_bad_messages(self, answer: object) -> None: ...
    def join(self) -> None: ...
    def part(self) -> None: ...
