"""What a connection on a loop needs of its server, or of its client."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...core.contract import Clock
from ...core.events import Event
from ...core.turns import Turn, turn_of
from ..alarms import Alarms, ClockAlarms
from ..context import Context
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


def alarms_of(clock: Clock) -> Alarms:
    """Return what keeps the timers of connections that go by a clock."""
    return clock if isinstance(clock, Timers) else ClockAlarms(clock)


def _nothing(_: object) -> None:
    """Do nothing: a client has no places."""


@dataclass(slots=True, kw_only=True)
class LoopContext(Context):
    """What a connection on a loop needs of what made it: a server, or a client.

    Attributes:
        loop: The loop.
        emit: Told of every event.
        released: Called once, when the link is gone and the handler has ended.
        orphaned: Called before that, should the handler be at work when the link is gone.
        buffer: What every read goes into, on loops that let it.
        turn: What tasks may do in a row on this loop.
        variables: The context variables that each connection begins with, in a copy of its own.
    """

    loop: asyncio.AbstractEventLoop
    emit: Callable[[Event], None]
    released: Callable[[StreamConnection[Any]], None]
    orphaned: Callable[[Any], None] = _nothing  # Any: a connection, as above
    buffer: memoryview = field(init=False)
    variables: contextvars.Context = field(init=False, default_factory=contextvars.copy_context)
    turn: Turn = field(init=False)

    def blame(self, error: BaseException) -> None:
        """Report that a step of a connection failed which is no handler's."""
        self.loop.call_exception_handler({"message": "a connection failed", "exception": error})

    def __post_init__(self) -> None:
        Context.__post_init__(self)  # not super(): a dataclass with slots is another class than the one written here
        self.buffer = _buffer_of(self.loop, self.limits.read_bytes)
        self.turn = turn_of(self.loop)
