from .poller cimport Poller


cdef class NativeSelector(Poller):
    cdef dict keys
    cdef object ready  # the loop's deque of callbacks, if it has one that we know

    cpdef bind(self, loop)
    cdef bint loop_waits(self, object first) except -1
    cdef object first_timer(self)
