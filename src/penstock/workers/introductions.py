"""How the workers get to know each other: the supervisor makes a pair of sockets for each two, and has none of them."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from .messages import Introduced, Meet, Meeting, Message, Paired, Peer

_logger: Final = logging.getLogger("penstock")


class Known(Protocol):
    """A worker, as `WorkerProcess` has it.

    Attributes:
        pid: Its number in the system.
        slot: Its slot.
    """

    pid: int
    slot: int

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Say something to it."""


Send = Callable[[Message, Sequence[int]], object]


class Introductions:
    """Introduces each worker that asks for it to those that have asked before.

    Attributes:
        before: Says something to the supervisor before this one, whose workers are to be known, too; None for none.
    """

    def __init__(self) -> None:
        self.before: Send | None = None
        self._met: dict[int, tuple[int, Known]] = {}  # by process: the number among workers, and the worker

    def meet(self, worker: Known, asked: Meet) -> None:
        """Introduce a worker."""
        for number, other in self._met.values():
            told = Peer(worker=asked.worker, slot=worker.slot)
            _pair(worker.send, Peer(worker=number, slot=other.slot), other.send, told)
        self._met[worker.pid] = asked.worker, worker
        if self.before is not None:
            self.before(Meeting(worker=asked.worker, slot=worker.slot), ())
        worker.send(Introduced(number=asked.number))

    def meeting(self, asked: Meeting, answer: Send) -> None:
        """Introduce a worker of the next supervisor, which is at the other end of ``answer``, to those here."""
        for number, other in self._met.values():
            told = Peer(worker=asked.worker, slot=asked.slot)
            _pair(answer, Paired(worker=asked.worker, peer=number, slot=other.slot), other.send, told)

    def paired(self, told: Paired, descriptor: int) -> None:
        """A worker of the supervisor before, at the other end of the descriptor, is to be known to one of this one's.

        The descriptor stays the caller's.
        """
        for number, worker in self._met.values():
            if number == told.worker:
                worker.send(Peer(worker=told.peer, slot=told.slot), [descriptor])

    def gone(self, pid: int) -> None:
        """A worker has ended."""
        self._met.pop(pid, None)


def _pair(one: Send, to_one: Message, other: Send, to_other: Message) -> None:
    """Make a pair of sockets, and hand over its ends with these messages."""
    try:
        first, second = socket.socketpair()
        with first, second:
            one(to_one, [first.fileno()])
            other(to_other, [second.fileno()])
    except OSError as error:  # where one of the two has its end by now, it finds that there is no other
        _logger.error("two workers know nothing of each other: %s", error.strerror or error)
