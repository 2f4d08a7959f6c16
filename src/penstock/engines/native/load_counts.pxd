from libc.stdint cimport int64_t, uint64_t

cdef class Counts:
    cdef object histogram
    cdef Py_buffer view
    cdef uint64_t* buckets
    cdef int64_t count
    cdef double total_s, max_s

    cdef void record(self, double seconds, int64_t count) noexcept nogil
    cdef void tell(self)
    cdef void forget(self) noexcept
