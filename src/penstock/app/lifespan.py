"""What is opened before an application listens and closed after it has drained: a function that yields once."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

from ..core.places import shown
from ..core.signatures import is_async, name_of, positional
from ..core.texts import text_of
from ..errors import ApplicationError

Opened = AsyncIterator[object] | Iterator[object] | AbstractAsyncContextManager[object] | AbstractContextManager[object]

EXPECTED = "a lifespan takes (app), or nothing, and yields once"


class Closing(Protocol):
    """What was opened, and is to be closed."""

    async def close(self) -> None:
        """Close it. Raises what the user's code raises."""


class Lifespan:
    """One of them.

    Args:
        function: The user's: an async generator function, a generator function, or what returns a context manager.

    Attributes:
        name: What it is called.

    Raises:
        ApplicationError: It takes other arguments, or is a coroutine function, which cannot yield.
    """

    def __init__(self, function: Callable[..., Opened]) -> None:
        self._function = function
        self._takes_app = positional(function, EXPECTED, 0, 1) == 1
        self.name = name_of(function)
        if is_async(function):
            raise ApplicationError(f"{EXPECTED}; {self.name} has no yield: what closes it comes after that")

    async def open(self, app: object) -> Closing:
        """Run it up to its yield.

        Raises:
            ApplicationError: It failed. Nothing of it is left to be closed.
        """
        try:
            return await self._open(app)
        except ApplicationError:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ApplicationError(self.failure("failed", error)) from error
        except (Exception, SystemExit) as error:
            raise ApplicationError(self.failure("failed", error)) from error

    async def _open(self, app: object) -> Closing:
        opened: Any = self._function(app) if self._takes_app else self._function()
        if inspect.isasyncgen(opened):
            try:
                await anext(opened)
            except StopAsyncIteration:
                raise ApplicationError(f"{EXPECTED}; {self.name} ended without") from None
            return _AsyncGenerator(opened, self.name)
        if inspect.isgenerator(opened):
            try:
                next(opened)
            except StopIteration:
                raise ApplicationError(f"{EXPECTED}; {self.name} ended without") from None
            return _Generator(opened, self.name)
        if isinstance(opened, AbstractAsyncContextManager):
            await opened.__aenter__()
            return _AsyncManager(opened)
        if isinstance(opened, AbstractContextManager):
            opened.__enter__()
            return _Manager(opened)
        raise ApplicationError(f"{EXPECTED}; {self.name} returned {type(opened).__name__}")

    def failure(self, what: str, error: BaseException) -> str:
        """Say in one line what an exception says, and where the lifespan was."""
        code = getattr(inspect.unwrap(self._function), "__code__", None)
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
        where = f" ({shown(own[-1].filename)}:{own[-1].lineno})" if own else ""
        text = text_of(error, str)
        return f"the lifespan {self.name}{where} {what}: {type(error).__name__}{': ' if text else ''}{text}"


# The end is told as an end, whatever brought it about: what stands after the yield runs, with or without a ``finally``.


class _AsyncGenerator:
    def __init__(self, opened: Any, name: str) -> None:
        self._opened = opened
        self._name = name

    async def close(self) -> None:
        try:
            await anext(self._opened)
        except StopAsyncIteration:
            return
        await self._opened.aclose()
        raise ApplicationError(f"{EXPECTED}; {self._name} yielded twice")


class _Generator:
    def __init__(self, opened: Any, name: str) -> None:
        self._opened = opened
        self._name = name

    async def close(self) -> None:
        try:
            next(self._opened)
        except StopIteration:
            return
        self._opened.close()
        raise ApplicationError(f"{EXPECTED}; {self._name} yielded twice")


class _AsyncManager:
    def __init__(self, opened: AbstractAsyncContextManager[object]) -> None:
        self._opened = opened

    async def close(self) -> None:
        await self._opened.__aexit__(None, None, None)


class _Manager:
    def __init__(self, opened: AbstractContextManager[object]) -> None:
        self._opened = opened

    async def close(self) -> None:
        self._opened.__exit__(None, None, None)
