"""What ``penstock bench`` has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import zip_longest

from .histogram import Growth, Histogram, Times, together


@dataclass(slots=True)
class Interval:
    """What happened in one stretch of time.

    Attributes:
        ended_s: Its end, in seconds from the beginning of the load.
        seconds: How long it was.
        replies: How many came in it.
        errors: How many there were in it.
        times: Of the replies that came in it, by bucket.
    """

    ended_s: float = 0.0
    seconds: float = 0.0
    replies: int = 0
    errors: int = 0
    times: Times = field(default_factory=dict)

    def __add__(self, other: Interval) -> Interval:
        """Add what another process saw in the same stretch."""
        longer = max(self, other, key=lambda each: each.seconds)
        return Interval(
            longer.ended_s,
            longer.seconds,
            self.replies + other.replies,
            self.errors + other.errors,
            together(self.times, other.times),
        )


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How a run goes.

    Attributes:
        seconds: From its beginning.
        replies: How many have come.
        waited_s: How long they took, all added up.
        errors: How many there were.
        times: Of the replies of the last interval, by bucket.
    """

    seconds: float
    replies: int
    waited_s: float
    errors: int
    times: Times = field(default_factory=dict)


@dataclass(slots=True)
class Measured:
    """What was seen, after the warm-up.

    Attributes:
        latency: From the moment when each request was sent to its reply.
        corrected: From the moment when it was due; empty without a pace.
        errors: How many requests and connections failed, by kind.
        intervals: Over time.
        bytes_in: Received.
        bytes_out: Taken by the system.
        seconds: From the first request to the last reply, or to when no more were to be sent, if that was later.
        cpu_share: Of one core, that the busiest process of the load took.
        processes: How many sent.
        compiled: Whether they did so in compiled code.
        interrupted: Whether the user ended it.
    """

    latency: Histogram = field(default_factory=Histogram)
    corrected: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    intervals: list[Interval] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    cpu_share: float = 0.0
    processes: int = 1
    compiled: bool = False
    interrupted: bool = False

    @property
    def told(self) -> Histogram:
        """The latency that counts: from when it was due, where there is a pace."""
        return self.corrected if self.corrected.count else self.latency

    @property
    def rate(self) -> float:
        """Replies in a second."""
        return self.latency.count / self.seconds if self.seconds else 0.0

    def clear(self) -> None:
        """Forget what came so far, and errors not: that was the warm-up."""
        self.latency.clear()
        self.corrected.clear()
        self.bytes_in = self.bytes_out = 0


def glimpse_of(parts: Iterable[Glimpse]) -> Glimpse:
    """Return how several processes together are doing."""
    seen = list(parts)
    return Glimpse(
        max(each.seconds for each in seen),
        sum(each.replies for each in seen),
        sum(each.waited_s for each in seen),
        sum(each.errors for each in seen),
        reduce(together, (each.times for each in seen), {}),
    )


def merged(parts: Sequence[Measured]) -> Measured:
    """Return what several processes have seen together, at the same time."""
    whole = Measured(processes=len(parts), compiled=all(part.compiled for part in parts))
    whole.interrupted = any(part.interrupted for part in parts)
    for part in parts:
        whole.latency.add(part.latency)
        whole.corrected.add(part.corrected)
        whole.errors.update(part.errors)
        whole.bytes_in += part.bytes_in
        whole.bytes_out += part.bytes_out
        whole.seconds = max(whole.seconds, part.seconds)
        whole.cpu_share = max(whole.cpu_share, part.cpu_share)
    columns = zip_longest(*(part.intervals for part in parts), fillvalue=Interval())
    whole.intervals = [sum(column, Interval()) for column in columns]
    return whole


class Recorder:
    """Cuts a run into intervals.

    Args:
        measured: What is counted into.
        then: Called after each interval.
    """

    def __init__(self, measured: Measured, then: Callable[[Glimpse], object]) -> None:
        self._measured = measured
        self._then = then
        self._replies = self._errors = 0
        self._before_s = 0.0
        self._seen = Growth()

    def __call__(self, seconds: float) -> None:
        """Note that an interval has ended, and when, in seconds after the beginning."""
        measured = self._measured
        replies, errors = measured.latency.count, measured.errors.total()
        times = self._seen.since(measured.told)
        measured.intervals.append(
            Interval(seconds, seconds - self._before_s, replies - self._replies, errors - self._errors, times)
        )
        self._replies, self._errors, self._before_s = replies, errors, seconds
        self._then(Glimpse(seconds, replies, measured.told.total_s, errors, times))

    def end(self) -> None:
        """Note what came since the last interval ended: as one more, or as a part of that one if it is short."""
        measured = self._measured
        rest = Interval(
            max(measured.seconds, self._before_s),
            max(0.0, measured.seconds - self._before_s),
            measured.latency.count - self._replies,
            measured.errors.total() - self._errors,
            self._seen.since(measured.told),
        )
        if not rest.replies and not rest.errors:
            return
        if measured.intervals and rest.seconds < measured.intervals[0].seconds / 2:
            last = measured.intervals.pop()
            rest.seconds += last.seconds
            rest.replies += last.replies
            rest.errors += last.errors
            rest.times = together(last.times, rest.times)
        measured.intervals.append(rest)
