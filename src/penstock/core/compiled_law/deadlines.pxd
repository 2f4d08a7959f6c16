cimport cython

from .closing cimport Closing
from .rare cimport Rare

cdef int _CLOSED, _LINGERING
cdef int _NOT_DUE, _SILENCE, _FIRST_MESSAGE, _IDLE, _MESSAGE, _HANDSHAKE, _WRITE, _LINGER, _LIFETIME, _OVERTIME
cdef int _PEER, _HANDLER, _MESSAGE_AT_WORK
cdef int _OWN, _OF_LAYER, _ANY
cdef object _TOO_OLD, _IDLED
cdef int _CUT, _RESET, _RESTART, _TELL, _TAKE_REST
cdef double _INFINITY


cdef class Durations:
    cdef readonly object timeouts
    cdef readonly double handshake_s
    cdef readonly double first_s
    cdef readonly double idle_s
    cdef readonly bint only_received_counts
    cdef readonly double message_s
    cdef readonly double write_s
    cdef readonly double linger_s
    cdef readonly double lifetime_s
    cdef readonly double finish_s
    cdef readonly long long message_bytes_per_s


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
    cpdef double _silent_at(self) noexcept
    @cython.locals(rare=Rare)
    cpdef int _begins_handshake(self, double now, int whose) except -1
    cpdef bint _in_handshake(self) noexcept
    cpdef bint _ends_handshake(self, int whose) except -1
    cpdef Rare _of_few(self)
