"""Waiting for descriptors in a thread that other threads can wake."""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import threading
from contextlib import suppress
from typing import Final

from ..wire import MAX_WAIT_S

READ: Final = 1
WRITE: Final = 2


class Poller:
    """Waits until a descriptor is ready, a time has passed, or `wake` is called.

    `set` and `wait` belong to one thread at a time; `wake` and `close` may be called from any.

    Raises:
        OSError: Out of descriptors (EMFILE, ENFILE) when it is made.
    """

    __slots__ = ("_closes", "_events", "_lock", "_poll", "_waker")

    def __init__(self) -> None:
        self._waker: _Waker | None = _EventFd() if _HAS_EVENTFD else _SocketPair()
        self._poll = _Poll() if _HAS_POLL else _Select()
        self._poll.set(self._waker.fd, READ)
        self._events: dict[int, int] = {}
        # So that nobody writes to a descriptor that was closed and given out anew. A signal handler, or a finaliser,
        # may call in the middle of a call: a thread that holds it comes in again.
        self._lock = threading.RLock()
        self._closes = False

    def set(self, fd: int, events: int) -> None:
        """Wait for ``events`` of a descriptor from now on: `READ`, `WRITE`, both, or 0 to forget it."""
        if self._events.get(fd, 0) != events:
            self._poll.set(fd, events)
            if events:
                self._events[fd] = events
            else:
                del self._events[fd]

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Return which descriptors are ready for what; an empty list when woken or when the time has passed.

        A descriptor that is broken is ready for everything that is waited for: reading or writing says what it has.

        Args:
            timeout_s: Rounded up to milliseconds; None for ever, a negative one is 0.
        """
        ready = self._poll.wait(None if timeout_s is None else min(max(timeout_s, 0.0), MAX_WAIT_S))
        waker = self._waker
        found = []
        for fd, events in ready:
            if waker is not None and fd == waker.fd:
                waker.clear()
            else:
                found.append((fd, events & self._events.get(fd, 0)))
        return found

    def wake(self) -> None:
        """Make `wait` return, the one under way or the next. After `close` it does nothing."""
        with self._lock:
            if self._waker is None or self._closes:
                return
            try:
                self._waker.set()
            except (OSError, ValueError):
                if self._waker is not None:  # else it was closed in the middle of this
                    raise

    def close(self) -> None:
        """Give back its descriptors. May be repeated."""
        with self._lock:
            if self._waker is None or self._closes:
                return
            self._closes = True
            try:
                self._waker.close()
                self._waker = None  # last: at the limit of recursion closing fails, and is done again
            finally:
                self._closes = False


# -- how the system waits: poll(2), or select(2) where there is no poll ------------------------------------------------


class _Poll:
    __slots__ = ("_poll",)

    def __init__(self) -> None:
        self._poll = select.poll()

    def set(self, fd: int, events: int) -> None:
        if events:
            self._poll.register(fd, (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0))
        else:
            self._poll.unregister(fd)

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        return [
            (fd, (READ if flags & ~select.POLLOUT else 0) | (WRITE if flags & ~select.POLLIN else 0))
            for fd, flags in self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))
        ]


class _Select:
    __slots__ = ("_readers", "_writers")

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()

    def set(self, fd: int, events: int) -> None:
        for wanted, fds in ((READ, self._readers), (WRITE, self._writers)):
            if events & wanted:
                fds.add(fd)
            else:
                fds.discard(fd)

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        # Windows reports a connection that failed only among the exceptional conditions.
        readable, writable, broken = select.select(self._readers, self._writers, self._writers, timeout_s)
        ready = dict.fromkeys(readable, READ)
        for fd in (*writable, *broken):
            ready[fd] = ready.get(fd, 0) | WRITE
        return list(ready.items())


# -- how a thread is woken: eventfd(2) on Linux, a pair of sockets elsewhere -------------------------------------------


class _EventFd:
    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def set(self) -> None:
        os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        with suppress(BlockingIOError):  # somebody else's waiting cleared it
            os.eventfd_read(self.fd)

    def close(self) -> None:
        os.close(self.fd)
        self.fd = -1


class _SocketPair:
    __slots__ = ("_far", "_near", "fd")

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self.fd = self._near.fileno()

    def set(self) -> None:
        with suppress(BlockingIOError):  # full: it is awake
            self._far.send(b"\0")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            self._near.recv(4096)

    def close(self) -> None:
        self._near.close()
        self._far.close()


_Waker = _EventFd | _SocketPair
_HAS_EVENTFD: Final = sys.platform == "linux"  # os.eventfd is Linux's alone
_HAS_POLL: Final = hasattr(select, "poll")
