"""The load of ``penstock bench`` in Python: many connections, each with a number of requests on their way.

Closed loop: each reply makes room for the next request, so that the server sets the pace, and a stall of the server is
seen by no more requests than were on their way. Open loop: a clock sets the pace, and latency counts from the moment
when a request should have been sent, so that a stall is seen by all requests that fell into it.

`penstock.load.native.loop` is the same, compiled; the same tests hold both.
"""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from ..load import Load
from ..measured import Measured
from .stream import State, Stream, name_of

# How often deadlines are looked at.
TICK_S: Final = 0.05
# How finely an open loop keeps its pace. The selector's own timeouts are rounded up to a millisecond.
PACE_S: Final = 0.0002


class Phase(Enum):
    """What a run is doing."""

    BEFORE = auto()
    WARMING_UP = auto()
    SENDING = auto()
    ENDING = auto()  # the last replies are waited for
    OVER = auto()


class LoadLoop:
    """One run of a load, on the calling thread.

    Args:
        load: What is asked.
        measured: Where it is counted what came of it.
        dial: Makes a non-blocking socket that connects, or has connected. OSError: it cannot.
        interval_s: How often ``on_interval`` is called, with the seconds since the beginning.
    """

    def __init__(
        self,
        load: Load,
        measured: Measured,
        dial: Callable[[], socket.socket],
        interval_s: float,
        on_interval: Callable[[float], object],
    ) -> None:
        self.load = load
        self.measured = measured
        self.frame = load.frame
        self.selector = selectors.DefaultSelector()
        self.phase = Phase.BEFORE
        self.waiting = 0  # requests on their way
        self._dial = dial
        self._interval_s = interval_s
        self._on_interval = on_interval
        self._streams = [Stream(self) for _ in range(load.connections)]
        self._next_stream = 0
        self._pace = load.pace
        self._issued = 0  # requests of this phase that were given to a connection
        self._limit: float = 0  # the most there may be of them
        self.connected_at = 0.0  # when there was a connection last
        self._began_at = self._last_at = 0.0
        self._until = self._tick_at = self._interval_at = 0.0

    def connect(self) -> None:
        """Open all connections; return when each is there or has failed."""
        now = time.perf_counter()
        until = now + self.load.timeout_s
        for stream in self._streams:
            self._open(stream, now)
        while any(stream.state is not State.OPEN and not stream.retry_at for stream in self._streams):
            now = time.perf_counter()
            if now >= until:
                break
            for stream in self._streams:
                if stream.state is State.CLOSED and not stream.retry_at:
                    self._open(stream, now)
            self._serve(min(until - now, TICK_S))
        for stream in self._streams:
            if stream.state is not State.OPEN and not stream.retry_at:
                stream.fail("connect: timeout", now)

    def run(self) -> None:
        """Load, wait for the last replies, and leave."""
        now = time.perf_counter()
        self.connected_at = now
        if self.load.warmup_s:
            self._begin(Phase.WARMING_UP, now, self.load.warmup_s, None)
        else:
            self._begin(Phase.SENDING, now, self.load.duration_s, self.load.count)
        if self._pace is None:
            for stream in self._streams:
                stream.fill(now, self.load.depth)
        try:
            while self.phase is not Phase.OVER:
                now = time.perf_counter()
                if now >= self._tick_at:
                    self._tick(now)
                if self._pace is not None:
                    self._dispatch(now)
                if self._issued >= self._limit and not self.waiting:
                    break
                self._wait(now)
        finally:
            self._leave(time.perf_counter())
            self.measured.seconds = max(1e-9, self._last_at - self._began_at)
            for stream in self._streams:
                stream.close()
            self.selector.close()

    # -- what is to be sent --------------------------------------------------------------------------------------------

    def _begin(self, phase: Phase, now: float, duration_s: float | None, count: int | None) -> None:
        self.phase = phase
        self._began_at = self._last_at = now
        self._until = math.inf if duration_s is None else now + duration_s
        self._issued = 0
        self._limit = math.inf if count is None else count
        if self.load.pace is not None:
            if phase is Phase.WARMING_UP:
                self._pace = self.load.pace.before
            else:
                self._pace = self.load.pace
                if duration_s is not None:
                    self._limit = min(self._limit, self._pace.within(duration_s))
        self._interval_at = now + self._interval_s
        self._tick_at = now

    def _backlog(self, now: float) -> float:
        """Return how many requests may be sent now."""
        if self._pace is None or self.phase is Phase.ENDING:
            return self._limit - self._issued
        return min(self._limit, self._pace.due(now - self._began_at)) - self._issued

    def take(self, room: int, now: float) -> list[tuple[float, float, int]]:
        """Take up to ``room`` requests to be sent now: (due at, sent at, how many)."""
        count = int(min(room, self._backlog(now)))
        if count <= 0:
            return []
        first = self._issued
        self._issued += count
        if self._pace is None:
            return [(now, now, count)]
        return [(self._began_at + self._pace.due_at(first + number), now, 1) for number in range(count)]

    def _dispatch(self, now: float) -> None:
        """Send what has become due, evenly over the connections; what finds no room there waits for a reply."""
        backlog = self._backlog(now)
        able = [stream for stream in self._streams if stream.room] if backlog > 0 else []
        while able and backlog > 0:
            share = math.ceil(backlog / len(able))
            self._next_stream += 1
            for number in range(len(able)):
                able[(self._next_stream + number) % len(able)].fill(now, share)
            backlog = self._backlog(now)
            able = [stream for stream in able if stream.room]

    def replied(self, entry: tuple[float, float, int], count: int, now: float) -> None:
        """Count replies."""
        due_at, sent_at, _ = entry
        if due_at < self._began_at:  # that was in the warm-up
            return
        self.measured.latency.record(now - sent_at, count)
        if self._pace is not None:
            self.measured.corrected.record(now - due_at, count)
        self._last_at = now

    # -- time ----------------------------------------------------------------------------------------------------------

    def _wait(self, now: float) -> None:
        """Serve sockets until something happens, the next tick at the longest, or the next request is due."""
        until = self._tick_at
        if self._pace is not None and self._issued < self._limit and self._backlog(now) <= 0:
            until = min(until, self._began_at + self._pace.due_at(self._issued))
        wait_s = until - now
        if wait_s > 2 * PACE_S and self._pace is None:
            self._serve(wait_s)
        elif wait_s > 0.002:
            self._serve(wait_s - 0.001)
        elif not self._serve(0) and wait_s > 0:
            time.sleep(min(wait_s, PACE_S))

    def _serve(self, wait_s: float) -> bool:
        events = self.selector.select(wait_s)
        for key, mask in events:
            stream: Stream = key.data
            stream.ready(mask)
        return bool(events)

    def _tick(self, now: float) -> None:
        """Look after everything that has a time."""
        if now >= self._until:
            self._next_phase(now)
        for stream in self._streams:
            stream.give_up_before(now - self.load.timeout_s, now)
            if stream.state is State.OPEN:
                self.connected_at = now
            elif stream.state is State.CLOSED and stream.retry_at <= now and self.phase is not Phase.ENDING:
                self._open(stream, now)
        if now - self.connected_at > self.load.timeout_s:
            self._leave(now)  # the server is gone, which the errors say
        if now >= self._interval_at and self.phase is not Phase.WARMING_UP:
            self._on_interval(now - self._began_at)
            self._interval_at = now + self._interval_s
        self._tick_at = min(now + TICK_S, self._until, self._interval_at)

    def _next_phase(self, now: float) -> None:
        match self.phase:
            case Phase.WARMING_UP:
                self.measured.clear()
                self.measured.errors.clear()
                self._begin(Phase.SENDING, now, self.load.duration_s, self.load.count)
            case Phase.SENDING:
                if self._pace is None:
                    self._limit = self._issued
                self._last_at = now
                self.phase = Phase.ENDING
                self._until = now + self.load.timeout_s
            case _:
                if unanswered := self.waiting + int(self._backlog(now)):
                    self.measured.errors["unanswered at the end"] += unanswered
                self.phase = Phase.OVER

    def _leave(self, now: float) -> None:
        if self.phase is Phase.SENDING:
            self._last_at = now
        elif self.phase is Phase.WARMING_UP:
            self.measured.clear()
        self.phase = Phase.OVER

    def _open(self, stream: Stream, now: float) -> None:
        stream.retry_at = 0.0
        try:
            sock = self._dial()
        except BlockingIOError:
            return  # the backlog of a Unix socket is full: at the next tick
        except OSError as error:
            stream.fail(f"connect: {name_of(error)}", now)
        else:
            stream.connecting(sock, now)
