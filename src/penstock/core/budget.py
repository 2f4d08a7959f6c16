"""What all peers together may be owed. Decisions without I/O."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import Final, Protocol

from ..reasons import CloseReason

# What a connection may be owed whatever the others are: a page. Up to here it is not even asked where asking costs.
FREE_BYTES: Final = 4096

# More than any process holds, and still a number that compiled code can add to.
NO_LIMIT: Final = 2**62


class Debtor(Protocol):
    """A connection that is owed output."""

    def cut(self, reason: CloseReason) -> None:
        """End it now."""


class OutputBudget:
    """The output that this process holds for all peers because the kernel did not take it, and how much that may be.

    Two rules hold it. Neither has anything to do with a peer that is owed nothing.

    - No peer may be owed more than what is left, or `FREE_BYTES`. So those who are owed most give way first, each by
      its own policy, while there is still room: n that take all they may have an (n + 1)th each, and as much
      stays free.
    - Where it is overdrawn all the same, `FREE_BYTES` of each aside, for of a message that the kernel took in part the
      rest cannot be given up, those are ended whose output has not moved for longest.

    Args:
        limit_bytes: None for no limit.

    Attributes:
        used_bytes: What all are owed.
    """

    __slots__ = ("_debtors", "_limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit_bytes = limit_bytes
        self._debtors: OrderedDict[Debtor, int] = OrderedDict()  # whose output moved last at the end
        self.used_bytes = 0

    def owe(self, debtor: Debtor, owed_bytes: int) -> None:
        """Take note of what a connection is owed from now on; with less than before, its peer reads."""
        if self._limit_bytes is None:
            return
        debtors = self._debtors
        # A signal handler, or a finaliser, may call this in the middle: where a function is called. So none is called
        # until the sum is right again.
        before = debtors[debtor] if debtor in debtors else 0  # noqa: SIM401 - see above
        used_bytes = self.used_bytes + owed_bytes - before
        if owed_bytes:
            debtors[debtor] = owed_bytes
        elif before:
            del debtors[debtor]
        self.used_bytes = used_bytes  # without memory for any of it nothing has changed
        if 0 < owed_bytes < before:
            with suppress(KeyError):  # nothing is owed any more
                debtors.move_to_end(debtor)

    def uncounted_bytes(self, limit_bytes: int) -> int:
        """Return what a connection may be owed before it is looked at, that has a limit of its own."""
        return limit_bytes if self._limit_bytes is None else min(limit_bytes, FREE_BYTES)

    def room_bytes(self) -> int:
        """Return what a connection may be owed for all that the others are."""
        return NO_LIMIT if self._limit_bytes is None else max(self._limit_bytes - self.used_bytes, FREE_BYTES)

    def to_be_ended(self, spared: Debtor) -> list[Debtor]:
        """Choose whom to end so that what is owed is within the budget.

        Args:
            spared: The debtor that is being sent to: what it is owed has only just begun to wait.
        """
        chosen: list[Debtor] = []
        if self._limit_bytes is None or self.used_bytes <= self._limit_bytes:
            return chosen
        excess_bytes = self.used_bytes - self._limit_bytes - FREE_BYTES * len(self._debtors)
        for debtor, owed_bytes in list(self._debtors.items()):  # which a call within this one may change
            if excess_bytes <= 0:
                break
            if debtor is not spared:
                chosen.append(debtor)
                excess_bytes -= owed_bytes - FREE_BYTES
        return chosen
