from ..host cimport Host
from ..connection.transport cimport flag
from .moving cimport MovingConnection


cdef class PushConnection(MovingConnection):
    cdef object function  # called for each message
    cdef flag takes_connection
    cdef flag interrupted  # the batch at hand ends with the message at hand
    cdef flag continuing  # the rest of the input waits for its turn
    cdef flag ending  # the peer's EOF waits for the input before it

    cdef int set_callbacks(self, object callbacks) except -1
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
