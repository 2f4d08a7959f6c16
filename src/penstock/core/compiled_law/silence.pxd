cimport cython

cdef double _INFINITY, _HELD_UP_S
cdef Py_ssize_t _UNKNOWN


cdef class Silence:
    cdef readonly double quiet_s
    cdef public double due_at
    cdef public double left_s
    cdef public Py_ssize_t heard_bytes
    cdef public unsigned char stands_still
    cdef public unsigned char was_held_up

    cpdef double hears(self, double now, Py_ssize_t partial_bytes) noexcept
    cpdef void takes(self) noexcept
    cpdef double leaves(self, double now, Py_ssize_t partial_bytes) noexcept
    cpdef void stops(self, double now) noexcept
    cpdef double goes_on(self, double now) noexcept
    @cython.locals(held_up_s=double)
    cpdef bint is_put_off(self, double now) noexcept
    cpdef void ends(self) noexcept
