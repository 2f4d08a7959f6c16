"""What every handler, task and thread of a process is doing at this moment."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Sequence

from .server import Server

# A line each: with more connections than this, what they wait for repeats itself.
_MOST_LINES = 100


def work_of(servers: Sequence[Server], loop: asyncio.AbstractEventLoop) -> list[str]:
    """Say where every handler is that has not ended, and every task that is no connection's: a line for each."""
    lines = [
        f"connection {conn.id} of {conn.peer}: {_place_of(conn)}" for server in servers for conn in server.connections
    ]
    stacks = ((task.get_name(), _stack_of(task)) for task in asyncio.all_tasks(loop))
    lines += [f"task {name}: {', called by '.join(stack)}" for name, stack in stacks if stack]
    if len(lines) > _MOST_LINES:
        return [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more connections and tasks"]
    return lines


def threads_now() -> list[str]:
    """Return the stack of every thread but the calling one, innermost call last, as a traceback has it."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines: list[str] = []
    for number, frame in sys._current_frames().items():  # noqa: SLF001 - documented, for debuggers
        if number != threading.get_ident():
            lines.append(f"thread {names.get(number, number)}:")
            lines += [line for entry in traceback.format_stack(frame) for line in entry.rstrip().split("\n")]
    return lines


def _place_of(conn: object) -> str:
    """Say where a connection's handler waits. One that the loop calls is not at work while the loop does this."""
    place = getattr(conn, "handler_place", None)
    return (place is not None and place()) or "no handler is at work"


def _stack_of(task: asyncio.Task[object]) -> list[str]:
    """Return where a task waits, innermost first, as far as it is Python's code."""
    found: list[str] = []
    awaited: object = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return found[::-1]
