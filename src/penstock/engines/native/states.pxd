from .origin cimport Origin
from .received cimport ReceivingTransport
from .transport cimport flag

cdef enum:
    # In the order of core.states.State.
    OPEN
    PEER_EOF
    LOCAL_EOF
    BOTH_EOF
    CLOSING
    FLUSHING
    LINGERING
    CLOSED

cdef enum:
    # In the order of core.states.Happening.
    HAPPENED_PEER_EOF
    HAPPENED_SEND_EOF
    HAPPENED_CLOSE
    HAPPENED_FLUSHED
    HAPPENED_LOST


cdef class StatefulTransport(ReceivingTransport):
    cdef object leave_reason
    cdef flag condition  # its State
    cdef flag attached  # to a socket
    cdef flag begun  # its handler was told of it
    cdef flag gone
    cdef flag drains
    cdef flag handling
    cdef flag corking
    cdef flag held
    cdef flag shaking_hands  # it is one of the host's `handshakes`
    cdef flag parting  # how far its end has been carried out
    cdef flag parting_soon
    cdef unsigned int place  # in the host's list
    cdef Origin origin
    cdef object origin_rest
    cdef readonly long long id
    cdef readonly object local
    cdef public object close_reason
    cdef readonly long long bytes_in
    cdef readonly long long bytes_out
    cdef readonly long long messages_in
    cdef readonly long long messages_out

    cdef inline bint can_send(self) noexcept:
        return (self.condition == OPEN or self.condition == PEER_EOF) and not self.lost

    cdef inline bint can_receive(self) noexcept:
        return self.condition == OPEN or self.condition == LOCAL_EOF

    cdef inline bint leaving(self) noexcept:
        return self.condition >= CLOSING

    cdef int happen(self, int happening) except -1
    cdef object why_not(self)
    cdef int leave_handshake(self) except -1
    cdef void handshake_is_over(self) noexcept
