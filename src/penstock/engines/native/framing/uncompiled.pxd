from .frames cimport Framing


cdef class CodecInput:
    cdef object inbound
    cdef object own  # the connection's codec, by whatever the next message is cut
    cdef list batch  # what was cut and not handed out, from `at` on
    cdef Py_ssize_t at
    cdef bint silence_counted  # while another codec cuts: whether silence ended messages before
    cdef Framing compiled  # what is to cut once little waits; None where nothing is
    cdef bint may_settle  # it frames by silence; once its peer ends its messages itself, a compiled framing may cut them

    cdef int feed(self, bytes data) except -1
    cdef object next_message(self, Py_ssize_t limit)
    cdef bint holds_message(self) except -1
    cdef Py_ssize_t pending_bytes(self) except -1
    cdef bint unhandled(self) except -1
    cdef int switch_to(self, object codec) except -1
    cdef int lend(self, object cutter) except -1
    cdef bint take_back(self) except -1
    cdef int cut_by(self, object codec, bint silence_counts) except -1
