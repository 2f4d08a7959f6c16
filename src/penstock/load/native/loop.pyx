"""The load of ``penstock bench``, compiled, so that it outruns the servers it measures.

It is `penstock.load.pure.loop.LoadLoop` over again, and the same tests hold both. What makes it fast: one block of requests
that is sent again and again, one epoll set, one receive buffer, and replies that are compared before they are decoded.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, ceil, fmin
from libc.stdint cimport int64_t

from .clock cimport clock
from .connections cimport Connections
from .counts cimport Counts
from .pace cimport Pace
from .stream cimport CLOSED, CONNECTING, OPEN, Entry, Stream, drop, oldest, push

from ...engines.native.sealed cimport seal

cdef enum Phase:
    BEFORE
    WARMING_UP
    SENDING
    ENDING  # the last replies are waited for
    OVER

cdef double TICK_S = 0.05


cdef class LoadLoop(Connections):
    """One run of a load, on the calling thread.

    Args:
        load: A `penstock.load.load.Load`: what is asked.
        measured: A `penstock.load.measured.Measured`: where it is counted what came of it.
        dial: Makes a non-blocking socket that connects, or has connected. OSError: it cannot.
        interval_s: How often ``on_interval`` is called, with the seconds since the beginning.

    Raises:
        OSError: The system has no descriptor left.
    """

    cdef object measured, on_interval, asked_pace
    cdef Pace pace
    cdef bint paced
    cdef int64_t depth, count
    cdef double warmup_s, duration_s, timeout_s, interval_s
    cdef Counts latency, corrected
    cdef Phase phase
    cdef int64_t next_stream, issued, limit
    cdef double began_at, last_at, until, tick_at, interval_at

    def __cinit__(self, load, measured, dial, double interval_s, on_interval):
        self.measured = measured
        self.interval_s = interval_s
        self.on_interval = on_interval
        self.depth = load.depth
        self.count = -1 if load.count is None else load.count
        self.warmup_s = load.warmup_s
        self.duration_s = INFINITY if load.duration_s is None else load.duration_s
        self.timeout_s = load.timeout_s
        self.paced = load.pace is not None
        self.asked_pace = load.pace
        self.latency = Counts(measured.latency)
        self.corrected = Counts(measured.corrected)

    def connect(self):
        """Open all connections; return when each is there or has failed."""
        cdef double now = clock()
        cdef double until = now + self.timeout_s
        cdef int64_t number
        cdef bint pending = True
        cdef Stream* stream
        while pending and now < until:
            pending = False
            for number in range(self.stream_count):
                stream = &self.streams[number]
                if stream.state == CLOSED and stream.retry_at == 0:
                    self.open(stream, now)
                if stream.state != OPEN and stream.retry_at == 0:
                    pending = True
            if pending:
                self.serve(fmin(until - now, TICK_S))
                PyErr_CheckSignals()
            now = clock()
        for number in range(self.stream_count):
            stream = &self.streams[number]
            if stream.state != OPEN and stream.retry_at == 0:
                self.fail(stream, "connect: timeout", now)

    def run(self):
        """Load, wait for the last replies, and leave."""
        cdef double now = clock()
        cdef int64_t number
        self.connected_at = now
        if self.warmup_s > 0:
            self.begin(WARMING_UP, now, self.warmup_s, -1)
        else:
            self.begin(SENDING, now, self.duration_s, self.count)
        try:
            if not self.paced:
                for number in range(self.stream_count):
                    self.fill(&self.streams[number], now)
            while self.phase != OVER:
                now = clock()
                if now >= self.tick_at:
                    self.tick(now)
                if self.paced:
                    self.dispatch(now)
                if self.limit >= 0 and self.issued >= self.limit and self.waiting == 0:
                    break
                self.wait(now)
        finally:
            self.leave(clock())
            self.tell()
            self.measured.seconds = max(1e-9, self.last_at - self.began_at)
            for number in range(self.stream_count):
                self.close(&self.streams[number])

    # -- what is to be sent ------------------------------------------------------------------------------------------------

    cdef int begin(self, Phase phase, double now, double duration_s, int64_t count) except -1:
        cdef int64_t due
        self.phase = phase
        self.began_at = self.last_at = now
        self.until = now + duration_s
        self.issued = 0
        self.limit = count
        if self.paced:
            self.pace = Pace(self.asked_pace.before if phase == WARMING_UP else self.asked_pace)
            if phase == SENDING and duration_s < INFINITY:
                due = self.asked_pace.within(duration_s)
                self.limit = due if count < 0 else min(count, due)
        self.interval_at = now + self.interval_s
        self.tick_at = now
        return 0

    cdef int64_t backlog(self, double now) noexcept:
        """Return how many requests may be sent now; a limit below 0 is none."""
        cdef int64_t most = self.limit
        if self.paced and self.phase != ENDING and self.phase != BEFORE:
            most = self.pace.due(now - self.began_at)
            if self.limit >= 0:
                most = min(most, self.limit)
        return most - self.issued if most >= 0 else <int64_t>1 << 62

    cdef int dispatch(self, double now) except -1:
        """Send what has become due, evenly over the connections; what finds no room there waits for a reply."""
        cdef int64_t backlog = self.backlog(now)
        cdef int64_t share, number, before
        while backlog > 0 and self.waiting < self.open_count * self.depth:
            share = <int64_t>ceil(backlog / <double>self.open_count)
            before = self.issued
            for number in range(self.stream_count):
                self.next_stream = (self.next_stream + 1) % self.stream_count
                self.fill_some(&self.streams[self.next_stream], now, share)
                if self.issued - before >= backlog:
                    break
            backlog = self.backlog(now)
            if self.issued == before:
                break
        return 0

    cdef int fill(self, Stream* stream, double now) except -1:
        """Send as many requests as there is room for."""
        return self.fill_some(stream, now, self.depth)

    cdef int fill_some(self, Stream* stream, double now, int64_t most) except -1:
        """The same, and ``most`` at most."""
        cdef int64_t count, number
        if stream.state != OPEN or self.phase == BEFORE or self.phase == OVER:
            return 0
        count = min(most, self.depth - stream.waiting)
        if count <= 0:
            return 0
        count = min(count, self.backlog(now))
        if count <= 0:
            return 0
        if self.paced:
            for number in range(count):
                push(stream, self.began_at + self.pace.due_at(self.issued + number), now, 1)
        else:
            push(stream, now, now, count)
        self.issued += count
        self.waiting += count
        stream.waiting += count
        stream.unsent += count if self.records else count * self.frame_size
        return self.flush(stream, now)

    # -- replies -----------------------------------------------------------------------------------------------------------

    cdef int replied(self, Stream* stream, double now) except -1:
        """Count what was found as replies to the oldest requests."""
        cdef Entry* entry
        cdef int64_t taken
        cdef int64_t count = self.replies.found
        if self.replies.wrong:
            self.errors["reply is not what was sent"] += self.replies.wrong
        if count > stream.waiting:
            self.errors["reply to nothing"] += count - stream.waiting
            count = stream.waiting
        stream.waiting -= count
        self.waiting -= count
        while count > 0:
            entry = oldest(stream)
            taken = min(count, entry.count)
            if entry.due_at >= self.began_at:  # else it was in the warm-up
                self.latency.record(now - entry.sent_at, taken)
                if self.paced:
                    self.corrected.record(now - entry.due_at, taken)
                self.last_at = now
            entry.count -= taken
            count -= taken
            if entry.count == 0:
                drop(stream)
        return 0

    cdef int give_up_before(self, Stream* stream, double instant, double now) except -1:
        """Give up requests that were sent before ``instant``: on a stream, with all that follow them."""
        cdef int64_t count
        if stream.state == CONNECTING:
            if stream.since < instant:
                return self.fail(stream, "connect: timeout", now)
        elif stream.entries and oldest(stream).sent_at < instant:
            if not self.datagrams:
                return self.fail(stream, "timeout", now)
            while stream.entries and oldest(stream).sent_at < instant:
                count = oldest(stream).count
                drop(stream)
                stream.waiting -= count
                self.waiting -= count
                self.errors["timeout"] += count
            return self.fill(stream, now)
        return 0

    # -- time --------------------------------------------------------------------------------------------------------------

    cdef int wait(self, double now) except -1:
        """Serve sockets until something happens, the next tick at the longest, or the next request is due."""
        cdef double due_at
        if self.paced and (self.limit < 0 or self.issued < self.limit) and self.backlog(now) <= 0:
            due_at = self.began_at + self.pace.due_at(self.issued)
            if due_at < self.tick_at:
                self.alarm.set(due_at)
        return self.serve(self.tick_at - now)

    cdef int tick(self, double now) except -1:
        """Look after everything that has a time."""
        cdef int64_t number
        cdef Stream* stream
        PyErr_CheckSignals()
        if now >= self.until:
            self.next_phase(now)
        for number in range(self.stream_count):
            stream = &self.streams[number]
            self.give_up_before(stream, now - self.timeout_s, now)
            if stream.state == OPEN:
                self.connected_at = now
            elif stream.state == CLOSED and stream.retry_at <= now and self.phase != ENDING:
                self.open(stream, now)
        if now - self.connected_at > self.timeout_s:
            self.leave(now)  # the server is gone, which the errors say
        if now >= self.interval_at and self.phase != WARMING_UP:
            self.tell()
            self.on_interval(now - self.began_at)
            self.interval_at = now + self.interval_s
        self.tick_at = fmin(fmin(now + TICK_S, self.until), self.interval_at)
        return 0

    cdef int next_phase(self, double now) except -1:
        cdef int64_t unanswered
        if self.phase == WARMING_UP:
            self.forget_replies()
            self.errors.clear()
            return self.begin(SENDING, now, self.duration_s, self.count)
        if self.phase == SENDING:
            if not self.paced:
                self.limit = self.issued
            self.last_at = now
            self.phase = ENDING
            self.until = now + self.timeout_s
            return 0
        unanswered = self.waiting + self.backlog(now)
        if unanswered:
            self.errors["unanswered at the end"] += unanswered
        self.phase = OVER
        return 0

    cdef void leave(self, double now) noexcept:
        if self.phase == SENDING:
            self.last_at = now
        elif self.phase == WARMING_UP:
            self.forget_replies()
        self.phase = OVER

    cdef void forget_replies(self) noexcept:
        self.latency.forget()
        self.corrected.forget()
        self.bytes_in = self.bytes_out = 0

    cdef void tell(self):
        """Bring what is measured up to date."""
        self.latency.tell()
        self.corrected.tell()
        self.measured.bytes_in = self.bytes_in
        self.measured.bytes_out = self.bytes_out


seal(globals(), (LoadLoop,))
