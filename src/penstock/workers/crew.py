"""The workers of a supervisor: a slot for each one that there has to be, and those that leave."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .process import WorkerProcess
from .restarts import Restarts


@dataclass(slots=True, eq=False)
class Slot:
    """A place for a worker.

    Attributes:
        number: From 1 on.
        restarts: What became of its workers that ended by themselves.
        leavings: What became of those that asked for a successor.
        current: The worker that serves; None where none does.
        coming: The worker that is to serve and is not ready yet; None where none is.
        retry: Starts the next one; None where that is not put off.
    """

    number: int
    restarts: Restarts = field(default_factory=Restarts)
    leavings: Restarts = field(default_factory=Restarts)
    current: WorkerProcess | None = None
    coming: WorkerProcess | None = None
    retry: asyncio.TimerHandle | None = None

    def put_off(self, delay_s: float, then: Callable[[], object]) -> None:
        """Start the next worker later: by ``then``."""
        self.cancel()

        def retry() -> None:
            self.retry = None
            then()

        self.retry = asyncio.get_running_loop().call_later(delay_s, retry)

    def cancel(self) -> None:
        """Start no worker later."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None


class Crew:
    """Knows the workers that have not ended. Iterating yields each of them.

    Args:
        count: How many slots there are.

    Attributes:
        slots: By number. There is one at least.
        leaving: Those that have left their slots, and have not ended.
    """

    def __init__(self, count: int) -> None:
        self.slots = [Slot(number) for number in range(1, count + 1)]
        self.leaving: list[WorkerProcess] = []

    def __iter__(self) -> Iterator[WorkerProcess]:
        for slot in self.slots:
            if slot.current is not None:
                yield slot.current
            if slot.coming is not None:
                yield slot.coming
        yield from self.leaving

    @property
    def is_empty(self) -> bool:
        """Whether all have ended."""
        return not any(True for _ in self)

    @property
    def connections(self) -> int:
        """How many they had when they spoke last."""
        return sum(worker.connections for worker in self)

    @property
    def staying(self) -> list[WorkerProcess]:
        """Those that have a slot."""
        return [worker for worker in self if worker not in self.leaving]

    def slot_of(self, worker: WorkerProcess) -> Slot | None:
        """Return the slot that a worker has; None where it has left."""
        return next((slot for slot in self.slots if worker in (slot.current, slot.coming)), None)

    def are_current(self, generation: int) -> bool:
        """Say whether in each slot a worker of this generation serves."""
        return all(is_current(slot.current, generation) for slot in self.slots)

    def begin_anew(self) -> None:
        """There is newer code: what became of workers before says nothing of it."""
        for slot in self.slots:
            slot.restarts, slot.leavings = Restarts(), Restarts()

    def grow(self, count: int) -> None:
        """Have so many slots at least."""
        while len(self.slots) < count:
            self.slots.append(Slot(len(self.slots) + 1))

    def shed(self) -> tuple[Slot, list[WorkerProcess]]:
        """Have one slot less. Return it, and who had it: they are to leave."""
        slot = self.slots.pop()
        slot.cancel()
        workers = [worker for worker in (slot.current, slot.coming) if worker is not None]
        self.leaving += workers
        return slot, workers

    def serves(self, slot: Slot, worker: WorkerProcess) -> WorkerProcess | None:
        """Have the worker that comes to a slot serve. Return who served before, and leaves."""
        slot.coming = None
        before, slot.current = slot.current, worker
        if before is not None:
            self.leaving.append(before)
        return before

    def take_over(self, slot: int, descriptor: int) -> None:
        """Have the worker of a slot go on with connections of a worker of the supervisor before."""
        for each in self.slots:
            if each.number == slot and each.current is not None:
                each.current.take_over(descriptor)
        os.close(descriptor)

    @property
    def handover(self) -> dict[int, int]:
        """In which format the worker of each slot takes connections over."""
        return {slot.number: slot.current.handover for slot in self.slots if slot.current is not None}

    def cancel(self) -> None:
        """Start no worker later."""
        for slot in self.slots:
            slot.cancel()


def is_current(worker: WorkerProcess | None, generation: int) -> bool:
    """Say whether there is a worker, of this generation, that does not have to be replaced."""
    return worker is not None and worker.generation == generation and not worker.is_leaving
