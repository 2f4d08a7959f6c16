from ..host cimport Host
from .transport cimport Transport, flag


cdef class DeadlinedTransport(Transport):
    cdef Host host
    cdef object timer  # of a clock that is not the poller's

    # What a subclass knows.
    cdef Py_ssize_t pending_bytes(self) except -1
    cdef int happens_late(self, int which) except -1
    cdef bint is_woken(self) noexcept
    cdef bint asks_whether_idle_may_stay(self) except -1

    cdef double time(self) except -1
    cdef int arm(self, double when) except -1
    cdef int arm_next(self) except -1
    cdef void disarm(self) noexcept
    cdef int tick(self) except -1
    cdef int tick_told(self) except -1
    cdef bint is_within_handler(self) noexcept
    cdef int look(self) except -1
    cdef int decide(self) except -1
