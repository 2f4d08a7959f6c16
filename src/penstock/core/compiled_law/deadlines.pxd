cimport cython

from .closing cimport Closing
from .durations cimport Durations
from .rare cimport Rare

cdef int _CLOSED, _LINGERING
cdef int _NOT_DUE, _SILENCE, _FIRST_MESSAGE, _IDLE, _MESSAGE, _HANDSHAKE, _WRITE, _LINGER, _LIFETIME, _OVERTIME
cdef int _PEER
cdef int _OWN, _OF_LAYER, _ANY
cdef object _TOO_OLD, _IDLED
cdef int _CUT, _RESET, _RESTART, _TELL, _TAKE_REST
cdef double _INFINITY


cdef class Deadlines(Closing):
    cdef public Durations _durations
    cdef public double _opened_at
    cdef public double _first_since
    cdef public double _idle_since
    cdef public double _partial_since
    cdef public double _stalled_since
    cdef public Rare _rare

    cpdef void _begin_deadlines(self, Durations durations, double now) noexcept
    @cython.locals(earliest=double, then=double, durations=Durations)
    cpdef double _due_at(self, Py_ssize_t partial_bytes) except? -1
    @cython.locals(durations=Durations)
    cpdef double _overtime_at(self) noexcept
    @cython.locals(due_at=double, durations=Durations)
    cpdef double _message_due_at(self, Py_ssize_t partial_bytes) noexcept
    @cython.locals(at=double, durations=Durations)
    cpdef int _due(self, double now, Py_ssize_t partial_bytes) except -1
    cpdef int _expires(self, int which, bint has_progressed) except -1
    cpdef int _refuses(self, object reason, double now) except -1
    cpdef bint _has_refused(self) noexcept
    @cython.locals(rare=Rare)
    cpdef int _begins_task(self) except -1
    @cython.locals(rare=Rare)
    cpdef bint _ends_task(self) except -1
    cpdef bint _waits_for_tasks(self) except -1
    cpdef int _closes_because(self, str detail) except -1
    cpdef str _detail(self)
    cpdef int _sent_all_at(self, double now) except -1
    cpdef double _silent_at(self) noexcept
    @cython.locals(rare=Rare)
    cpdef int _begins_handshake(self, double now, int whose) except -1
    cpdef bint _in_handshake(self) noexcept
    cpdef bint _ends_handshake(self, int whose) except -1
    cpdef Rare _of_few(self)
