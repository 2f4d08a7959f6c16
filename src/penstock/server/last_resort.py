"""The end of a process that was told to end and cannot: its loop is held, or something that it waits for is."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Final

from ..config import LogFormat
from ..engines.aside import start_thread
from ..errors import ExitStatus
from ..telemetry import formatter_of
from .pid_file import remove_pid_files
from .unix_file import remove_files
from .watchdog import holders

# So long after the signal that ends everything at once. Longer than the two seconds after which threads that do not
# return are given up, so that whatever can end in order does.
LAST_RESORT_S: Final = 3.0


class LastResort:
    """Ends the process from a thread of its own, unless it ends by itself in time.

    Nothing of it belongs to the loop, and the thread is there before it is needed: a signal handler calls `arm`.
    The thread runs whenever the interpreter lets it: only compiled code that neither returns nor lets go of the
    interpreter is out of its reach.

    Args:
        status: Says what the process is to end with; None when it need not end any more.
        log_format: How lines are written to standard error.
        after_s: How long after `arm`; None for `LAST_RESORT_S`.
    """

    def __init__(
        self,
        status: Callable[[], ExitStatus | None],
        *,
        log_format: LogFormat = "console",
        after_s: float | None = None,
    ) -> None:
        self._status = status
        self._formatter = None if log_format == "console" else formatter_of(log_format)
        self._after_s = LAST_RESORT_S if after_s is None else after_s
        self._thread_id = threading.get_ident()
        # Raw locks, which a signal handler can release at any moment: other means have a lock inside that the code it
        # interrupts may hold.
        self._idle = threading.Lock()
        self._idle.acquire()
        self._needed = threading.Lock()
        self._needed.acquire()
        self._thread = threading.Thread(target=self._run, name="penstock-last-resort", daemon=True)
        start_thread(self._thread)

    def arm(self) -> None:
        """Begin to count. May be called in a signal handler, and repeated."""
        with contextlib.suppress(RuntimeError):  # it counts already
            self._idle.release()

    def disarm(self) -> None:
        """Let the process be, for good."""
        with contextlib.suppress(RuntimeError):
            self._needed.release()
        self.arm()

    def _run(self) -> None:
        while True:
            self._idle.acquire()
            if self._needed.acquire(timeout=self._after_s):
                return
            status = self._status()
            if status is not None:
                remove_files()
                remove_pid_files()
                self._say(status)
                os._exit(status)

    def _say(self, status: ExitStatus) -> None:
        """Write one line past the log, which may be what holds the loop; or nothing, where that would have to wait."""
        found = holders(sys._current_frames().get(self._thread_id))  # noqa: SLF001 - documented, for debuggers
        text = f"ended by force with status {int(status)}: it was told to end, and had not {self._after_s:g} s later"
        if found:
            text += f"; the loop is held by {found[0]}"
        line = f"penstock: error: {text}"
        if self._formatter is not None:
            fields = {"name": "penstock", "levelname": "CRITICAL", "msg": text, "event": "ended_by_force"}
            line = self._formatter.format(logging.makeLogRecord({**fields, "status": int(status)}))
        with contextlib.suppress(OSError, ValueError):
            if select.select([], [2], [], 0)[1]:
                os.write(2, line.encode("utf-8", "backslashreplace")[: select.PIPE_BUF - 1] + b"\n")
