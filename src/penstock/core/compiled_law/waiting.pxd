cimport cython

from .deadlines cimport Deadlines
from .durations cimport Durations
from .rare cimport Rare

cdef int _PEER, _HANDLER, _MESSAGE_AT_WORK
cdef double _INFINITY


cdef class Waiting(Deadlines):
    cpdef void _starts(self, double now, bint expects_message) noexcept
    @cython.locals(earliest=double, then=double, durations=Durations)
    cpdef double _waits(self, double now, Py_ssize_t partial_bytes, bint is_first) except? -1
    cpdef void _is_kept(self, double now) noexcept
    cpdef void _works(self, double now) noexcept
    @cython.locals(rare=Rare, earliest=double)
    cpdef double _asks(self, double now, Py_ssize_t partial_bytes, bint is_first) except? -1
    cpdef double _lacks(self, double now, Py_ssize_t partial_bytes, Py_ssize_t came_bytes) noexcept
    @cython.locals(rare=Rare)
    cpdef void _asked(self, double now, bint receives) noexcept
    cpdef void _has_reply(self) noexcept
    cpdef void _has_message(self) noexcept
    cpdef void _has_finished(self) noexcept
    cpdef bint _has_unfinished(self) noexcept
    cpdef double _peer_ended(self, double now) noexcept
    cpdef double _leaves_rest(self, double now, Py_ssize_t partial_bytes) except? -1
    cpdef int _listens_for(self, object quiet_s) except -1
    cpdef double _hears(self, double now, Py_ssize_t partial_bytes) noexcept
    cpdef void _has_taken(self) noexcept
    cpdef double _leaves_behind(self, double now, Py_ssize_t partial_bytes) noexcept
    cpdef void _stops_listening(self, double now) noexcept
    cpdef double _listens_again(self, double now) noexcept
    cpdef bint _is_put_off(self, double now) noexcept
    cpdef void _falls_silent(self) noexcept
