"""A drain that does not send every peer back at once: connections are told in random order, a batch at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, Generic, Protocol, TypeVar

from ..core.contract import Clock, TimerHandle
from ..reasons import CloseReason


class Drained(Protocol):
    """A connection.

    Attributes:
        close_reason: None as long as it does not end.
    """

    close_reason: CloseReason | None

    def drain(self) -> None:
        """Come to an end."""


C = TypeVar("C", bound=Drained)

# How often some are told, at most: ten thousand over ten seconds are fifty at a time.
BATCH_S: Final = 0.05


class Spread(Generic[C]):
    """Has connections drain one after the other, those that have not ended by then.

    Args:
        clock: Where time comes from.
        connections: Those that are there. Afterwards none is added.
        spread_s: When the last of them is told, in seconds from now, at least.
        shuffle: Puts them in random order.
    """

    def __init__(
        self,
        clock: Clock,
        connections: Sequence[C],
        spread_s: float,
        *,
        shuffle: Callable[[list[C]], object] = random.shuffle,
    ) -> None:
        self._clock = clock
        self._left = list(connections)
        shuffle(self._left)
        batches = max(1, min(len(self._left), ceil(spread_s / BATCH_S)))
        self._size = ceil(len(self._left) / batches)
        self._every_s = spread_s / batches
        self._timer: TimerHandle | None = None
        self._at = clock.time()
        self._put_off()

    def _put_off(self) -> None:
        if self._left:
            self._at += self._every_s
            self._timer = self._clock.call_at(self._at, self._next)

    def _next(self) -> None:
        batch = self._left[-self._size :]
        del self._left[-self._size :]
        self._put_off()  # first: whatever one of them raises
        for connection in batch:
            if connection.close_reason is None:
                connection.drain()

    def cancel(self) -> None:
        """Tell no more of them. May be repeated."""
        self._left.clear()
        if self._timer is not None:
            self._timer.cancel()
