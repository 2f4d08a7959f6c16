from .awaited cimport AwaitedConnection
from .exchange cimport Receive


cdef class ProtocolFeed(Receive):
    cdef public object protocol  # None: what comes is returned to the task that receives
    cdef object transport
    cdef object failure  # what the protocol raised, for the task


cdef bint written(AwaitedConnection conn, object data) except -1
cdef bint pour(AwaitedConnection conn, const char* data, Py_ssize_t size) except -1
cdef ProtocolFeed feed_of(AwaitedConnection conn, object transport)
