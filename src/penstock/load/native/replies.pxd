from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from ...engines.native.framing.frames cimport Framing, Input

cdef struct Partial:
    # The reply that has come in part on one connection.
    Input input
    PyObject* inbound  # owned: where the codec has no compiled framing
    Py_ssize_t have  # bytes, where replies have no bounds
    bint wrong  # and whether one of them is not what was sent

cdef void forget(Partial* partial) noexcept


cdef class Replies:
    cdef object codec, message
    cdef bint expect_echo
    cdef bytes known
    cdef bint known_wrong
    cdef int64_t found, wrong

    cdef int take(self, Partial* partial, char* data, Py_ssize_t size) except -1
    cdef int64_t same(self, const char* data, Py_ssize_t size) noexcept
    cdef int learn(self, bytes frame, object message) except -1


cdef Replies replies_of(object load)
