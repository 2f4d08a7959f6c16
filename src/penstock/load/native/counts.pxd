cimport cython
from libc.stdint cimport int64_t, uint64_t

@cython.final
cdef class Counts:
    cdef object histogram
    cdef Py_buffer view
    cdef uint64_t* buckets
    cdef int64_t count
    cdef double total_s, max_s

    cpdef void record(self, double seconds, int64_t count) noexcept
    cpdef void tell(self)
    cpdef void forget(self) noexcept
