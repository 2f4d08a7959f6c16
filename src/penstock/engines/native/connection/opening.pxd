from ..host cimport Host
from .teardown cimport TeardownTransport


cdef class OpeningConnection(TeardownTransport):

    # What a subclass does.
    cdef int start(self) except -1
    cdef int interrupt(self) except -1
    cdef int leave(self, object reason) except -1
    cdef void reset_on_close(self) noexcept
    cdef int read_again(self) except -1

    cdef int settle_in(self, Host host, object local, object handler) except -1
    cdef int take_up(self) except -1
    cdef int adopted(self) except -1
    cdef int begin_layer(self, object maker) except -1
    cdef int begin_tls_if_due(self) except -1
    cdef int begin_tls(self) except -1
    cdef int cannot_go_on(self, object error) except -1
    cdef int tls_is_settled(self) except -1
    cdef int turn_away(self, object refusal) except -1
    cdef bint has_link(self) except -1
