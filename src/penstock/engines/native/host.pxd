from .drivers.contexts cimport Contexts
from .framing.choice cimport Framing, Input
from .polling.poller cimport Poller

from ...core.compiled_law.durations cimport Durations
from ...core.compiled_law.levels cimport Levels


cdef class Host:
    cdef Poller poller
    cdef object loop
    cdef object clock  # None: the poller's own
    cdef object emit
    cdef public object tally  # as of the plan
    cdef object gate
    cdef object server
    cdef object idle
    cdef object budget
    cdef object turn
    cdef Contexts contexts  # that handlers are called in
    cdef Durations durations
    cdef object codec
    cdef object function  # called for each message; None: it is no function that is
    cdef bint takes_connection  # it does
    cdef object name  # of its service, and so of its connections' tasks
    cdef Framing framing  # of the codec; None when it is not compiled
    cdef Input input  # what was just read, while it is handled: of one connection at a time
    cdef Levels levels
    cdef int batch_messages
    cdef double row_until  # when the messages that are handled in a row will have taken too long; 0 at their beginning
    cdef bint row_is_over  # they have
    cdef dict handshakes  # of the connections that are in one
    cdef dict upgrades  # what makes the layers of connections on which TLS is to begin; None while it shakes hands
    cdef public object secure  # makes that of what a handler says; None: it cannot begin
    cdef readonly list connections  # each knows its place in it
    # Of connections that have ended.
    cdef readonly long long messages_in
    cdef readonly long long messages_out
    cdef public object keeper  # of handlers that outlive their connections; None: a client has none
    cdef public bint cancels_on_close  # its handlers, when their connections have ended
    cdef public bint hands_over  # its conversations, from their checkpoints
    cdef public bint closes_at_eof  # conversations that wait for something else than their peer
    cdef public bint threaded  # its handlers cannot be cancelled
    cdef bint skips_bad  # messages that cannot be decoded are passed over, where their ends are known
    cdef object on_bad_message  # called for each of them, if it is a function's
    cdef bint callbacks_answer  # it is the connection's `Handler` that is called
    cdef public bint ending  # no connection is accepted any more

    cdef double time(self) except -1
    cdef bint row_is_long(self) noexcept
    cdef int left(self) except -1
    cdef int told(self, object event) except -1
    cdef bint only_counts(self, object kind) except -1
    cdef int counted(self, object kind, int count) except -1
    cdef void blame(self, object error) noexcept
