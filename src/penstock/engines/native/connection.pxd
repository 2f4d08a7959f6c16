from .framing cimport Framing
from .host cimport Host
from .origin cimport Origin
from .received cimport ReceivingTransport
from .transport cimport flag
from .uncompiled cimport CodecInput

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


cdef class Connection(ReceivingTransport):
    cdef object backlog  # what was posted over the high watermark, where not all that is owed has to leave
    cdef Py_ssize_t owed_bytes  # while output is over the high watermark, as the budget has it too
    cdef long long stalled_bytes  # what the kernel had taken when the peer's patience for reading began to count
    cdef object leave_reason
    cdef flag condition  # its State
    cdef flag attached
    cdef flag begun
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
    cdef public object state
    cdef public object close_reason
    cdef readonly long long bytes_in
    cdef readonly long long bytes_out

    # What a subclass does.
    cdef int start(self) except -1
    cdef int received(self) except -1
    cdef int input_ended(self) except -1
    cdef int timed_out(self, object which) except -1
    cdef int ended(self) except -1
    cdef int output_resumed(self) except -1
    cdef int interrupt(self) except -1

    cdef int settle_in(self, Host host, object local, object handler) except -1
    cdef int take_place(self) except -1
    cdef int leave_place(self) except -1
    cdef int take_up(self) except -1
    cdef int adopted(self) except -1
    cdef inline bint can_send(self) noexcept:
        return self.condition == OPEN or self.condition == PEER_EOF

    cdef inline bint can_receive(self) noexcept:
        return self.condition == OPEN or self.condition == LOCAL_EOF

    cdef inline bint leaving(self) noexcept:
        return self.condition >= CLOSING

    cdef int happen(self, int happening) except -1
    cdef int put_reply(self, object message) except -1
    cdef int put_message(self, object message) except -1
    cdef int put(self, bytes data) except -1
    cdef int sent(self, Py_ssize_t size) except -1
    cdef int uncork(self) except -1
    cdef int charge(self, Py_ssize_t size) except -1
    cdef Py_ssize_t all_owed(self) except -1
    cdef Py_ssize_t most_owed(self) except -1
    cdef int post_late(self, bytes data) except -1
    cdef int refill(self, Py_ssize_t high) except -1
    cdef int owe(self, Py_ssize_t size) except -1
    cdef object why_not(self)
    cdef int leave(self, object reason) except -1
    cdef int flushed(self) except -1
    cdef int lose(self, object reason) except -1
    cdef int break_off(self, object error) except -1
    cdef int handler_failed(self, object error) except -1
    cdef int expire(self, int which) except -1
    cdef int part(self) except -1
    cdef void part_soon(self) noexcept
    cdef int released(self) except -1
    cdef int leave_handshake(self) except -1
    cdef void handshake_is_over(self) noexcept
    cdef int stall_began(self) except -1
    cdef bint has_progressed(self) noexcept
    cdef int read_again(self) except -1
