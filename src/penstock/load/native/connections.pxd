from libc.stdint cimport int64_t, uint32_t

from .clock cimport Alarm
from .replies cimport Replies
from .stream cimport Stream

cdef class Connections:
    cdef object dial, errors
    cdef bint records, datagrams
    cdef bytes frame
    cdef Py_ssize_t frame_size, block_size
    cdef char* block  # the frame, over and over
    cdef char* buffer
    cdef int epoll
    cdef bint begun  # `epoll` is one, or -1
    cdef Alarm alarm
    cdef Replies replies
    cdef Stream* streams
    cdef int64_t stream_count, open_count
    cdef int64_t waiting  # requests on their way
    cdef int64_t bytes_in, bytes_out
    cdef double connected_at  # when there was a connection last

    cdef int fill(self, Stream* stream, double now) except -1
    cdef int replied(self, Stream* stream, double now) except -1
    cdef int serve(self, double wait_s) except -1
    cdef int open(self, Stream* stream, double now) except -1
    cdef int connected(self, Stream* stream, double now) except -1
    cdef int receive(self, Stream* stream) except -1
    cdef int flush(self, Stream* stream, double now) except -1
    cdef int watch(self, Stream* stream, uint32_t mask) except -1
    cdef int fail(self, Stream* stream, object kind, double now) except -1
    cdef void close(self, Stream* stream) noexcept
