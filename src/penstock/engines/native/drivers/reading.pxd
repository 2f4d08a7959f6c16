from .awaited cimport AwaitedConnection
from .exchange cimport Receive


cdef class StreamFeed:
    cdef AwaitedConnection conn
    cdef object chunk  # bytes that were received and not read, from `at` on; None where there are none
    cdef Py_ssize_t at
    cdef Py_ssize_t limit  # of what ends with a separator
    cdef object make_reader  # what makes the reader for all that is rare
    cdef object reader  # it; None as long as nothing rare was asked for
    cdef object drain_rarely

    cdef object rare_reader(self)
    cdef bint is_rare(self) except -1
    cdef bytes take(self, Py_ssize_t size)


cdef class StreamSink:
    cdef StreamFeed feed
    cdef object transport


cdef class Streaming(Receive):
    cdef StreamFeed feed
    cdef object argument  # as the caller gave it
    cdef object coroutine  # of the rare reader's or writer's
    cdef Py_ssize_t wanted
    cdef unsigned char kind
    cdef unsigned char counted

    cdef bint serve(self) except -1
    cdef object over(self)
    cdef str another_waits(self)
    cdef object go_rarely(self)
    cdef object go_on(self)


cdef tuple STREAM_TYPES
cdef int feed_streams(
    AwaitedConnection conn, StreamFeed feed, StreamSink sink, Py_ssize_t limit, object make_reader, object transport, object drain
) except -1
