"""An end that is carried out whatever fails on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType


class Surely:
    """Should the block fail, ``rest`` is called at the loop's next turn.

    That is asked for before the block begins: at the limit of recursion or without memory it could not be asked for
    after. If it cannot be asked for even then, the block is not entered, and nothing has changed.

    Args:
        loop: Calls it.
        rest: Does what the block has left undone; it may find that to be nothing, or everything.
    """

    __slots__ = ("_handle", "_loop", "_rest")

    def __init__(self, loop: asyncio.AbstractEventLoop, rest: Callable[[], object]) -> None:
        self._loop = loop
        self._rest = rest

    def __enter__(self) -> None:
        self._handle = self._loop.call_soon(self._rest)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is None:
            self._handle.cancel()
