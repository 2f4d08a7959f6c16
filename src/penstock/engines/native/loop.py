"""The loop that `penstock.run` makes for the engine: asyncio's own, on the engine's selector, and hard to end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any, Final

from .polling.selector import NativeSelector

# So many callbacks are called though there is no memory to note them with, until there is some again.
SPARES: Final = 32

# A deque asks for memory for every 64 entries, and keeps so much of what it has had.
KEPT_ENTRIES: Final = 16 * 64

_NOTHING: Final = object()


class NativeLoop(asyncio.SelectorEventLoop):
    """Goes on when memory is short for a moment.

    asyncio itself asks for memory between two callbacks, where a fault would end every server on the loop; right before
    a callback, which would then never be called; and in a task's step outside of its coroutine, after which nobody
    would ever resume the task, or hear of its end. Here the turn is begun again, the callback or the step is called
    once more, and the connections look whether their tasks have ended.

    It asks for memory to note a callback, too. A future that has its result forgets in any case whom it has to tell: a
    task that awaits it would never be resumed, nor end when it is cancelled. So there are handles in reserve, and room
    for them in the queue. What is beyond both raises MemoryError and is not noted.
    """

    def __init__(self) -> None:
        selector = NativeSelector()
        super().__init__(selector)
        ready: Any = self._ready  # type: ignore[attr-defined] # as in `call_soon`
        ready.extend([None] * KEPT_ENTRIES)
        ready.clear()
        selector.bind(self, True)
        self._servers = selector
        self._spares: list[asyncio.Handle] = []
        self._no_context = contextvars.Context()  # of what keeps nothing alive as long as the loop is
        self._filling = asyncio.Handle(self._fill, (), self, self._no_context)
        self._fill()
        # A future looks this up, and a method that is bound for it costs memory.
        self.call_soon = self.call_soon  # type: ignore[method-assign]

    def _fill(self) -> None:
        with contextlib.suppress(MemoryError):  # the next one that is taken has it called again
            while len(self._spares) < SPARES:
                # Of 3.11 to 3.14: `_args` is unpacked, so a list does, with room for the one argument of a future.
                handle = asyncio.Handle(self._fill, (), self, self._no_context)
                handle._args = [None]  # noqa: SLF001 - as above
                self._spares.append(handle)

    def call_soon(  # type: ignore[override]  # it takes the same
        self,
        callback: Callable[..., object],
        arg: Any = _NOTHING,
        *more: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As ever. What the interpreter needs for one argument, it needs in here."""
        if self.get_debug():
            args = () if arg is _NOTHING else (arg, *more)
            return super().call_soon(callback, *args, context=context)
        self._check_closed()  # type: ignore[attr-defined] # of BaseEventLoop, as all that begins alike here
        try:
            args = (arg, *more) if more else () if arg is _NOTHING else (arg,)
            handle = asyncio.Handle(callback, args, self, context)
            self._ready.append(handle)  # type: ignore[attr-defined]
        except MemoryError:
            handle = self._in_reserve(callback, context, arg, more)
        return handle

    def _call_soon(self, callback: Callable[..., object], args: Any, context: Any) -> asyncio.Handle:
        try:
            return super()._call_soon(callback, args, context)  # type: ignore[misc, no-any-return]
        except MemoryError:
            return self._in_reserve(callback, context, args[0] if args else _NOTHING, args[1:])

    def _in_reserve(
        self, callback: Callable[..., object], context: Any, arg: Any = _NOTHING, more: Any = ()
    ) -> asyncio.Handle:
        """Note a callback in a handle that is there already, or do nothing and raise."""
        ready: Any = self._ready  # type: ignore[attr-defined] # as in `call_soon`
        context = contextvars.copy_context() if context is None else context
        args = (arg, *more) if more else () if arg is _NOTHING else None
        if not self._spares:
            raise MemoryError
        handle: Any = self._spares.pop()
        room = handle._args  # noqa: SLF001 - as it would have been made with what it gets here
        if args is None:
            room[0] = arg
        else:
            handle._args = args  # noqa: SLF001 - as above
        handle._callback, handle._context = callback, context  # noqa: SLF001 - as above
        try:
            ready.append(self._filling)  # first: nothing may fail once the callback is noted
            ready.append(handle)
        except MemoryError:
            room[0] = None
            handle._args, handle._context = room, self._no_context  # noqa: SLF001 - as above
            handle._callback = self._filling._callback  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            self._spares.append(handle)
            raise
        return handle  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let go of what refers back to the loop, which would wait for the collector otherwise."""
        super().close()
        self._spares.clear()
        for name in ("_filling", "call_soon"):
            self.__dict__.pop(name, None)

    def stop(self) -> None:
        """Stop after this turn."""
        self._servers.stops()
        super().stop()

    def _write_to_self(self) -> None:
        # Of `call_soon_threadsafe`. asyncio writes to a socket pair each time, also while it runs, and reads it twice.
        if not self._servers.wake():
            super()._write_to_self()  # type: ignore[misc] # of BaseSelectorEventLoop, which tells it to nobody

    def _run_once(self) -> None:
        try:
            super()._run_once()  # type: ignore[misc] # of BaseEventLoop, which tells it to nobody
        except MemoryError as error:
            self.call_exception_handler({"message": "the loop is out of memory", "exception": error})

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report as ever, and call again what had no memory to begin."""
        error = context.get("exception")
        if error is not None and _is_for_want_of_memory(error):
            handle: Any = context.get("handle")  # a private matter of asyncio's, in all that is asked here
            if handle is not None and _had_not_begun(handle, error):
                self.call_soon(handle._callback, *handle._args, context=handle._context)  # noqa: SLF001 - as above
            self._servers.look_after_tasks()
        super().call_exception_handler(context)


def _is_for_want_of_memory(error: BaseException) -> bool:
    """Say whether an exception is a MemoryError, or came of one.

    The interpreter does not always notice at once: what fails then is asyncio, over the error that is still set.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, MemoryError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _had_not_begun(handle: Any, error: BaseException) -> bool:
    """Say whether a failed callback was not reached, or is the step of a task that goes on.

    What a coroutine raises is its task's result: a step that raises has failed around it.
    """
    callback = handle._callback  # noqa: SLF001 - nothing public says what is to be called
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return not task.done()
    if type(callback).__name__ == "TaskStepMethWrapper":  # of asyncio in C, which does not say whose it is
        return True
    traceback = error.__traceback__  # begins in Handle._run
    return isinstance(error, MemoryError) and (traceback is None or traceback.tb_next is None)
