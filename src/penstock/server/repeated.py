"""What is done again and again while a loop runs, and is not lost in a moment without memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Repeated:
    """Calls a function at once and then every so often, whatever that raises. All methods belong to the loop's thread.

    A timer needs memory: where there is none for it, the function is called in the loop's next turn instead.

    Args:
        loop: The running loop.
        every_s: How often, in seconds.
        function: What it raises is the loop's to report, and ends nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, every_s: float, function: Callable[[], object]) -> None:
        self._loop = loop
        self._every_s = every_s
        self._function = function
        self._next: asyncio.Handle | None = None

    def begin(self) -> None:
        """Call it now, and from now on."""
        try:
            self._next = self._loop.call_later(self._every_s, self.begin)
        except MemoryError:
            self._next = self._loop.call_soon(self.begin)
            return
        self._function()

    def stop(self) -> None:
        """Call it no more. May be repeated."""
        if self._next is not None:
            self._next.cancel()


async def pause(seconds: float) -> None:
    """Sleep; without memory for that, let the loop turn once instead."""
    try:
        await asyncio.sleep(seconds)
    except MemoryError:
        await asyncio.sleep(0)
