"""Where a handler waits, in words: ``app.py:12 in publish, called by app.py:30 in serve``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

from ..core.places import shown

# Frames that are named, innermost first.
MOST_FRAMES: Final = 5

_OURS: Final = __name__.partition(".")[0] + "."


def place_of_task(task: asyncio.Task[Any] | None) -> str:
    """Say where a task waits: in code of the user's, or for a thread that a handler is called in."""
    frames = [] if task is None else list(_awaiting(task.get_coro()))
    for frame in reversed(frames):
        ident = getattr(frame.f_locals.get("call"), "thread", None)
        if ident is not None and frame.f_globals["__name__"].startswith(_OURS):
            return place_of_thread(ident)
    return _named(reversed(frames))


def place_of_thread(ident: int | None) -> str:
    """Say where a thread is."""
    frame = None if ident is None else sys._current_frames().get(ident)  # noqa: SLF001 - there is no other way
    return _named(_outwards(frame))


def _awaiting(coroutine: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine and of what it awaits, the outermost first."""
    while coroutine is not None:
        for prefix in ("cr", "gi", "ag"):
            if hasattr(coroutine, f"{prefix}_frame"):
                frame = getattr(coroutine, f"{prefix}_frame")
                if frame is not None:
                    yield frame
                coroutine = getattr(coroutine, f"{prefix}_await", None) or getattr(
                    coroutine, f"{prefix}_yieldfrom", None
                )
                break
        else:
            return


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _named(frames: Iterator[FrameType]) -> str:
    """Name the innermost frames, without those of this package: the handler's own come first."""
    names: list[str] = []
    for frame in frames:
        is_ours = frame.f_globals.get("__name__", "").startswith(_OURS)
        if is_ours and names:
            break  # what called the handler
        if not is_ours:
            code = frame.f_code
            names.append(f"{shown(code.co_filename)}:{frame.f_lineno} in {code.co_qualname}")
        if len(names) == MOST_FRAMES:
            break
    return ", called by ".join(names)
