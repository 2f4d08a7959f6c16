from .awaited cimport AwaitedConnection
from .step cimport Step


cdef class Receive(Step):
    cdef AwaitedConnection conn
    cdef object timeout_s
    cdef object limit  # of `timeout_s`, once it is waited for
    cdef bint iterates
    cdef int turns

    cdef object wait(self, bint held)
    cdef bint ends_turn(self) noexcept


cdef class Send(Step):
    cdef AwaitedConnection conn
    cdef object message


cdef Receive receive_from(AwaitedConnection conn, object timeout_s, bint iterates)
cdef Send send_to(AwaitedConnection conn, object message)
