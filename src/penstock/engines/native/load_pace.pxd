from libc.stdint cimport int64_t

cdef class Pace:
    cdef double first, last, ramp_s, growth
    cdef int64_t stride, offset

    cdef int64_t due(self, double seconds) noexcept
    cdef double due_at(self, int64_t number) noexcept
