"""What a connection needs of whoever made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...config import Limits, Timeouts
from ...core.budget import OutputBudget
from ...core.contract import Clock
from ...core.events import Event
from ...core.gate import Gate
from ..timed import Alarms, ClockAlarms
from .timers import Timers

if TYPE_CHECKING:
    from .stream import StreamConnection

_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _buffer_of(loop: asyncio.AbstractEventLoop, size: int) -> memoryview:
    """Return the loop's one receive buffer, of at least ``size`` bytes."""
    buffer = _buffers.get(loop)
    if buffer is None or len(buffer) < size:
        buffer = _buffers[loop] = memoryview(bytearray(size))
    return buffer


@dataclass(slots=True)
class Host:
    """What a connection needs of whoever made it: a server, or a client.

    Attributes:
        loop: Whose transports it uses.
        clock: Where time comes from.
        timeouts: At first.
        limits: Of its buffers.
        emit: Told of every event.
        released: Called once, when the transport is gone and the handler has ended.
        budget: What all peers together are owed.
        gate: Counts handshakes; a client has none.
        alarms: Keeps the connections' timers.
        buffer: What every read goes into, on loops that let it.
    """

    loop: asyncio.AbstractEventLoop
    clock: Clock
    timeouts: Timeouts
    limits: Limits
    emit: Callable[[Event], None]
    released: Callable[[StreamConnection[Any]], None]
    budget: OutputBudget = field(default_factory=OutputBudget)
    gate: Gate | None = None
    alarms: Alarms = field(init=False)
    buffer: memoryview = field(init=False)

    def __post_init__(self) -> None:
        self.alarms = self.clock if isinstance(self.clock, Timers) else ClockAlarms(self.clock)
        self.buffer = _buffer_of(self.loop, self.limits.read_bytes)
