"""The connections of a compiled load: one epoll set, requests out of one block, replies through one buffer."""

import errno as _errno
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.math cimport ceil, fmax
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy
from posix.unistd cimport close as close_fd

from ...engines.native.census cimport PENSTOCK_DEBUG, living
from .clock cimport Alarm, clock
from .replies cimport forget, replies_of
from .stream cimport CLOSED, CONNECTING, OPEN, Stream, free_stream
from ...engines.native.polling.poller cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, epoll_create1, epoll_ctl, epoll_event
)
from ...engines.native.system cimport epoll_wait
from ...engines.native.sealed cimport seal

from ...errors import ProtocolError

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
        SOL_SOCKET
        SO_ERROR
        SO_LINGER
        AF_UNIX
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    struct linger:
        int l_onoff
        int l_linger
    int setsockopt(int fd, int level, int name, const void* value, unsigned int size)
    int getsockname(int fd, sockaddr* name, unsigned int* size)
    int getpeername(int fd, sockaddr* name, unsigned int* size)

cdef extern from "<errno.h>":
    enum:
        ECONNREFUSED

cdef enum:
    READ_BYTES = 256 * 1024
    SEND_BYTES = 64 * 1024  # given to the system at once, if a request is not longer
    EVENTS = 256
    ALARM = 0xFFFFFFFF  # stands where the number of a connection does

cdef double RECONNECT_S = 0.1


cdef class Connections:
    """Sends requests that are due, and counts what ends a connection; a subclass says how many are due.

    Args:
        load: A `penstock.load.load.Load`.
        measured: A `penstock.load.measured.Measured`: its errors are counted here.
        dial: Makes a non-blocking socket that connects, or has connected. OSError: it cannot.

    Raises:
        OSError: The system has no descriptor left.
    """

    def __cinit__(self, load=None, measured=None, dial=None, *_, **__):
        cdef int64_t number, frames
        cdef epoll_event event
        self.epoll = -1  # first, and whatever the arguments are: `__dealloc__` closes it
        self.begun = True
        self.errors = measured.errors
        self.dial = dial
        self.records = load.is_records
        self.datagrams = load.is_datagrams
        self.frame = load.frame
        self.frame_size = PyBytes_GET_SIZE(self.frame)
        frames = 1 if self.records or self.frame_size == 0 else max(1, min(<int64_t>load.depth, SEND_BYTES // self.frame_size))
        self.block_size = frames * self.frame_size
        self.block = <char*>malloc(self.block_size + 1)
        self.buffer = <char*>malloc(READ_BYTES)
        self.streams = <Stream*>calloc(load.connections, sizeof(Stream))
        if PENSTOCK_DEBUG:
            living.blocks += (self.block != NULL) + (self.buffer != NULL) + (self.streams != NULL)
        if self.block == NULL or self.buffer == NULL or self.streams == NULL:
            raise MemoryError
        self.stream_count = load.connections
        for number in range(self.stream_count):
            self.streams[number].fd = -1
        for number in range(frames):
            memcpy(self.block + number * self.frame_size, PyBytes_AS_STRING(self.frame), self.frame_size)
        self.replies = replies_of(load)
        self.alarm = Alarm()
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        event.events = EPOLLIN
        event.data.u64 = ALARM
        if self.epoll < 0 or epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.alarm.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))

    def __dealloc__(self):
        cdef int64_t number
        for number in range(self.stream_count):
            if self.streams[number].fd >= 0:
                close_fd(self.streams[number].fd)
            free_stream(&self.streams[number])
        if PENSTOCK_DEBUG:
            living.blocks -= (self.block != NULL) + (self.buffer != NULL) + (self.streams != NULL)
        free(self.streams)
        free(self.block)
        free(self.buffer)
        if self.begun and self.epoll >= 0:  # else it is 0 of fresh memory, and somebody else's
            close_fd(self.epoll)

    # -- what a subclass does ----------------------------------------------------------------------------------------------

    cdef int fill(self, Stream* stream, double now) except -1:
        """There is room for a request: add to `unsent`, and flush."""
        return 0

    cdef int replied(self, Stream* stream, double now) except -1:
        """Replies were found: count them."""
        return 0

    # -- sockets -----------------------------------------------------------------------------------------------------------

    cdef int serve(self, double wait_s) except -1:
        """Wait until something can be done, or for so long; do it."""
        cdef epoll_event events[EVENTS]
        cdef int timeout = <int>ceil(fmax(0, wait_s) * 1000)
        cdef int count, number
        cdef Stream* stream
        with nogil:
            count = epoll_wait(self.epoll, events, EVENTS, timeout)
        if count < 0:
            if errno != EINTR:
                raise OSError(errno, os.strerror(errno))
            PyErr_CheckSignals()
            return 0
        for number in range(count):
            if events[number].data.u64 == ALARM:
                self.alarm.heard(clock())
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
            wrong = None
            try:
                self.replies.take(&stream.partial, self.buffer, size)
            except ProtocolError as error:
                wrong = f"protocol: {error}"
            self.replied(stream, now)
            if wrong is not None:
                return self.fail(stream, wrong, now)
            # Of records each is read by itself: no more than are waited for, for the last look finds nothing.
            if not self.records or stream.waiting == 0:
                break
        return self.fill(stream, now)

    cdef int open(self, Stream* stream, double now) except -1:
        """Begin to connect one that is closed."""
        cdef epoll_event event
        stream.retry_at = 0
        sock = failure = None
        try:
            sock = self.dial()
        except BlockingIOError:
            pass  # the backlog of a Unix socket is full: at the next tick
        except OSError as error:
            failure = f"connect: {_errno.errorcode.get(error.errno, type(error).__name__)}"
        if failure is not None:
            return self.fail(stream, failure, now)
        if sock is None:
            return 0
        stream.fd = sock.detach()
        stream.state = CONNECTING
        stream.since = now
        stream.mask = event.events = EPOLLOUT
        event.data.u64 = stream - self.streams
        if epoll_ctl(self.epoll, EPOLL_CTL_ADD, stream.fd, &event) < 0:
            return self.fail(stream, f"connect: {name_of(errno)}", now)
        return 0

    cdef int connected(self, Stream* stream, double now) except -1:
        cdef int error = 0
        cdef unsigned int size = sizeof(error)
        cdef linger never
        getsockopt(stream.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        if not error and is_connected_to_itself(stream.fd):
            error = ECONNREFUSED
            never.l_onoff, never.l_linger = 1, 0  # a reset: nothing is left in TIME_WAIT
            setsockopt(stream.fd, SOL_SOCKET, SO_LINGER, &never, sizeof(never))
        if error:
            return self.fail(stream, f"connect: {name_of(error)}", now)
        stream.state = OPEN
        stream.unsent = stream.sent = 0
        self.connected_at = now
        self.open_count += 1
        self.watch(stream, EPOLLIN)
        return self.fill(stream, now)

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

    cdef void close(self, Stream* stream) noexcept:
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


cdef bint is_connected_to_itself(int fd) noexcept:
    """As `penstock.engines.wire.is_connected_to_itself`."""
    cdef sockaddr_storage here, there
    cdef unsigned int here_size = sizeof(here), there_size = sizeof(there)
    if getsockname(fd, <sockaddr*>&here, &here_size) < 0 or getpeername(fd, <sockaddr*>&there, &there_size) < 0:
        return False
    return here.ss_family != AF_UNIX and here_size == there_size and memcmp(&here, &there, here_size) == 0


cdef str name_of(int number):
    return _errno.errorcode.get(number, str(number))


seal(globals())
