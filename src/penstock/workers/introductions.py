"""How the workers get to know each other: the supervisor makes a pair of sockets for each two, and has none of them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from .messages import Apart, Gone, Introduced, Meet, Meeting, Message, Paired, Peer

# After so long a pair is tried again that could not be made: there were no descriptors left.
AGAIN_S: Final = 1.0

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
        self._after: Send | None = None  # to the supervisor after this one
        self._met: dict[int, tuple[int, Known]] = {}  # by process: the number among workers, and the worker
        self._after_slots: dict[int, int] = {}  # of the workers of the one after, by number

    def meet(self, worker: Known, asked: Meet) -> None:
        """Introduce a worker."""
        others = list(self._met.values())
        self._met[worker.pid] = asked.worker, worker
        for number, other in others:
            self._pair(asked.worker, worker, number, other)
        if self.before is not None:
            self.before(Meeting(worker=asked.worker, slot=worker.slot), ())
        worker.send(Introduced(number=asked.number))

    def again(self, worker: Known, asked: Apart) -> None:
        """Introduce two workers once more: one of them has cut their link."""
        for number, other in self._met.values():
            if number == asked.peer:
                self._pair(asked.worker, worker, number, other)
                return
        if asked.peer in self._after_slots:
            self._pair_with_after(asked.worker, worker, asked.peer)
        elif self.before is not None:
            self.before(Meeting(worker=asked.worker, slot=worker.slot, peer=asked.peer), ())

    def meeting(self, asked: Meeting, answer: Send) -> None:
        """Introduce a worker of the next supervisor, which is at the other end of ``answer``, to those here."""
        self._after = answer
        self._after_slots[asked.worker] = asked.slot
        for number, other in self._met.values():
            if asked.peer in (-1, number):
                self._pair_with_after(number, other, asked.worker)

    def paired(self, told: Paired, descriptor: int) -> None:
        """A worker of the supervisor before, at the other end of the descriptor, is to be known to one of this one's.

        The descriptor stays the caller's.
        """
        for number, worker in self._met.values():
            if number == told.worker:
                worker.send(Peer(worker=told.peer, slot=told.slot), [descriptor])

    def gone(self, pid: int) -> None:
        """A worker has ended: tell the others, whoever has copies of its sockets."""
        found = self._met.pop(pid, None)
        if found is None:
            return
        told = Gone(worker=found[0])
        self.gone_there(told)
        for supervisor in (self.before, self._after):
            if supervisor is not None:
                supervisor(told, ())

    def gone_there(self, told: Gone) -> None:
        """A worker of another supervisor has ended: tell those here."""
        self._after_slots.pop(told.worker, None)
        for _, worker in self._met.values():
            worker.send(told)

    def _pair(self, first_number: int, first: Known, second_number: int, second: Known) -> None:
        if first.pid not in self._met or second.pid not in self._met:
            return  # it has ended, in the time after which this is tried again
        to_first = Peer(worker=second_number, slot=second.slot)
        to_second = Peer(worker=first_number, slot=first.slot)
        if not _make_pair(first.send, to_first, second.send, to_second):
            _later(self._pair, first_number, first, second_number, second)

    def _pair_with_after(self, number: int, worker: Known, next_number: int) -> None:
        slot = self._after_slots.get(next_number)
        if slot is None or self._after is None or worker.pid not in self._met:
            return
        there = Paired(worker=next_number, peer=number, slot=worker.slot)
        if not _make_pair(self._after, there, worker.send, Peer(worker=next_number, slot=slot)):
            _later(self._pair_with_after, number, worker, next_number)


def _make_pair(one: Send, to_one: Message, other: Send, to_other: Message) -> bool:
    """Make a pair of sockets, and hand over its ends with these messages; return whether both were said."""
    try:
        first, second = socket.socketpair()
        with first, second:
            one(to_one, [first.fileno()])
            other(to_other, [second.fileno()])
    except OSError as error:  # where one of the two has its end by now, it finds that there is no other
        _logger.error("two workers do not know each other so far: %s", error.strerror or error)
        return False
    return True


def _later(call: Callable[..., object], *arguments: object) -> None:
    asyncio.get_running_loop().call_later(AGAIN_S, call, *arguments)
