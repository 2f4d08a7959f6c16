"""A bounded pool of threads, one for each connection that is open."""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
from collections.abc import Callable

from ..aside import start_thread


class Workers:
    """Threads that each do one job after another. They are daemons: one that is stuck does not keep the process alive.

    Args:
        limit: Most threads.
        name: What they are called, before their number.
        idle: Called by a thread that has become idle.
    """

    def __init__(self, limit: int, name: str, idle: Callable[[], object]) -> None:
        self._limit = limit
        self._name = name
        self._on_idle = idle
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._variables = contextvars.copy_context()  # what each job begins with, in a copy of its own
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()

    @property
    def has_room(self) -> bool:
        """Whether there is a thread for one more job, or may be one."""
        with self._lock:
            return self._idle > 0 or len(self._threads) < self._limit

    def reserve(self) -> None:
        """Have an idle thread. Called when there is room, before `do`.

        Raises:
            LimitError: The system gives no further thread.
        """
        with self._lock:
            if self._idle:
                return
            thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
            start_thread(thread)
            self._threads.append(thread)
            self._idle += 1

    def do(self, job: Callable[[], object]) -> None:
        """Have a reserved thread call ``job``, which does not raise."""
        with self._lock:
            self._idle -= 1
        self._jobs.put(job)

    def end(self, timeout_s: float) -> None:
        """End the idle threads, and wait that long for those that are about to become idle."""
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._variables.copy().run(job)
            except BaseException:  # as of any thread; this one has other jobs to do
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            del job
            with self._lock:
                self._idle += 1
            self._on_idle()
