from ..framing.frames cimport Framing
from .awaited cimport AwaitedConnection
from .step cimport Step


cdef class Receive(Step):
    cdef AwaitedConnection conn
    cdef object limit  # None, seconds, or a `Deadline` once it is waited for

    cdef object find(self, bint looked)
    cdef int cannot_decode(self) except -1
    cdef object wait(self, bint held)
    cdef object end(self)
    cdef object cut(self)
    cdef object last(self)
    cdef bint ends_turn(self) noexcept


cdef class ReceiveOctets(Receive):
    cdef Framing by  # None: `size` bytes are taken, which need no framing of their own where the connection's is compiled
    cdef Py_ssize_t size

    cdef Framing cutter(self)


cdef class Send(Step):
    cdef AwaitedConnection conn
    cdef object message

    cdef int put(self, AwaitedConnection conn, object message) except -1


cdef class SendRaw(Send):
    pass


cdef Receive receive_from(AwaitedConnection conn, object limit, bint iterates)
cdef ReceiveOctets receive_by(AwaitedConnection conn, Framing by, Py_ssize_t size, object limit)
cdef Send send_to(AwaitedConnection conn, object message)
cdef Send send_raw_to(AwaitedConnection conn, object data)
