# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""How long each deadline lasts, in numbers that a law reads without asking whether there is one."""

from __future__ import annotations

from math import inf

from ...config import Timeouts

_INFINITY = inf


def _seconds(value: float | None) -> float:
    return _INFINITY if value is None else float(value)  # a subclass of float would slow each sum down


class Durations:
    """How long each deadline lasts, in seconds; infinity for ever. One for all connections that have the same.

    Args:
        timeouts: What they are taken from.
        only_received_counts: What is sent to a peer keeps it from being idle no longer; so it is in any case where the
            timeouts have a ``receive_idle_s``.
    """

    __slots__ = (
        "finish_s",
        "first_s",
        "handshake_s",
        "idle_s",
        "lifetime_s",
        "linger_s",
        "message_bytes_per_s",
        "message_s",
        "only_received_counts",
        "timeouts",
        "write_s",
    )

    def __init__(self, timeouts: Timeouts, only_received_counts: bool = False) -> None:
        self.timeouts = timeouts
        self.handshake_s = _seconds(timeouts.handshake_s)
        self.first_s = _seconds(timeouts.first_message_s)
        self.only_received_counts = only_received_counts or timeouts.receive_idle_s is not None
        self.idle_s = _seconds(timeouts.idle_s if timeouts.receive_idle_s is None else timeouts.receive_idle_s)
        self.message_s = _seconds(timeouts.message_s)
        self.write_s = _seconds(timeouts.write_s)
        self.linger_s = _seconds(timeouts.linger_s)
        self.lifetime_s = _seconds(timeouts.lifetime_s)
        self.finish_s = _seconds(timeouts.drain_s)
        self.message_bytes_per_s = timeouts.message_bytes_per_s or 0  # 0: a message has message_s, however long it is
