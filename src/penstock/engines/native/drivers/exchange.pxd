from .awaited cimport AwaitedConnection
from .step cimport Step


cdef class Receive(Step):
    cdef AwaitedConnection conn
    cdef object limit  # None, seconds, or a `Deadline` once it is waited for

    cdef object wait(self, bint held)
    cdef object end(self)
    cdef bint ends_turn(self) noexcept


cdef class Send(Step):
    cdef AwaitedConnection conn
    cdef object message


cdef Receive receive_from(AwaitedConnection conn, object limit, bint iterates)
cdef Send send_to(AwaitedConnection conn, object message)
