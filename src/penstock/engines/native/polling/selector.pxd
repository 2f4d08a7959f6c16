from .poller cimport Poller


cdef class NativeSelector(Poller):
    cdef dict keys
    cdef object ready  # the loop's deque of callbacks, if it has one that we know
    cdef bint tells  # the loop calls `stops`
    cdef bint stopping

    cpdef bind(self, loop, bint tells=*)
    cpdef stops(self)
    cpdef bint wake(self) except? True
    cdef int hang_bell(self) except -1
    cdef bint loop_waits(self, list scheduled, object first) except -1
