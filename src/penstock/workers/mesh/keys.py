"""The keys of all registries of all workers: who has which, in memory that they share."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final

from ...core.shared_counts import SharedCounts, number_in
from ..cells import WorkerMemory

# Whose cells they are, where services have theirs: no service can have the name.
SERVICE: Final = "(keys)"

# Of the numbers of all in that memory: the order of the last hold.
_LAST: Final = 5


class SharedKeys(SharedCounts):
    """For each key that this worker has: the order of its latest hold. What others have is read from their cells.

    A decision is taken under the lock of the memory, which the kernel frees when its holder dies, and the supervisor
    clears the cell of a worker that has ended. Safe from every thread.

    Args:
        memory: What the workers share.
        cell: Which cell is this worker's.
    """

    __slots__ = ("_cell", "_threads", "cell")

    def __init__(self, memory: WorkerMemory, cell: int) -> None:
        super().__init__(memory, None, lambda: None)
        self.cell = cell
        self._threads = threading.Lock()  # the other one holds off processes, not threads

    def claim(self, key: Hashable, *, refuses: bool, order: int | None, is_shared: bool) -> int:
        """Have a key, as of `Elsewhere.claim`; return the order of the hold, 0 where it is not held."""
        with self._threads, self.lock:
            latest = max((found for _, found in self._others(key)), default=0)
            if order is None:
                if refuses and latest:
                    return 0
                self._memory.common[_LAST] += 1
                order = self._memory.common[_LAST]
            elif latest > order and not is_shared:
                return 0
            self._set(key, max(order, self._of_key.get(key, 0)))
            return order

    def leave(self, key: Hashable, order: int | None) -> None:  # type: ignore[override]
        """A key is not held here any more; or ``order`` is its latest hold here."""
        with self._threads, self.lock:
            if order:
                self._set(key, order)
            elif key in self._of_key:
                self._write(key, 0)
                del self._of_key[key]
                self._places.pop(key, None)

    def elsewhere(self, key: Hashable) -> list[tuple[int, int]]:
        """Return the cells of the other workers that have a key, and the order of the latest hold of each."""
        with self._threads, self.lock:  # or a cell may be in the middle of being built anew
            return self._others(key)

    def _others(self, key: Hashable) -> list[tuple[int, int]]:
        number = self._number(key)
        found = [
            (at + (at >= self.cell), number_in(cell.keys, number)) for at, cell in enumerate(self._memory.others())
        ]
        return [each for each in found if each[1]]

    def _set(self, key: Hashable, order: int) -> None:
        if key not in self._of_key:
            self._find_place(key)
        self._of_key[key] = order
        self._write(key, order)
