cimport cython
from libc.stdint cimport int64_t

@cython.final
cdef class Pace:
    cdef double first, last, ramp_s, growth
    cdef int64_t stride, offset

    cpdef int64_t due(self, double seconds) noexcept
    cpdef double due_at(self, int64_t number) noexcept
