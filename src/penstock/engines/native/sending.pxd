from .states cimport StatefulTransport


cdef class SendingTransport(StatefulTransport):
    cdef object backlog  # what was posted over the high watermark, where not all that is owed has to leave
    cdef Py_ssize_t owed_bytes  # while the kernel does not take output at once, as the budget has it too
    cdef long long stalled_bytes  # what the kernel had taken when the peer's patience for reading began to count

    # What a subclass does.
    cdef int output_resumed(self) except -1
    cdef int flushed(self) except -1
    cdef int lose(self, object reason) except -1

    cdef int put_reply(self, object message) except -1
    cdef int put_message(self, object message) except -1
    cdef int put_whole(self, bytes frame) except -1
    cdef int put(self, bytes data) except -1
    cdef int sent(self, Py_ssize_t size) except -1
    cdef int uncork(self) except -1
    cdef int charge(self, Py_ssize_t size) except -1
    cdef Py_ssize_t all_owed(self) except -1
    cdef Py_ssize_t most_owed(self) except -1
    cdef Py_ssize_t high(self) except -1
    cdef int post_behind(self, bytes data) except -1
    cdef int post_late(self, bytes data) except -1
    cdef int refill(self, Py_ssize_t high) except -1
    cdef int owe(self, Py_ssize_t size) except -1
    cdef int stop_writing(self) except -1
    cdef int stall_began(self) except -1
    cdef bint has_progressed(self) noexcept
