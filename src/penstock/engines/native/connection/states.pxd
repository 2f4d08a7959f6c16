from .sockname cimport Sockname
from .received cimport ReceivingTransport
from .transport cimport flag

cdef class StatefulTransport(ReceivingTransport):
    cdef flag _gone
    cdef flag begun  # its handler was told of it
    cdef flag drains
    cdef flag corking
    cdef flag held
    cdef flag teardown  # how far its end has been carried out
    cdef flag teardown_soon
    cdef flag orphaned  # its handler outlives it, and its place is another's
    cdef unsigned int place  # in the host's list
    cdef Sockname sockname
    # Those of a `PushConnection`, here because four bytes were free.
    cdef flag interrupted  # the batch at hand ends with the message at hand
    cdef flag continuing  # the rest of the input waits for its turn
    cdef flag ending  # the peer's EOF waits for the input before it
    cdef object sockname_rest
    cdef readonly long long id
    cdef readonly object local
    cdef readonly long long bytes_in
    cdef readonly long long messages_in
    cdef readonly long long messages_out

    cdef object why_not(self)
    cdef int enter_handshake(self, int whose) except -1
    cdef int leave_handshake(self, int whose) except -1
    cdef void handshake_is_over(self) noexcept
