"""What is given up when memory runs short, and in which order. Readings are told; nothing is read here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, Final, TypeVar

from ..reasons import CloseReason
from .gate import Gate

K = TypeVar("K")


class Pressure(IntEnum):
    """How short memory is. Each step does what those before it do, and more."""

    CALM = 0
    PAUSE = 1  # what holds bytes already is read no further, and the idle are let go sooner
    REFUSE = 2  # no new connection is let in
    SHED = 3  # the most expensive connections are ended


# Of the limit. The kernel ends the process at 100 %: what is between the last step and that is for the step to work.
THRESHOLDS: Final = {Pressure.PAUSE: 0.80, Pressure.REFUSE: 0.90, Pressure.SHED: 0.95}
# A step is left only so far below where it began, so that one connection more or less does not switch it on and off.
SLACK: Final = 0.05
# Under pressure a connection may be idle for that part of its usual time.
IDLE_SHARE: Final = 0.1


class Ladder:
    """Where on the ladder the process stands.

    Args:
        limit_bytes: What it may use.

    Attributes:
        pressure: As of the latest reading.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.pressure = Pressure.CALM

    def is_short(self, used_bytes: int) -> bool:
        """Whether a reading would be, or remain, on a step."""
        return used_bytes >= self._limit_bytes * (min(THRESHOLDS.values()) - (SLACK if self.pressure else 0.0))

    def read(self, used_bytes: int) -> Pressure:
        """Take a reading; return the step it puts the process on."""
        share = used_bytes / self._limit_bytes
        self.pressure = max(
            (
                step
                for step, begins in THRESHOLDS.items()
                if share >= begins - (SLACK if step <= self.pressure else 0.0)
            ),
            default=Pressure.CALM,
        )
        return self.pressure

    def excess_bytes(self, used_bytes: int) -> int:
        """Return how much has to go so that no connection needs to be ended: what is above the last step but one."""
        return max(0, used_bytes - int(self._limit_bytes * THRESHOLDS[Pressure.REFUSE]))


def most_expensive(costs: Iterable[tuple[K, int]], excess_bytes: int) -> list[K]:
    """Choose whom to end so that ``excess_bytes`` come back: the most expensive first, and no more than needed.

    Args:
        costs: Connections with the bytes each of them holds. Those that hold none are never chosen.
        excess_bytes: What has to come back.
    """
    chosen: list[K] = []
    for key, cost in sorted(costs, key=lambda entry: entry[1], reverse=True):
        if excess_bytes <= 0 or cost <= 0:
            break
        chosen.append(key)
        excess_bytes -= cost
    return chosen


def shed_load(everybody: Sequence[Any], gate: Gate, pressure: Pressure, excess_bytes: int) -> None:
    """Have connections read no further where they hold bytes already, let the idle go, end the most expensive.

    Args:
        everybody: The connections of one engine; those that the gate has reserved places for are left alone.
        gate: Knows them.
        pressure: At ``CALM`` all are read again, unless something else keeps one from that.
        excess_bytes: What has to come back by ending connections, at ``SHED``.
    """
    if pressure is Pressure.CALM:
        for connection in everybody:
            connection.unsuspend_reading()
        return
    connections = gate.unreserved(everybody)
    for connection in connections:
        if connection.held_bytes:
            connection.suspend_reading()
        else:
            connection.unsuspend_reading()
        connection.close_if_idle(IDLE_SHARE)
    if pressure is Pressure.SHED:
        for connection in most_expensive(((each, each.held_bytes) for each in connections), excess_bytes):
            connection.cut(CloseReason.OVERLOAD)
