"""How many of the reads that make much work a loop does in one turn: the next one is told of the others once more."""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from ...core.law.tls import STEPS_PER_TURN


class Rations:
    """What is left in this turn of one loop."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = STEPS_PER_TURN

    def take(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Take one; say whether there was any. What the loop is told now it does before the reads of the next turn."""
        if self._left == STEPS_PER_TURN:
            loop.call_soon(self._renew)
        if self._left == 0:
            return False
        self._left -= 1
        return True

    def _renew(self) -> None:
        self._left = STEPS_PER_TURN


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, Rations] = WeakKeyDictionary()


def rations_of(loop: asyncio.AbstractEventLoop) -> Rations:
    """Return those of a loop."""
    found = _known.get(loop)
    if found is None:
        found = _known[loop] = Rations()
    return found
