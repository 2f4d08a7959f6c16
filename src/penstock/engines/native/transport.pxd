from libc.stdint cimport uint32_t

from .poller cimport Pollable

ctypedef unsigned char flag

cdef enum:
    # What is deferred: bits of Pollable.todo.
    REPORT_LOST = 1
    CONTINUE = 2


cdef class Transport(Pollable):
    cdef flag reading  # the connection wants to be read
    cdef flag read_over  # the peer's EOF was read
    cdef flag sending  # output waits for the kernel: EPOLLOUT is armed
    cdef flag eof_due  # our direction ends after what is queued
    cdef flag shutting  # closed once what is queued was sent
    cdef flag lost  # nothing more will be sent or received; `connection_lost` was or will be called
    cdef flag over_high  # `pause_writing` was called last
    cdef Py_ssize_t high
    cdef Py_ssize_t low
    cdef int read_size
    # Output in one block, first byte to send at `out_at`. An idle connection has none.
    cdef char* out
    cdef Py_ssize_t out_size
    cdef Py_ssize_t out_at
    cdef Py_ssize_t out_end
    cdef Py_ssize_t corked_bytes  # of it, the last so many are still being gathered
    cdef object lost_error

    # What the connection is told.
    cdef int data_received(self, const char* data, Py_ssize_t size) except -1
    cdef int eof_received(self) except -1
    cdef int connection_lost(self, object error) except -1
    cdef int pause_writing(self) except -1
    cdef int resume_writing(self) except -1

    # What the connection does.
    cdef int open(self, int fd) except -1
    cpdef int pause_reading(self) except -1
    cpdef int resume_reading(self) except -1
    cdef int gather(self, const char* data, Py_ssize_t size) except -1
    cdef int transmit(self) except -1
    cdef int transmit_object(self, bytes data) except -1
    cdef int set_watermarks(self, Py_ssize_t high, Py_ssize_t low) except -1
    cdef Py_ssize_t owed(self) noexcept
    cdef int end_output(self) except -1
    cdef int shut(self) except -1
    cdef int break_down(self, object error) except -1

    cdef int watch_wanted(self) except -1
    cdef int readable(self) except -1
    cdef int writable(self) except -1
    cdef int all_sent(self) except -1
    cdef int watch_high(self) except -1
    cdef void drop_output(self) noexcept
    cdef int reserve(self, Py_ssize_t size) except -1
    cdef int finish(self, object error) except -1
    cdef int close_descriptor(self) except -1
