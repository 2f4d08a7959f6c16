from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from ..connection.transport cimport Transport

cdef enum:
    # As codecs.base.HIGHEST_MAX_DEPTH.
    MAX_DEPTH = 512

cdef struct Progress:
    # How far the end of a frame of nested elements was looked for. Places are counted from the frame's first byte.
    Py_ssize_t at  # where the next element begins
    Py_ssize_t search  # where the search for the end of its line goes on
    Py_ssize_t wanted  # so many bytes have to be there before another look is worth it
    int64_t owed  # elements to come
    int depth  # containers that are open
    int64_t open[MAX_DEPTH]  # elements to come in each of them, the outermost first; below zero in a map of MessagePack

cdef struct Input:
    # What no message has taken yet is from `at` to `end`: in a block of its own, or, while what was just read is being handled,
    # in the shared receive buffer.
    char* block
    Py_ssize_t size
    char* at
    char* end
    Py_ssize_t searched  # so many of the bytes after `at` are known not to hold the frame's end
    Progress* progress  # of the frame at the front, without the unused end of `open`; nothing unless `searched` is above 0

cdef int feed(Input* input, const char* data, Py_ssize_t size) except -1
cdef int keep(Input* input) except -1
cdef void clear(Input* input) noexcept
cdef void take(Input* input, Py_ssize_t size) noexcept
cdef object handed_over(Input* input, char* start, Py_ssize_t size, object message)
cdef void resume(Input* input, Progress* progress) noexcept
cdef int pause(Input* input, Progress* progress) except -1

cdef object NEED_DATA


cdef class Framing:
    cdef object codec
    cdef Py_ssize_t limit

    cdef object cut(self, Input* input)
    cdef bint put(self, Transport to, object message) except -1
    cdef object decode(self, Input* input)


cdef inline char* claim(Transport to, Py_ssize_t size) except? NULL:
    """Return where so many bytes are to be written, as `Transport.gather` would; NULL when nothing more will be sent.

    From here on they count as gathered.
    """
    cdef char* place
    if to.lost or to.eof_due or to.shutting:
        return NULL
    if to.out == NULL or to.out.size - to.out.end < size:
        to.reserve(size)
    place = <char*>(to.out + 1) + to.out.end
    to.out.end += size
    to.out.corked += size
    return place


cdef inline bint put_framed(
    Transport to, const char* head, Py_ssize_t head_size, bytes body, const char* tail, Py_ssize_t tail_size
) except -1:
    """Put the three behind the output that is being gathered: all of them, or on MemoryError none. Return True."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef char* place = claim(to, head_size + size + tail_size)
    if place != NULL:
        memcpy(place, head, head_size)
        memcpy(place + head_size, PyBytes_AS_STRING(body), size)
        memcpy(place + head_size + size, tail, tail_size)
    return True


cdef Py_ssize_t write_decimal(char* to, int64_t value) noexcept
