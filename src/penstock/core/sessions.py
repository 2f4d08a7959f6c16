"""Sessions: the connections that a server makes of the datagrams of one sender. Who has one, who may have one more.

A sender's address can be forged, and one host can forge any number of them. So the sessions of a server have a highest
number; and at that number one that was heard from once gives way to a newcomer, the one that was heard from first. One
that has sent a second datagram is displaced by nobody: then the newcomer is refused. A firewall that keeps track of UDP
does so, too (Linux: nf_conntrack, early_drop).

For the same reason a session owes its peer no more than a multiple of what came from there, as an answer does to its
datagram: `Credit` counts both.

All of it is decisions without I/O. An engine with threads asks under a lock of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from .gate import HEADER_BYTES

S = TypeVar("S")


class Sessions(Generic[S]):
    """The sessions of one server, on all its addresses.

    Attributes:
        count: How many there are.
    """

    __slots__ = ("_once", "count")

    def __init__(self) -> None:
        self.count = 0
        self._once: OrderedDict[S, None] = OrderedDict()  # those that were heard from once, in that order

    def is_full(self, most: int | None) -> bool:
        """Say whether there are ``most`` of them, or more; None is no limit."""
        return most is not None and self.count >= most

    def to_be_displaced(self) -> S | None:
        """Return the one that gives way to a newcomer; None where each was heard from more than once."""
        return next(iter(self._once), None)

    def begins(self, session: S) -> None:
        """There is one more, whose first datagram has come.

        Raises:
            MemoryError: There is not: nothing has changed.
        """
        count = self.count + 1
        self._once[session] = None
        self.count = count

    def heard_again(self, session: S) -> None:
        """Its second datagram has come. May be repeated."""
        self._once.pop(session, None)

    def ends(self, session: S) -> None:
        """It has ended. Called once for each."""
        self.count -= 1
        self._once.pop(session, None)


class Credit:
    """What the peer of one session may be sent, as a multiple of what has come from there, headers included.

    Args:
        trusts: The peer cannot be forged from elsewhere: it is on this machine.

    Attributes:
        trusts: Nothing is held to anything any more.
    """

    __slots__ = ("_answer_bytes", "_answers", "_question_bytes", "_questions", "trusts")

    def __init__(self, *, trusts: bool) -> None:
        self.trusts = trusts
        self._questions = self._question_bytes = self._answers = self._answer_bytes = 0

    def received(self, size: int) -> None:
        """A datagram of so many bytes has come."""
        self._questions += 1
        self._question_bytes += size

    def takes(self, size: int, multiple: int | None) -> bool:
        """Say whether a datagram of so many bytes may be sent; if so, it is counted.

        Args:
            size: Its payload.
            multiple: How many times as much may be sent as has come; None for any number.
        """
        if self.trusts or multiple is None:
            return True
        answers, answer_bytes = self._answers + 1, self._answer_bytes + size
        limit = multiple * (self._questions * HEADER_BYTES + self._question_bytes)
        if answers * HEADER_BYTES + answer_bytes > limit:
            return False
        self._answers, self._answer_bytes = answers, answer_bytes
        return True
