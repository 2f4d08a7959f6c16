"""Peers that leave while their threads are at work elsewhere, and do not look at their sockets."""

from __future__ import annotations

import contextlib
import select


class Departures:
    """Hears of resets, and of connections that are over in both directions, without reading from any of them.

    Where there is no epoll(7) it hears of nothing: the next call of the handler's meets it.

    Attributes:
        fd: Readable when there is something to tell; -1 where there is no epoll.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self.fd = -1 if self._epoll is None else self._epoll.fileno()
        self._numbers: dict[int, int] = {}  # of connections, by descriptor

    def watch(self, fd: int, number: int) -> None:
        """Hear of the connection with that number until its socket is closed, which takes it out of the set."""
        if self._epoll is not None and fd >= 0:
            self._numbers[fd] = number
            with contextlib.suppress(OSError):  # there as of a descriptor before, which a child holds a copy of; closed
                self._epoll.register(fd, select.EPOLLET)  # EPOLLERR and EPOLLHUP are reported in any case, and once

    def heard(self) -> list[int]:
        """Return the numbers of the connections of which there is something to tell."""
        assert self._epoll is not None
        return [self._numbers[fd] for fd, _ in self._epoll.poll(0)]

    def close(self) -> None:
        """Hear of nothing any more."""
        if self._epoll is not None:
            self._epoll.close()
