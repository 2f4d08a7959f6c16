"""The load of ``penstock bench``: many connections, each with a number of requests on their way.

Closed loop: each reply makes room for the next request, so that the server sets the pace, and a stall of the server is
seen by no more requests than were on their way. Open loop: a clock sets the pace, and latency counts from the moment
when a request should have been sent, so that a stall is seen by all requests that fell into it.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..address import Address
from ..codecs import Codec
from ..core.inbound import StreamInbound
from ..errors import ProtocolError
from .bench_histogram import Histogram
from .messages import is_raw

RECONNECT_S = 0.1
# How finely an open loop keeps its pace. A loop's own timers are rounded to a millisecond: a latency by itself.
METRONOME_S = 0.0002
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a server.

    Attributes:
        address: A stream.
        codec: What cuts the replies.
        message: What each request is.
        connections: At once.
        depth: Most requests on their way on each.
        rate: Requests in a second on all together; None for as many as are answered.
        duration_s: How long requests are sent; None: until `count` are.
        count: How many requests are sent; None: until `duration_s` is over.
        timeout_s: How long a reply may take, and how long the last ones are waited for.
        expect_echo: Whether a reply that is not what was sent is an error.
    """

    address: Address
    codec: Codec[Any]
    message: Any
    connections: int = 50
    depth: int = 1
    rate: float | None = None
    duration_s: float | None = 10.0
    count: int | None = None
    timeout_s: float = 5.0
    expect_echo: bool = False


@dataclass(slots=True)
class Interval:
    """What happened in one stretch of time.

    Attributes:
        ended_s: Its end, in seconds from the beginning of the load.
        seconds: How long it was.
        replies: How many came in it.
        errors: How many there were in it.
    """

    ended_s: float
    seconds: float
    replies: int
    errors: int


@dataclass(slots=True)
class Measured:
    """What was seen.

    Attributes:
        latency: From the moment when each request was sent to its reply.
        corrected: From the moment when it should have been sent; empty without a rate.
        errors: How many requests and connections failed, by kind.
        intervals: Over time.
        bytes_in: Received.
        bytes_out: Handed to the system.
        seconds: From the first request to the last reply.
        cpu_share: Of one core, that this process took from the first request to the end.
    """

    latency: Histogram = field(default_factory=Histogram)
    corrected: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    intervals: list[Interval] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    cpu_share: float = 0.0

    @property
    def told(self) -> Histogram:
        """The latency that counts: corrected where there is a rate."""
        return self.corrected if self.corrected.count else self.latency


class LoadRun:
    """One run of a load, in the running loop.

    Args:
        load: What is asked.
        interval_s: How long each `Interval` is.
        on_interval: Called with what was measured so far after each.
    """

    def __init__(self, load: Load, interval_s: float, on_interval: Callable[[Measured], object]) -> None:
        self.load = load
        self.measured = Measured()
        self.frame = load.codec.encode(load.message)
        self._interval_s = interval_s
        self._on_interval = on_interval
        self._streams: list[_Stream] = []
        self._unsent = load.count
        self._sending = True
        self._done = asyncio.Event()
        self._began_at = 0.0
        self._last_reply_at = 0.0
        self._due: deque[float] = deque()  # of an open loop: requests that should have been sent
        self._scheduled = 0
        self._next_stream = 0
        self._reopening: set[asyncio.Task[None]] = set()

    async def run(self) -> Measured:
        """Connect, load, wait for the last replies, and return what was seen."""
        await asyncio.gather(*(self._open() for _ in range(self.load.connections)))
        cpu_at = time.process_time()
        self._began_at = self._last_reply_at = time.perf_counter()
        try:
            await self._run()
            wall_s = time.perf_counter() - self._began_at
            self.measured.cpu_share = (time.process_time() - cpu_at) / max(1e-9, wall_s)
        finally:
            for task in self._reopening:
                task.cancel()
            for stream in self._streams:
                stream.leave()
        self.measured.seconds = max(1e-9, self._last_reply_at - self._began_at)
        return self.measured

    async def _run(self) -> None:
        metronome = None if self.load.rate is None else Metronome(self._tick)
        watching = asyncio.create_task(self._watch())
        try:
            if metronome is None:
                for stream in list(self._streams):
                    stream.fill()
            try:
                async with asyncio.timeout(self.load.duration_s):
                    await self._done.wait()
            except TimeoutError:
                self._sending = False
                self._look_if_done()
                with_time = asyncio.timeout(self.load.timeout_s)
                try:
                    async with with_time:
                        await self._done.wait()
                except TimeoutError:
                    left = sum(stream.waiting for stream in self._streams) + len(self._due)
                    self.measured.errors["unanswered at the end"] += left
        finally:
            watching.cancel()
            if metronome is not None:
                metronome.stop()
            await asyncio.gather(watching, return_exceptions=True)

    # -- what is to be sent --------------------------------------------------------------------------------------------

    def take(self, room: int, now: float) -> list[tuple[float, float, int]]:
        """Take up to ``room`` requests to be sent now: (should have been sent at, sent at, how many)."""
        if self.load.rate is not None:
            return [(self._due.popleft(), now, 1) for _ in range(min(room, len(self._due)))]
        if not self._sending:
            return []
        if self._unsent is not None:
            room = min(room, self._unsent)
            self._unsent -= room
        return [(now, now, room)] if room else []

    def _tick(self) -> None:
        """Send what has become due since the last tick, to the connections in turn."""
        rate, now = self.load.rate, time.perf_counter()
        assert rate is not None
        if self._sending:
            due = int((now - self._began_at) * rate) + 1
            due = due if self.load.count is None else min(due, self.load.count)
            self._due.extend(self._began_at + number / rate for number in range(self._scheduled, due))
            self._scheduled = due
            self._unsent = None if self.load.count is None else self.load.count - due
        for _ in range(len(self._streams)):
            if not self._due:
                break
            self._next_stream += 1
            self._streams[self._next_stream % len(self._streams)].fill(fair=True)
        # Those that are left wait for room: `replied` fills it.
        if self._due:
            for stream in self._streams:
                stream.fill()

    def replied(self, entry: tuple[float, float, int], count: int, now: float) -> None:
        """Count replies."""
        intended_at, sent_at, _ = entry
        self.measured.latency.record(now - sent_at, count)
        if self.load.rate is not None:
            self.measured.corrected.record(now - intended_at, count)
        self._last_reply_at = now

    def look_if_done(self) -> None:
        """Note that a request is no longer on its way."""
        if self._unsent == 0 or not self._sending:
            self._look_if_done()

    def _look_if_done(self) -> None:
        if not self._due and not any(stream.waiting for stream in self._streams):
            self._done.set()

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        loop, address = asyncio.get_running_loop(), self.load.address
        try:
            async with asyncio.timeout(self.load.timeout_s):
                if address.is_unix:
                    path: Any = address.unix_name  # bytes, which an abstract name has to be
                    _, stream = await loop.create_unix_connection(lambda: _Stream(self), path)
                else:
                    assert address.port is not None  # tcp:// has one
                    _, stream = await loop.create_connection(lambda: _Stream(self), address.host, address.port)
        except OSError as error:
            self.measured.errors[f"connect: {name_of(error)}"] += 1
            if self._sending:
                self._reopen_later()
            return
        self._streams.append(stream)

    def lost(self, stream: _Stream, kind: str) -> None:
        """Count what was on its way on a connection that is gone, and open another one."""
        if stream in self._streams:
            self._streams.remove(stream)
        self.measured.errors[kind] += max(1, stream.waiting)
        stream.forget()
        self.look_if_done()
        if self._sending and not self._done.is_set():
            self._reopen_later()

    def _reopen_later(self) -> None:
        async def reopen() -> None:
            await asyncio.sleep(RECONNECT_S)
            before = len(self._streams)
            await self._open()
            if len(self._streams) > before and self._began_at:
                self._streams[-1].fill()

        task = asyncio.get_running_loop().create_task(reopen())
        self._reopening.add(task)
        task.add_done_callback(self._reopening.discard)

    async def _watch(self) -> None:
        """Measure over time, and give up requests that take too long."""
        replies = errors = 0
        before = self._began_at
        last_connected_at = before
        while True:
            await asyncio.sleep(self._interval_s)
            now = time.perf_counter()
            last_connected_at = now if self._streams else last_connected_at
            if now - last_connected_at > self.load.timeout_s:
                self._done.set()  # nobody is there any more, which the errors say
            for stream in list(self._streams):
                stream.give_up_before(now - self.load.timeout_s)
            now_errors = self.measured.errors.total()
            count = self.measured.latency.count
            self.measured.intervals.append(
                Interval(now - self._began_at, now - before, count - replies, now_errors - errors)
            )
            replies, errors, before = count, now_errors, now
            self.measured.seconds = now - self._began_at
            self._on_interval(self.measured)


class _Stream(asyncio.Protocol):
    """One connection: requests on their way in the order they were sent, which is the order of the replies."""

    def __init__(self, run: LoadRun) -> None:
        self._run = run
        self._load = run.load
        self._inbound: StreamInbound[Any] = StreamInbound(run.load.codec)
        self._on_way: deque[tuple[float, float, int]] = deque()
        self._raw = is_raw(run.load.codec)
        self._raw_bytes = b""
        self._raw_have = 0
        self._leaving = False
        self._transport: asyncio.Transport
        self.waiting = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def fill(self, *, fair: bool = False) -> None:
        """Send as many requests as there is room for; one if it is ``fair``."""
        if self._leaving:
            return
        room = self._load.depth - self.waiting
        if room <= 0:
            return
        entries = self._run.take(1 if fair else room, time.perf_counter())
        count = sum([entry[2] for entry in entries])
        if count:
            self._on_way.extend(entries)
            self.waiting += count
            data = self._run.frame * count
            self._run.measured.bytes_out += len(data)
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._run.measured.bytes_in += len(data)
        try:
            if self._raw:
                self._replied(self._raw_replies(data), now)
            else:
                self._inbound.feed(data)
                while messages := self._inbound.take(_BATCH):
                    if self._load.expect_echo:
                        wrong = sum([message != self._load.message for message in messages])
                        if wrong:
                            self._run.measured.errors["reply is not what was sent"] += wrong
                    self._replied(len(messages), now)
        except ProtocolError as error:
            self._fail(f"protocol: {error}")
            return
        self.fill()
        self._run.look_if_done()

    def _raw_replies(self, data: bytes) -> int:
        """Count replies in bytes without bounds: each is as long as the request."""
        size = len(self._run.frame)
        if self._load.expect_echo:
            self._raw_bytes += data
            whole = len(self._raw_bytes) // size
            wrong = sum(self._raw_bytes[at * size : (at + 1) * size] != self._run.frame for at in range(whole))
            if wrong:
                self._run.measured.errors["reply is not what was sent"] += wrong
            self._raw_bytes = self._raw_bytes[whole * size :]
            return whole
        whole, self._raw_have = divmod(self._raw_have + len(data), size)
        return whole

    def _replied(self, count: int, now: float) -> None:
        if count > self.waiting:
            self._run.measured.errors["reply to nothing"] += count - self.waiting
            count = self.waiting
        self.waiting -= count
        while count:
            intended_at, sent_at, sent = entry = self._on_way[0]
            taken = min(count, sent)
            self._run.replied(entry, taken, now)
            if taken == sent:
                self._on_way.popleft()
            else:
                self._on_way[0] = (intended_at, sent_at, sent - taken)
            count -= taken

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._leaving:
            self._leaving = True
            self._run.lost(self, name_of(exc) if exc is not None else "closed by the peer")

    def give_up_before(self, instant: float) -> None:
        """End the connection when a request on it was sent before ``instant``: replies come in order."""
        if self._on_way and self._on_way[0][1] < instant:
            self._fail("timeout")

    def _fail(self, kind: str) -> None:
        if not self._leaving:
            self._leaving = True
            self._transport.abort()
            self._run.lost(self, kind)

    def forget(self) -> None:
        """Expect no more replies."""
        self._on_way.clear()
        self.waiting = 0

    def leave(self) -> None:
        """Close, at the end of the run."""
        self._leaving = True
        self._transport.close()


class Metronome:
    """Calls back on the loop every `METRONOME_S`, more finely than a loop's timers do; fewer times when it is busy.

    Args:
        callback: Called on the loop's thread.
    """

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._stopped = False
        self._pending = False
        self._thread = threading.Thread(target=self._run, name="penstock-metronome", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Call back no more."""
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            time.sleep(METRONOME_S)
            if not self._pending:
                self._pending = True
                self._loop.call_soon_threadsafe(self._beat)

    def _beat(self) -> None:
        self._pending = False
        if not self._stopped:
            self._callback()


def name_of(error: BaseException) -> str:
    """Name the kind of an error for a count of errors."""
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        return "timeout"
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return errno.errorcode.get(number, type(error).__name__)
    return type(error).__name__
