from .sending cimport SendingTransport


cdef class TeardownTransport(SendingTransport):
    cdef int ended(self) except -1  # a subclass's
    cdef int take_place(self) except -1
    cdef int leave_place(self) except -1
    cdef int part(self) except -1
    cdef int outlive(self) except -1
    cdef void part_soon(self) noexcept
    cdef int released(self) except -1
