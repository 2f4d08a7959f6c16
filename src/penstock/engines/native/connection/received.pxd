from .deadlines cimport DeadlinedTransport
from ..framing.choice cimport Framing, Input
from ..framing.uncompiled cimport CodecInput


cdef class ReceivingTransport(DeadlinedTransport):
    cdef Framing framing  # None: `uncompiled` cuts
    cdef CodecInput uncompiled
    cdef Input* input  # nothing while there is none; else the host's, while what was just read is handled, or its own

    cdef int take_in(self, const char* data, Py_ssize_t size) except -1
    cdef int keep_rest(self) except -1
    cdef int own_input(self) except -1
    cdef Py_ssize_t waiting_bytes(self) except -1
    cdef Py_ssize_t partial_bytes(self) except -2
    cdef bytes first_bytes(self)
    cdef bint unhandled(self) except -1
    cdef bint holds_message(self) except -1
    cdef object finish_rest(self, object codec)
    cdef object next_message(self, Py_ssize_t limit)
    cdef object next_by(self, Framing by)
    cdef object next_bytes(self, Py_ssize_t size)
    cdef int take_back(self) except -1
    cdef bint settles(self) except -1
    cdef bint compiles(self) except -1
    cdef int compile(self, Framing framing) except -1
    cdef int hold_rest(self, bytes rest) except -1
    cdef int watch_input(self) except -1
    cdef int watch_rest(self) except -1
    cdef int hear(self) except -1
    cdef bint ends_by_silence(self) except -1
    cdef int switch(self, object codec) except -1
    cdef int uncompile(self, object codec) except -1
    cdef bint takes_replies(self) except -1
    cdef int refuse_owed_replies(self) except -1
    cdef int end_requests(self, str why) except -1
    cdef int part_with_input(self) except -1
    cdef int forget_input(self) except -1
    cdef void drop_input(self) noexcept
    cdef void disown_input(self) noexcept
