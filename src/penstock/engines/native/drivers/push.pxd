from ..host cimport Host
from .moving cimport MovingConnection


cdef class PushConnection(MovingConnection):
    cdef object first_handler  # where it has another one, and might move else

    cdef int call(self, object callback, tuple arguments) except -1
    cdef int handle(self, int budget) except -1
    cdef int handle_one(self, object message) except -1
    cdef int process(self) except -1
    cdef int allowed(self, int most) except -1
    cdef int refuse_next(self) except -1
    cdef bint held_up(self) noexcept
    cdef int settle(self) except -1
    cdef int finish_input(self) except -1
    cdef int go_on_later(self) except -1
    cdef int answer_last(self, object message) except -1
