"""Who holds the loop: a thread that looks at the loop's thread when that has not given a sign of life for too long."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from types import FrameType

import penstock

from ..engines.aside import start_thread
from .repeated import Repeated

# Frames of these are how a handler is called, not who holds the loop.
_OURS = os.path.dirname(penstock.__file__) + os.sep
# An observer that does not return must not hold the server's end.
STOP_S = 1.0
# Code of these reads a module for the first time.
_IMPORT = ("<frozen importlib", os.path.dirname(importlib.__file__) + os.sep)
_LOOPS = (os.path.dirname(asyncio.__file__) + os.sep, "selectors.py", "uvloop")


class Watchdog:
    """Names a callback that holds the loop for longer than ``stall_s``, once for each time.

    The loop gives a sign of life by a timer of its own, so that no message costs anything. All methods are called on
    the loop's thread.

    Args:
        loop: The running loop.
        stall_s: How long it may be held, in seconds.
        report: Called on the watchdog's thread with the frames of what holds it, innermost first, as
            ``file:line in name``: once it has been held for ``stall_s``, and before one and a half times that is over.
        over: Called on the same thread when the loop is free again, once for each report, with the seconds for which it
            gave no sign of life: as long as it was held, and at most ``stall_s / 2`` more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stall_s: float,
        report: Callable[[Sequence[str]], object],
        over: Callable[[float], object],
    ) -> None:
        self._loop = loop
        self._stall_s = stall_s
        self._report = report
        self._over = over
        self._beat_at = 0.0
        self._gap_s = 0.0  # between the latest two signs of life that were too far apart
        self._reported_at: float | None = None  # the sign of life after which a stall began that is not over yet
        self._beat = Repeated(loop, stall_s / 2, self._live)
        self._has_begun = False
        self._thread_id = 0
        # Held until the thread is to end. An Event has a lock inside, which a MemoryError could leave locked for ever.
        self._ended = threading.Lock()
        self._ended.acquire()
        # The thread keeps nothing alive: a loop that was dropped without being closed is to end, and this with it.
        arguments = weakref.ref(self), self._ended, stall_s / 2
        self._thread = threading.Thread(target=_watch, args=arguments, name="penstock-watchdog", daemon=True)

    def prepare(self) -> None:
        """Have the thread that `start` needs.

        Raises:
            LimitError: The system gives none.
        """
        start_thread(self._thread)

    def start(self) -> None:
        """Watch from now on. Raises what `prepare` does, unless that was called before."""
        if not self._thread.is_alive():
            self.prepare()
        self._thread_id = threading.get_ident()
        self._beat.begin()
        self._has_begun = True

    def stop(self) -> None:
        """Watch no longer. Returns when the thread has ended: at once, unless an observer that was told holds it."""
        self._beat.stop()
        if self._ended.locked():
            self._ended.release()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _live(self) -> None:
        now = time.monotonic()
        if now - self._beat_at >= self._stall_s:
            self._gap_s = now - self._beat_at
        self._beat_at = now

    def look(self) -> float | None:
        """Look once, on the watchdog's thread. Return after how many seconds to look again; None for never."""
        if not self._has_begun:
            return self._stall_s / 2
        # A loop that was closed without a stop leaves this thread running.
        return None if self._loop.is_closed() else self._look()

    def end(self) -> None:
        """Say that what was reported is over, as the last thing on the watchdog's thread."""
        if self._reported_at is not None and not self._loop.is_closed():  # what stops this runs on the loop
            self._over(time.monotonic() - self._reported_at)

    def _look(self) -> float:
        """Say what holds the loop, or that nothing does any longer; return when there may be something to say again."""
        beat_at = self._beat_at
        if self._reported_at is not None:
            if beat_at == self._reported_at:
                return self._stall_s / 2
            self._over(self._gap_s)
            self._reported_at = None
        # The timer was due after half of the time, and then the loop was held for all of it.
        left_s = beat_at + self._stall_s * 1.5 - time.monotonic()
        if left_s > 0:
            return left_s
        frames = holders(sys._current_frames().get(self._thread_id))  # noqa: SLF001 - documented, for debuggers
        if frames:
            self._report(frames)
            self._reported_at = beat_at
        return self._stall_s / 2


def _watch(ref: weakref.ref[Watchdog], ended: threading.Lock, patience_s: float) -> None:
    over, wait_s = False, patience_s
    while not over:
        # Without memory for a look there is none, and the next one comes.
        with contextlib.suppress(MemoryError):
            over = ended.acquire(timeout=wait_s)
            wait_s = patience_s
            watchdog = ref()
            if watchdog is None:
                return
            if not over:
                again_s = watchdog.look()
                over, wait_s = again_s is None, again_s or patience_s
            del watchdog
    with contextlib.suppress(MemoryError):
        watchdog = ref()
        if watchdog is not None:
            watchdog.end()


def holders(frame: FrameType | None) -> list[str]:
    """Return who is at work in a thread that runs a loop, innermost first; empty if it is the loop itself.

    Empty, too, while a module of this package is imported: that happens once, and no handler can do anything about it.

    Args:
        frame: The innermost frame of the thread.
    """
    if frame is None or _is_loop(frame):
        return []  # it waits for events, or for a processor
    found: list[str] = []
    imports = False
    while frame is not None and not _is_loop(frame):  # beyond the loop is what started it
        code = frame.f_code
        if code.co_filename.startswith(_IMPORT):
            imports = True
        elif not code.co_filename.startswith(_OURS):
            imports = False
            found.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
        elif imports:
            return []
        elif found and code.co_name != "<module>":
            break  # from here on it is how the handler was called
        frame = frame.f_back
    return found


def _is_loop(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(_LOOPS[0]) or name.endswith(_LOOPS[1:])
