cimport cython

from .levels cimport Levels
from .output cimport Output

cdef int _MAY_GO_ON, _GO_ON


cdef class Law(Output):
    cdef public double _full_at
    cdef public unsigned char _rate_held

    @cython.locals(ahead_s=double, free=double, levels=Levels)
    cpdef int _allows(self, int most, double now) except? -2
    cpdef void _spends(self, int count, double now) noexcept
    @cython.locals(at=double)
    cpdef double _due_at(self, Py_ssize_t partial_bytes) except? -1
    cpdef int _due(self, double now, Py_ssize_t partial_bytes) except -1
    cpdef int _expires(self, int which, bint has_progressed) except -1
