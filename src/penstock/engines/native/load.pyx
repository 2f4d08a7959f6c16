"""The load of ``penstock bench``, compiled, so that it outruns the servers it measures.

It is `penstock.cli.bench.pure_loop.LoadLoop` over again, and the same tests hold both. What makes it fast: one block of requests
that is sent again and again, one epoll set, one receive buffer, and replies that are compared before they are decoded.
"""

import errno as _errno

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.math cimport INFINITY, ceil, fmax, fmin
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.unistd cimport close as close_fd

from .load_counts cimport Counts
from .load_pace cimport Pace
from .load_replies cimport Partial, Replies, forget, replies_of
from .poller cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_create1, epoll_ctl, epoll_event, epoll_wait
)

from ...errors import ProtocolError

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
        SOL_SOCKET
        SO_ERROR
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)

cdef extern from "<sys/timerfd.h>" nogil:
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK
        TFD_TIMER_ABSTIME
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* when, itimerspec* before)

cdef enum:
    READ_BYTES = 256 * 1024
    SEND_BYTES = 64 * 1024  # given to the system at once, if a request is not longer
    EVENTS = 256
    TIMER = 0xFFFFFFFF  # stands where the number of a connection does

cdef enum State:
    CLOSED
    CONNECTING
    OPEN

cdef enum Phase:
    BEFORE
    WARMING_UP
    SENDING
    ENDING  # the last replies are waited for
    OVER

cdef double RECONNECT_S = 0.1
cdef double TICK_S = 0.05


cdef struct Entry:
    # Requests that were sent together.
    double due_at
    double sent_at
    int64_t count


cdef struct Stream:
    int fd
    State state
    uint32_t mask
    double since  # when it began to connect
    double retry_at  # when one that failed is opened again; 0: none has failed
    int64_t waiting  # requests on their way
    int64_t unsent  # bytes; of records, their number
    int64_t sent  # bytes of the frame that has gone in part
    Entry* ring  # the requests on their way, in their order
    int64_t ring_size, first, entries
    Partial partial


cdef double clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec / 1e9


cdef class LoadLoop:
    """One run of a load, on the calling thread.

    Args:
        load: A `penstock.cli.bench.load.Load`: what is asked.
        measured: A `penstock.cli.bench.measured.Measured`: where it is counted what came of it.
        dial: Makes a non-blocking socket that connects, or has connected. OSError: it cannot.
        interval_s: How often ``on_interval`` is called, with the seconds since the beginning.

    Raises:
        OSError: The system has no descriptor left.
    """

    cdef object measured, dial, on_interval, asked_pace, errors
    cdef Pace pace
    cdef bint records, datagrams, paced
    cdef int64_t depth, count
    cdef double warmup_s, duration_s, timeout_s, interval_s
    cdef int epoll, timer
    cdef double armed_at
    cdef bytes frame
    cdef char* block  # the frame, over and over
    cdef Py_ssize_t frame_size, block_size
    cdef char* buffer
    cdef Replies replies
    cdef Counts latency, corrected
    cdef Stream* streams
    cdef int64_t stream_count, open_count, next_stream
    cdef Phase phase
    cdef int64_t waiting, issued, limit
    cdef int64_t bytes_in, bytes_out
    cdef double began_at, last_at, connected_at, until, tick_at, interval_at

    def __cinit__(self):
        self.epoll = self.timer = -1

    def __init__(self, load, measured, dial, double interval_s, on_interval):
        cdef int64_t number
        cdef epoll_event event
        self.measured = measured
        self.errors = measured.errors
        self.dial = dial
        self.interval_s = interval_s
        self.on_interval = on_interval
        self.records = load.is_records
        self.datagrams = load.is_datagrams
        self.depth = load.depth
        self.count = -1 if load.count is None else load.count
        self.warmup_s = load.warmup_s
        self.duration_s = INFINITY if load.duration_s is None else load.duration_s
        self.timeout_s = load.timeout_s
        self.paced = load.pace is not None
        self.asked_pace = load.pace
        self.latency = Counts(measured.latency)
        self.corrected = Counts(measured.corrected)
        self.frame = load.frame
        self.frame_size = PyBytes_GET_SIZE(self.frame)
        number = 1 if self.records or self.frame_size == 0 else max(1, min(self.depth, SEND_BYTES // self.frame_size))
        self.block_size = number * self.frame_size
        self.block = <char*>malloc(self.block_size + 1)
        self.buffer = <char*>malloc(READ_BYTES)
        self.streams = <Stream*>calloc(load.connections, sizeof(Stream))
        if self.block == NULL or self.buffer == NULL or self.streams == NULL:
            raise MemoryError
        self.stream_count = load.connections
        for number in range(number):
            memcpy(self.block + number * self.frame_size, PyBytes_AS_STRING(self.frame), self.frame_size)
        for number in range(self.stream_count):
            self.streams[number].fd = -1
        self.replies = replies_of(load)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        event.events = EPOLLIN
        event.data.u64 = TIMER
        if self.epoll < 0 or self.timer < 0 or epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.timer, &event) < 0:
            raise OSError(errno, "the load has no descriptor for epoll")

    def __dealloc__(self):
        cdef int64_t number
        if self.streams != NULL:
            for number in range(self.stream_count):
                if self.streams[number].fd >= 0:
                    close_fd(self.streams[number].fd)
                forget(&self.streams[number].partial)
                free(self.streams[number].ring)
            free(self.streams)
        free(self.block)
        free(self.buffer)
        if self.epoll >= 0:
            close_fd(self.epoll)
        if self.timer >= 0:
            close_fd(self.timer)

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
                    self.open(number, now)
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
                    self.fill(&self.streams[number], now, self.depth)
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
                self.fill(&self.streams[self.next_stream], now, share)
                if self.issued - before >= backlog:
                    break
            backlog = self.backlog(now)
            if self.issued == before:
                break
        return 0

    cdef int fill(self, Stream* stream, double now, int64_t most) except -1:
        """Send as many requests as there is room for, and ``most`` at most."""
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
                self.push(stream, self.began_at + self.pace.due_at(self.issued + number), now, 1)
        else:
            self.push(stream, now, now, count)
        self.issued += count
        self.waiting += count
        stream.waiting += count
        stream.unsent += count if self.records else count * self.frame_size
        return self.flush(stream, now)

    cdef int push(self, Stream* stream, double due_at, double sent_at, int64_t count) except -1:
        cdef int64_t size = stream.ring_size
        cdef Entry* entry
        if stream.entries == size:
            entry = <Entry*>realloc(stream.ring, max(4, 2 * size) * sizeof(Entry))
            if entry == NULL:
                raise MemoryError
            stream.ring = entry
            stream.ring_size = max(4, 2 * size)
            # What lay before the first entry follows the last one now.
            memcpy(entry + size, entry, stream.first * sizeof(Entry))
        entry = stream.ring + (stream.first + stream.entries) % stream.ring_size
        entry.due_at = due_at
        entry.sent_at = sent_at
        entry.count = count
        stream.entries += 1
        return 0

    cdef int flush(self, Stream* stream, double now) except -1:
        cdef ssize_t taken
        cdef Py_ssize_t size
        while stream.unsent > 0:
            size = self.frame_size if self.records else min(stream.unsent, self.block_size - stream.sent)
            taken = send(stream.fd, self.block + stream.sent, size, MSG_NOSIGNAL)
            if taken < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    return self.watch(stream, EPOLLIN | EPOLLOUT)
                return self.fail(stream, name_of(errno), now)
            self.bytes_out += taken
            if self.records:
                stream.unsent -= 1
            else:
                stream.unsent -= taken
                stream.sent = (stream.sent + taken) % self.frame_size
        return self.watch(stream, EPOLLIN)

    # -- replies -----------------------------------------------------------------------------------------------------------

    cdef int receive(self, Stream* stream) except -1:
        cdef ssize_t size
        cdef double now
        while True:
            size = recv(stream.fd, self.buffer, READ_BYTES, 0)
            now = clock()
            if size < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    break
                return self.fail(stream, name_of(errno), now)
            if size == 0 and not self.datagrams:
                return self.fail(stream, "closed by the peer", now)
            self.bytes_in += size
            self.replies.found = self.replies.wrong = 0
            try:
                self.replies.take(&stream.partial, self.buffer, size)
            except ProtocolError as error:
                self.replied(stream, now)
                return self.fail(stream, f"protocol: {error}", now)
            self.replied(stream, now)
            # Of records each is read by itself: no more than are waited for, for the last look finds nothing.
            if not self.records or stream.waiting == 0:
                break
        return self.fill(stream, now, self.depth)

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
            entry = stream.ring + stream.first
            taken = min(count, entry.count)
            if entry.due_at >= self.began_at:  # else it was in the warm-up
                self.latency.record(now - entry.sent_at, taken)
                if self.paced:
                    self.corrected.record(now - entry.due_at, taken)
                self.last_at = now
            entry.count -= taken
            count -= taken
            if entry.count == 0:
                self.drop_entry(stream)
        return 0

    cdef void drop_entry(self, Stream* stream) noexcept:
        stream.first = (stream.first + 1) % stream.ring_size
        stream.entries -= 1

    # -- connections -------------------------------------------------------------------------------------------------------

    cdef int open(self, int64_t number, double now) except -1:
        cdef Stream* stream = &self.streams[number]
        cdef epoll_event event
        stream.retry_at = 0
        try:
            sock = self.dial()
        except BlockingIOError:
            return 0  # the backlog of a Unix socket is full: at the next tick
        except OSError as error:
            return self.fail(stream, f"connect: {_errno.errorcode.get(error.errno, type(error).__name__)}", now)
        stream.fd = sock.detach()
        stream.state = CONNECTING
        stream.since = now
        stream.mask = event.events = EPOLLOUT
        event.data.u64 = number
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, stream.fd, &event) < 0:
            return self.fail(stream, f"connect: {name_of(errno)}", now)
        return 0

    cdef int connected(self, Stream* stream, double now) except -1:
        cdef int error = 0
        cdef unsigned int size = sizeof(error)
        getsockopt(stream.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        if error:
            return self.fail(stream, f"connect: {name_of(error)}", now)
        stream.state = OPEN
        stream.unsent = stream.sent = 0
        self.connected_at = now
        self.open_count += 1
        self.watch(stream, EPOLLIN)
        return self.fill(stream, now, self.depth)

    cdef int watch(self, Stream* stream, uint32_t mask) except -1:
        cdef epoll_event event
        if stream.mask != mask:
            stream.mask = event.events = mask
            event.data.u64 = stream - self.streams
            if epoll_ctl(self.epoll, EPOLL_CTL_MOD, stream.fd, &event) < 0:
                return self.fail(stream, name_of(errno), clock())
        return 0

    cdef int fail(self, Stream* stream, kind, double now) except -1:
        """Count what was on its way on a connection that is gone, and have it replaced a little later."""
        self.errors[kind] += max(1, stream.waiting)
        stream.retry_at = now + RECONNECT_S
        self.close(stream)
        return 0

    cdef void close(self, Stream* stream):
        """Close, and expect no more replies."""
        self.waiting -= stream.waiting
        stream.waiting = stream.entries = stream.first = 0
        if stream.state == OPEN:
            self.open_count -= 1
        stream.state = CLOSED
        if stream.fd >= 0:
            close_fd(stream.fd)
            stream.fd = -1
        forget(&stream.partial)

    cdef int give_up_before(self, Stream* stream, double instant, double now) except -1:
        """Give up requests that were sent before ``instant``: on a stream, with all that follow them."""
        cdef int64_t count
        if stream.state == CONNECTING:
            if stream.since < instant:
                return self.fail(stream, "connect: timeout", now)
        elif stream.entries and stream.ring[stream.first].sent_at < instant:
            if not self.datagrams:
                return self.fail(stream, "timeout", now)
            while stream.entries and stream.ring[stream.first].sent_at < instant:
                count = stream.ring[stream.first].count
                self.drop_entry(stream)
                stream.waiting -= count
                self.waiting -= count
                self.errors["timeout"] += count
            return self.fill(stream, now, self.depth)
        return 0

    # -- time --------------------------------------------------------------------------------------------------------------

    cdef int wait(self, double now) except -1:
        """Serve sockets until something happens, the next tick at the longest, or the next request is due."""
        cdef double due_at
        cdef itimerspec when
        if self.paced and (self.limit < 0 or self.issued < self.limit) and self.backlog(now) <= 0:
            due_at = self.began_at + self.pace.due_at(self.issued)
            if due_at < self.tick_at and due_at != self.armed_at:
                memset(&when, 0, sizeof(when))
                when.it_value.tv_sec = <int64_t>due_at
                when.it_value.tv_nsec = <int64_t>((due_at - when.it_value.tv_sec) * 1e9)
                timerfd_settime(self.timer, TFD_TIMER_ABSTIME, &when, NULL)
                self.armed_at = due_at
        return self.serve(self.tick_at - now)

    cdef int serve(self, double wait_s) except -1:
        cdef epoll_event events[EVENTS]
        cdef int timeout = <int>ceil(fmax(0, wait_s) * 1000)
        cdef int count, number
        cdef Stream* stream
        with nogil:
            count = epoll_wait(self.epoll, events, EVENTS, timeout)
        if count < 0:
            PyErr_CheckSignals()
            return 0
        for number in range(count):
            if events[number].data.u64 == TIMER:
                # Setting it anew makes it silent.
                if self.armed_at <= clock():
                    self.disarm()
                continue
            stream = &self.streams[events[number].data.u64]
            if stream.state == CONNECTING:
                self.connected(stream, clock())
                continue
            if events[number].events & ~<uint32_t>EPOLLOUT:
                self.receive(stream)
            if stream.state == OPEN and events[number].events & EPOLLOUT:
                self.flush(stream, clock())
        return 0

    cdef void disarm(self) noexcept:
        cdef itimerspec never
        memset(&never, 0, sizeof(never))
        timerfd_settime(self.timer, 0, &never, NULL)
        self.armed_at = 0

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
                self.open(number, now)
        if now - self.connected_at > self.timeout_s:
            self.leave(now)  # nobody is there any more, which the errors say
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


cdef str name_of(int number):
    return _errno.errorcode.get(number, str(number))
