from .framing cimport Framing, Input
from .patience cimport Clocks, Patience
from .poller cimport Poller
from .transport cimport Transport, flag

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


cdef class Host:
    cdef Poller poller
    cdef object loop
    cdef object clock  # None: the poller's own
    cdef object emit
    cdef object released
    cdef object budget
    cdef object context  # what handlers run in copies of
    cdef Patience patience
    cdef object codec
    cdef Framing framing  # of the codec; None when it is not compiled
    cdef object limits
    cdef Py_ssize_t write_high, write_low
    cdef int read_size
    cdef int batch_messages


cdef class Connection(Transport):
    cdef Host host
    cdef Framing framing  # None: `inbound` cuts
    cdef object inbound
    cdef list batch  # what `inbound` cut and was not handled, from `batch_at` on
    cdef Py_ssize_t batch_at
    cdef Input input
    cdef Clocks clocks
    cdef Patience patience
    cdef object timer  # of a clock that is not the poller's
    cdef double armed_at
    cdef object limits
    cdef object backlog  # what was posted over the high watermark, where not all that is owed has to leave
    cdef Py_ssize_t owed_bytes  # while output is over the high watermark, as the budget has it too
    cdef long long stalled_bytes  # what the kernel had taken when the peer's patience for reading began to count
    cdef object leave_reason
    cdef flag condition  # its State
    cdef flag attached
    cdef flag begun
    cdef flag gone
    cdef readonly bint draining
    cdef flag handling
    cdef flag corking
    cdef flag write_paused
    cdef flag held
    cdef readonly long long id
    cdef readonly object codec
    cdef readonly object peer
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

    cdef int adopted(self) except -1
    cdef double time(self) except -1
    cdef bint can_send(self) noexcept
    cdef bint can_receive(self) noexcept
    cdef bint leaving(self) noexcept
    cdef int happen(self, int happening) except -1
    cdef Py_ssize_t pending_bytes(self) except -1
    cdef object next_message(self, Py_ssize_t limit)
    cdef int switch(self, object codec) except -1
    cdef int forget_input(self) except -1
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
    cdef int release_to_host(self) except -1
    cdef int stall_began(self) except -1
    cdef bint has_progressed(self) except -1
    cdef int arm(self, double when) except -1
    cdef int arm_earliest(self) except -1
    cdef int disarm(self) except -1
    cdef int tick(self) except -1
    cdef int read_again(self) except -1
