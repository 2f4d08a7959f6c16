"""The one pool of threads: for handlers that may block, beside a loop or instead of one."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ..errors import LimitError
from .aside import start_thread

# What to call, and whom to tell; None ends a thread.
_Job = tuple[Future[Any] | None, Callable[..., Any], tuple[Any, ...]] | None


class ThreadPool:
    """At most ``limit`` threads, made when they are needed, which do one job after another.

    They are daemons, unlike those of `concurrent.futures`: one that is stuck does not keep the process from ending.

    Args:
        limit: Most threads.
        name: What they are called, before their number.
        on_free: Called by a thread that has become free.
    """

    def __init__(self, limit: int, name: str, on_free: Callable[[], object] | None = None) -> None:
        self._limit = limit
        self._name = name
        self._on_free = on_free
        # Of what follows. A signal handler, or a finaliser, may submit in the middle of a call.
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._starting = 0  # threads that are none of them yet: starting one may be interrupted by a call of these
        self._free = 0  # threads without a job, less the jobs that wait for one
        self._over = False
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()

    @property
    def has_room(self) -> bool:
        """Whether a job would begin at once."""
        with self._lock:
            return self._free > 0 or len(self._threads) + self._starting < self._limit

    def reserve(self) -> None:
        """Have a free thread, if there may be one more: what is needed to begin a job is there before it is taken on.

        Raises:
            LimitError: The system gives no further thread.
        """
        with self._lock:
            self._have_free()

    def _have_free(self) -> None:
        if self._free <= 0 and len(self._threads) + self._starting < self._limit:
            thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads) + 1}", daemon=True)
            self._starting += 1
            try:
                start_thread(thread)
                self._threads.append(thread)
            finally:
                self._starting -= 1
            self._free += 1

    def do(self, function: Callable[..., object], /, *args: Any) -> None:
        """Have a thread call ``function``, whose outcome nobody asks for: what it raises is reported as of any thread.

        Raises:
            LimitError: The system gives not even one thread; never after `reserve`, before another job is taken on.
            RuntimeError: The pool was ended.
        """
        self._put((None, function, args))

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Have a thread call ``function``, as soon as one is free; return what will have its outcome.

        Raises:
            LimitError: The system gives not even one thread.
            RuntimeError: The pool was ended.
        """
        future: Future[Any] = Future()
        self._put((future, function, args))
        return future

    def submit_surely(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """As `submit`; but the call is made whatever becomes of those who wait for it, and of the pool.

        Raises:
            LimitError, RuntimeError: As `submit`.
        """
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # so nobody can cancel it
        self._put((None, _settle, (future, function, args)))
        return future

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._over:
                raise RuntimeError("the pool of threads was ended")
            try:
                self._have_free()
            except LimitError:
                if not self._threads:
                    raise
                # The job waits for one of those that there are.
            self._free -= 1
            self._jobs.put(job)

    def end(self, timeout_s: float = 0.0) -> None:
        """Cancel what was submitted and not begun, end the threads once they are free, and wait so long for each."""
        cancelled: list[Future[Any]] = []
        kept: list[_Job] = []
        with self._lock:
            with contextlib.suppress(queue.Empty):
                while True:
                    job = self._jobs.get_nowait()
                    if job is not None and job[0] is not None:
                        cancelled.append(job[0])
                    else:
                        kept.append(job)
            for job in kept:
                self._jobs.put(job)
        for future in cancelled:
            future.cancel()  # without the lock, and before the end: it tells others, who may have something to be done
        with self._lock:
            self._over = True
            threads = list(self._threads)
            for _ in threads:
                self._jobs.put(None)
        if timeout_s > 0:
            for thread in threads:
                thread.join(timeout_s)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, args = job
            if future is None:
                tell_of_failure(function, *args)
            elif future.set_running_or_notify_cancel():
                tell_of_failure(_settle, future, function, args)
            del job, future, function, args  # nothing is kept alive while the thread waits for the next one
            with self._lock:
                self._free += 1
            if self._on_free is not None:
                self._on_free()


def tell_of_failure(function: Callable[..., object], /, *args: Any) -> None:
    """Call ``function``; what it raises is reported as of any thread, and this one has other jobs to do."""
    try:
        function(*args)
    except BaseException:
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def _settle(future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    vars(future)["thread"] = threading.get_ident()  # for `whereabouts`
    try:
        result = function(*args)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
