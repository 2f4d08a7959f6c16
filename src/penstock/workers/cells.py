"""The memory in which the workers of one service count together: a file without a name, and a cell for each of them."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import mmap
import os
import secrets
import select
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final

from ..core.shared_counts import ANY_WAITS, CELL_NUMBERS, COMMON_NUMBERS, KEYS, RATE_KEYS

_PAGE: Final = mmap.PAGESIZE
_SECRET_AT: Final = COMMON_NUMBERS * 8
_SECRET_BYTES: Final = 16
# How many cells there are, whether somebody has them or not; and how many pairs each of them has.
_CELLS_AT: Final = _SECRET_AT + _SECRET_BYTES
_KEYS_AT: Final = _CELLS_AT + 8

_PAIR_BYTES: Final = 16
_GENERATION_BYTES: Final = RATE_KEYS * _PAIR_BYTES
_COMMON_BYTES: Final = _PAGE + 2 * _GENERATION_BYTES

# The system has neither a file without a name nor a counter that wakes its readers: then each worker counts by itself.
AVAILABLE: Final = (
    all(hasattr(os, name) for name in ("memfd_create", "eventfd"))
    and hasattr(mmap, "MADV_REMOVE")
    and hasattr(select, "epoll")
)


# After a deadlock that there is not: see `ProcessLock`.
_AGAIN_S: Final = 0.0001

# Kept by an old supervisor for workers that are still to come, beside one for each it has.
SPARE: Final = 8


def _cell_bytes(keys: int) -> int:
    """Return the size of a cell in whole pages. Those that nobody has used take no memory."""
    return _PAGE + -(-keys * _PAIR_BYTES // _PAGE) * _PAGE


def _made() -> tuple[int, int]:
    memory = os.memfd_create("penstock-counts", os.MFD_CLOEXEC)
    try:
        os.ftruncate(memory, _COMMON_BYTES)
        return memory, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except BaseException:
        os.close(memory)
        raise


def _wake_all(wakes: int) -> None:
    """Wake every worker that listens: each epoll set has an edge for each write.

    Nobody reads the counter: one who did would take the wake-ups of the others. It is full after 2**64 writes.
    """
    os.eventfd_write(wakes, 1)


class Cells:
    """The supervisor's side: it makes the memory, gives a cell to each worker and clears those of the dead.

    Args:
        descriptors: Those of an old supervisor; None to make the memory.
        first: From which number on cells are this one's to give.
        keys: For how many pairs of a key each cell has room, if it makes the memory: a power of two.

    Attributes:
        descriptors: What a worker is handed: the memory, and what wakes those who wait for a place.
    """

    def __init__(self, descriptors: tuple[int, int] | None = None, first: int = 0, keys: int = KEYS) -> None:
        self.descriptors = descriptors or _made()
        self._common = mmap.mmap(self.descriptors[0], _PAGE)
        self._numbers = memoryview(self._common).cast("Q")
        if descriptors is None:
            self._common[_SECRET_AT:_CELLS_AT] = secrets.token_bytes(_SECRET_BYTES)
            self._numbers[_KEYS_AT // 8] = keys
        self._cell_bytes = _cell_bytes(self._numbers[_KEYS_AT // 8])
        self._count = first
        self._free: list[int] = []
        self._given: dict[int, list[int]] = {}

    def give(self, pid: int) -> int:
        """Return the number of a cell that is a worker's alone, until `take_back`.

        Raises:
            OSError: There is no memory for it.
        """
        if not self._free:
            self._extend(self._count + 1)
            self._free.append(self._count - 1)
        number = self._free.pop()
        self._given.setdefault(pid, []).append(number)
        return number

    def _extend(self, count: int) -> None:
        os.ftruncate(
            self.descriptors[0], max(os.fstat(self.descriptors[0]).st_size, _COMMON_BYTES + count * self._cell_bytes)
        )
        self._count = count
        # Last: a reader of the number finds the cell there.
        self._numbers[_CELLS_AT // 8] = max(count, self._numbers[_CELLS_AT // 8])

    def reserve(self) -> int:
        """Return from which number on cells are another supervisor's to give; some are kept for this one's workers."""
        kept = len(self._given) + SPARE
        first = self._count
        self._extend(first + kept)
        self._free += range(first, first + kept)
        return self._count

    def take_back(self, pid: int) -> None:
        """Clear the cells of a worker that has ended, however it ended, and wake those who wait for its places."""
        numbers = self._given.get(pid, [])
        for number in numbers:
            offset = _COMMON_BYTES + number * self._cell_bytes
            try:
                with mmap.mmap(self.descriptors[0], self._cell_bytes, offset=offset) as cell:
                    cell.madvise(mmap.MADV_REMOVE)
            except OSError:  # a map needs a descriptor of its own; zeros need memory until the cell is cleared again
                os.pwrite(self.descriptors[0], bytes(self._cell_bytes), offset)
        self._given.pop(pid, None)  # last: what fails is done once more
        self._free += numbers
        if numbers and self._numbers[ANY_WAITS] and self._given:
            _wake_all(self.descriptors[1])

    def close(self) -> None:
        """Give the memory back, once no worker has it either."""
        self._numbers.release()
        self._common.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


class WorkerCell:
    """A cell, as a worker has it mapped."""

    def __init__(self, descriptor: int, number: int, keys: int = KEYS) -> None:
        size = _cell_bytes(keys)
        self._map = mmap.mmap(descriptor, size, offset=_COMMON_BYTES + number * size)
        numbers = memoryview(self._map).cast("Q")
        self.numbers = numbers[:CELL_NUMBERS]
        self.keys = numbers[_PAGE // 8 : _PAGE // 8 + 2 * keys]

    def clear_keys(self) -> None:
        """Make all of ``keys`` 0."""
        self._map.madvise(mmap.MADV_REMOVE, _PAGE, len(self._map) - _PAGE)


class ProcessLock(AbstractContextManager[None]):
    """A lock among processes, which the kernel frees when its holder dies. Threads of one process do not wait for it.

    A record lock belongs to the process, and every process has the same open file: flock(2) and locks of open file
    descriptions would hold off nobody here.

    The kernel looks for deadlocks among processes, not threads: where one thread of a process waits for this lock and
    another one has a second lock, it may see one that there is not. Each lock is held for some microseconds, whatever
    else its process waits for, so that this is tried again.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno != errno.EDEADLK:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)


class WorkerMemory:
    """The worker's side: the `Memory` of its gate.

    Args:
        descriptors: As `Cells` has them; they are this object's from now on.
        number: Of the own cell.
        loop: In which it is told of places that become free.
    """

    def __init__(self, descriptors: Sequence[int], number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor, self._wakes = descriptors
        self._number = number
        self._loop = loop
        self._is_listening = False
        # Of its own, for the loop's is level-triggered: it would be ready for ever.
        self._edges = select.epoll()
        self._edges.register(self._wakes, select.EPOLLIN | select.EPOLLET)
        common = mmap.mmap(self._descriptor, _COMMON_BYTES)
        numbers, times = memoryview(common).cast("Q"), memoryview(common).cast("d")
        self._common = common
        self._count = numbers[_CELLS_AT // 8 : _CELLS_AT // 8 + 1]
        self._keys = numbers[_KEYS_AT // 8]
        self.common, self.common_times = numbers[:COMMON_NUMBERS], times[:COMMON_NUMBERS]
        self.rate_keys, self.rate_times = numbers[_PAGE // 8 :], times[_PAGE // 8 :]
        self.secret = bytes(common[_SECRET_AT:_CELLS_AT])
        self.lock = ProcessLock(self._descriptor)
        self.own = WorkerCell(self._descriptor, number, self._keys)
        self._others: list[WorkerCell] = []
        self._mapped = 0

    def others(self) -> Sequence[WorkerCell]:
        """Return the cells of the other workers; those that nobody has are 0."""
        while self._mapped < self._count[0]:
            if self._mapped != self._number:
                self._others.append(WorkerCell(self._descriptor, self._mapped, self._keys))
            self._mapped += 1
        return self._others

    def clear_rate_keys(self, generation: int) -> None:
        """Make one generation 0."""
        self._common.madvise(mmap.MADV_REMOVE, _PAGE + generation * _GENERATION_BYTES, _GENERATION_BYTES)

    def tell(self) -> None:
        """Wake all who wait for a place, in other processes."""
        _wake_all(self._wakes)

    def listen(self, wanted: bool, woken: Callable[[], object]) -> None:
        """Have ``woken`` called when a place has become free in another process, or no longer. On any thread."""
        self._loop.call_soon_threadsafe(self._listen, wanted, woken)

    def _listen(self, wanted: bool, woken: Callable[[], object]) -> None:
        if wanted != self._is_listening and not self._edges.closed:
            self._is_listening = wanted
            if wanted:  # what was told since `listen` was called is an edge that is there still
                self._loop.add_reader(self._edges, self._woken, woken)
            else:
                self._loop.remove_reader(self._edges)

    def _woken(self, woken: Callable[[], object]) -> None:
        self._edges.poll(0)
        woken()

    def close(self) -> None:
        """Be told no more."""
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._edges)
        self._edges.close()
