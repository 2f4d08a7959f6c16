"""How much tasks may do in a row until their loop has its turn: law 12.

An ``await`` that need not wait goes on at once, which is what makes it cheap. A task that only ever does such things,
sending to a peer that reads as fast, or to one that is gone, would hold its loop for ever: no other would be served,
no timer would fire, no signal would be met. So what goes on at once is counted, for a loop and not for a connection,
and each time as much is done in a row the next one lets the loop turn first. It does so before it does anything: who is
cancelled there has sent nothing and taken nothing.

Receiving what was read already is not counted here: there is no more of it than was read, and of one connection no more
than ``limits.batch_messages`` is received in a row (law 9). What raises at once is counted, receiving too.
"""

from __future__ import annotations

from collections.abc import Generator
from types import coroutine
from typing import Final
from weakref import WeakKeyDictionary

# A turn of the loop costs as much as two to ten small messages: with so many in a row, a hundredth of that for each.
MOST_IN_A_ROW: Final = 256

# What is sent counts by its bytes as well: each 256 as one more. So no more than 64 KiB are sent in a row, and a
# message, which takes less than a tenth of a millisecond; and a peer that writes is read before what it is sent stops
# that (law 7).
SIZE_SHIFT: Final = 8


class Turn:
    """What one loop's tasks may still do in a row.

    Attributes:
        left: How much. A coroutine that the loop resumed sets it back to `MOST_IN_A_ROW`; one that goes on without
            waiting takes one off, and calls `end` first where none is left.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_IN_A_ROW

    async def take(self, size: int = 0) -> None:
        """Take one off, and what so many bytes count; let the loop turn before that if it is its turn."""
        if self.left <= 0:
            await self.end()
        self.left -= 1 + (size >> SIZE_SHIFT)

    async def end(self) -> None:
        """Let the loop turn."""
        await _turn()
        self.left = MOST_IN_A_ROW


@coroutine
def _turn() -> Generator[None, None, None]:
    """Go on in the loop's next turn, as after ``asyncio.sleep(0)``: a bare ``yield`` is what a task takes for that."""
    yield


# Messages of one connection are handled in a row by their number, ``limits.batch_messages``, and by the time they take:
# a handler that takes a millisecond for each would hold the others for a quarter of a second (law 9). The time is
# looked at rarely, for most handlers take a microsecond, and a look at the clock a twentieth of that.
LONGEST_S: Final = 0.01
FIRST_LOOK: Final = 8  # messages of one batch after which the time is looked at
LOOKED_AT: Final = 32  # and after so many more again

_turns: WeakKeyDictionary[object, Turn] = WeakKeyDictionary()


def turn_of(loop: object) -> Turn:
    """Return the one `Turn` of a loop."""
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn()
    return turn
