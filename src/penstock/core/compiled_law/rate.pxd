cimport cython

from .durations cimport Durations
from .levels cimport Levels
from .output cimport Output
from .rare cimport Rare

cdef double _INFINITY
cdef int _MAY_GO_ON, _GO_ON


cdef class Law(Output):
    cpdef void _begin_law(self, Levels levels, Durations durations, double now) noexcept
    @cython.locals(ahead_s=double, free=double, levels=Levels, rare=Rare)
    cpdef int _allows(self, int most, double now) except? -2
    @cython.locals(rare=Rare)
    cpdef int _spends(self, int count, double now) except -1
    cpdef bint _rate_held(self) noexcept
    cpdef double _token_at(self) noexcept
    @cython.locals(at=double, token_at=double)
    cpdef double _due_at(self, Py_ssize_t partial_bytes) except? -1
    cpdef int _due(self, double now, Py_ssize_t partial_bytes) except -1
    cpdef int _expires(self, int which, bint has_progressed) except -1
