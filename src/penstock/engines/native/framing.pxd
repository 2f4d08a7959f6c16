from .transport cimport Transport

cdef struct Input:
    # What no message has taken yet is from `at` to `end`: in a block of its own, or, while what was just read is being handled,
    # in the shared receive buffer.
    char* block
    Py_ssize_t size
    char* at
    char* end
    Py_ssize_t searched  # so many of the bytes after `at` are known not to hold the frame's end

cdef int feed(Input* input, const char* data, Py_ssize_t size) except -1
cdef int keep(Input* input) except -1
cdef void clear(Input* input) noexcept


cdef class Framing:
    cdef object codec
    cdef Py_ssize_t limit

    cdef object cut(self, Input* input)
    cdef bint put(self, Transport to, object message) except -1
    cdef object decode(self, Input* input)


cdef Framing framing_of(object codec)
cdef object NEED_DATA
