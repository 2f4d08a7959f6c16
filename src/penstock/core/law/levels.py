# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""The limits of a connection as plain numbers: one object for all connections that have the same."""

from __future__ import annotations

from math import inf

from ...config import Limits

# A token is there that much early: the sum of three thirds of a second is not quite a second later, in binary.
_SLACK_S = 1e-6


class Levels:
    """What one connection may hold, and how fast its messages may come.

    Args:
        limits: What they are taken from.

    Attributes:
        limits: The same.
        high: Above that many bytes of output the connection is not read, and `send` waits.
        low: At or below that many both go on.
        most: More than that its peer cannot be owed.
        read_bytes: The most that is read from its socket at once.
        step: A peer that took that many bytes has read on. Less does not count: one that reads a byte now and then
            would hold its output for ever.
        can_drop: What is posted to a slow peer need not all be sent.
        message_step_s: Seconds from one message to the next at the highest rate; 0 where there is none.
        message_depth_s: For how long messages may be ahead of that rate.
        closes_at_rate: A peer that is faster is closed; else it is read no faster.
    """

    __slots__ = (
        "can_drop",
        "closes_at_rate",
        "high",
        "limits",
        "low",
        "message_depth_s",
        "message_step_s",
        "most",
        "read_bytes",
        "step",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.high = limits.write_high_bytes
        self.low = limits.write_low_bytes
        self.most = limits.write_max_bytes
        self.read_bytes = limits.read_bytes
        self.step = max(1, self.high - self.low)
        self.can_drop = limits.slow_consumer != "disconnect"
        rate = limits.max_message_rate
        self.message_step_s = 0.0 if rate is None else rate.period_s / rate.count
        self.message_depth_s = inf if rate is None else rate.period_s - self.message_step_s + _SLACK_S
        self.closes_at_rate = limits.on_message_rate == "close"
