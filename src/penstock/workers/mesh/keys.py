"""The keys of all registries of all workers: who has which, in memory that they share."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from ...core.shared_counts import SharedCounts, number_in
from ...errors import LimitError
from ..cells import WorkerMemory
from .deciding import Deciding

# Whose cells they are, where services have theirs: no service can have the name.
SERVICE: Final = "(keys)"

# For so many keys each cell has room; one worker may have three quarters of it.
KEYS: Final = 2**18

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

    __slots__ = ("_deciding", "cell")

    def __init__(self, memory: WorkerMemory, cell: int) -> None:
        super().__init__(memory, None, lambda: None)
        self.cell = cell
        self._deciding = Deciding(memory.lock)

    @property
    def is_deciding(self) -> bool:
        """Whether this thread is in the middle of one of the methods below, none of which it may call then."""
        return self._deciding.is_held_here

    def claim(self, key: Hashable, *, refuses: bool, order: int | None, is_shared: bool) -> int:
        """Have a key, as of `Elsewhere.claim`; return the order of the hold, 0 where it is not held.

        Raises:
            LimitError: This worker has as many as it can.
            LocalProtocolError: This thread is deciding.
        """
        with self._deciding:
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
        with self._deciding:
            if order:
                self._set(key, order)
            elif key in self._of_key:
                del self._of_key[key]
                self._write(key)
                self._places.pop(key, None)

    def elsewhere(self, key: Hashable) -> list[tuple[int, int]]:
        """Return the cells of the other workers that have a key, and the order of the latest hold of each."""
        with self._deciding:  # or a cell may be in the middle of being built anew
            return self._others(key)

    def _others(self, key: Hashable) -> list[tuple[int, int]]:
        number = self._number(key)
        found = [
            (at + (at >= self.cell), number_in(cell.keys, number)) for at, cell in enumerate(self._memory.others())
        ]
        return [each for each in found if each[1]]

    def _set(self, key: Hashable, order: int) -> None:
        if key not in self._of_key and not self._find_place(key):
            raise LimitError(f"a worker has {self._most_keys:,} keys at most, in all registries that span the workers")
        self._of_key[key] = order
        self._write(key)
