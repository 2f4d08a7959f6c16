cdef class CodecInput:
    cdef object inbound
    cdef list batch  # what was cut and not handed out, from `at` on
    cdef Py_ssize_t at

    cdef object codec(self)
    cdef int feed(self, bytes data) except -1
    cdef object next_message(self, Py_ssize_t limit)
    cdef bint holds_message(self) except -1
    cdef Py_ssize_t pending_bytes(self) except -1
    cdef bint unhandled(self) except -1
    cdef bytes rest_for(self, object codec)
