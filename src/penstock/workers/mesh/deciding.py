"""The two locks under which a key is decided on."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from ...errors import LocalProtocolError


class Deciding(AbstractContextManager[None]):
    """Held while a thread of this process decides on a key, or waits for that: it holds off all others, everywhere.

    While it is held the collector may run a finalizer in the same thread, or Python a handler of a signal, which would
    wait for itself and have every worker wait. So such a one can ask whether it is held, and is refused.

    Args:
        processes: Holds off other processes, not threads.
    """

    __slots__ = ("_processes", "_threads", "_within")

    def __init__(self, processes: AbstractContextManager[None]) -> None:
        self._processes = processes
        self._threads = threading.Lock()
        self._within: set[int] = set()  # threads, from before they wait

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is in it already."""
        return threading.get_ident() in self._within

    def __enter__(self) -> None:
        thread = threading.get_ident()
        if thread in self._within:
            raise LocalProtocolError("this thread is deciding on a key: what interrupts it cannot use registries")
        self._within.add(thread)
        try:
            self._threads.acquire()
            try:
                self._processes.__enter__()
            except BaseException:
                self._threads.release()
                raise
        except BaseException:
            self._within.discard(thread)
            raise

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._processes.__exit__(None, None, None)
        finally:
            self._threads.release()
            self._within.discard(threading.get_ident())
