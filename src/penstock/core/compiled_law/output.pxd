cimport cython

from .levels cimport Levels
from .rare cimport Rare
from .waiting cimport Waiting

cdef double _INFINITY
cdef int _PAUSE, _RESUME, _REFILL, _ALL_SENT


cdef class Output(Waiting):
    cdef public long long bytes_out
    cdef public Levels _levels

    cpdef void _begin_output(self, Levels levels) noexcept
    cpdef Py_ssize_t _high(self, Py_ssize_t room_bytes) noexcept
    cpdef Py_ssize_t _low(self, Py_ssize_t room_bytes) noexcept
    cpdef int _queued(self, Py_ssize_t queued_bytes, Py_ssize_t room_bytes, double now) except -1
    cpdef int _pauses(self, Py_ssize_t queued_bytes, double now) except -1
    cpdef int _sank(self, Py_ssize_t queued_bytes, Py_ssize_t enough_bytes, double now) except -1
    cpdef int _refilled(self, Py_ssize_t queued_bytes, Py_ssize_t room_bytes, double now) except -1
    cpdef int _resumes(self) except -1
    cpdef double _stalls(self, Py_ssize_t queued_bytes, double now) except? -1
    cpdef bint _has_progressed(self, Py_ssize_t queued_bytes) noexcept
    cpdef object _queue_if_any(self)
    @cython.locals(rare=Rare)
    cpdef object _queue(self)
    cpdef Py_ssize_t _owed_bytes(self) noexcept
    cpdef int _owes(self, Py_ssize_t size) except -1
    @cython.locals(posted_bytes=Py_ssize_t)
    cpdef bint _is_too_much(self, Py_ssize_t owed_bytes, Py_ssize_t room_bytes) except -1
    cpdef Py_ssize_t _excess_bytes(self, Py_ssize_t owed_bytes, Py_ssize_t room_bytes) noexcept
    @cython.locals(high=Py_ssize_t)
    cpdef bint _crowds(self, Py_ssize_t size, Py_ssize_t queued_bytes, Py_ssize_t room_bytes) noexcept
    cpdef void _forgets_output(self) noexcept
