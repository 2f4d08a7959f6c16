"""`core.deadlines` in doubles: instants in a struct of the connection's, durations shared by all that have the same."""

from libc.math cimport INFINITY

from ...core.deadlines import Deadline

DEADLINES = (
    None,
    Deadline.FIRST_MESSAGE,
    Deadline.IDLE,
    Deadline.MESSAGE,
    Deadline.WRITE,
    Deadline.LIFETIME,
    Deadline.LINGER,
    Deadline.HANDSHAKE,
)


cdef double seconds(object value) except? -1:
    return INFINITY if value is None else value


cdef class Patience:
    """How long each patience lasts, in seconds; inf for ever."""

    def __init__(self, timeouts):
        self.timeouts = timeouts
        self.handshake_s = seconds(timeouts.handshake_s)
        self.first_s = seconds(timeouts.first_message_s)
        self.idle_s = seconds(timeouts.idle_s)
        self.message_s = seconds(timeouts.message_s)
        self.write_s = seconds(timeouts.write_s)
        self.lifetime_s = seconds(timeouts.lifetime_s)
        self.linger_s = seconds(timeouts.linger_s)
        self.message_bytes_per_s = timeouts.message_bytes_per_s or 0


cdef void start(Clocks* clocks, double now) noexcept:
    clocks.opened = now
    clocks.first = clocks.idle = clocks.partial = clocks.stalled = INFINITY


cdef int earliest(
    Clocks* clocks, Patience patience, Py_ssize_t partial_bytes, bint departs, bint lingers, double* when
) noexcept:
    """Say what would be due first if nothing more happened, and when; NOTHING_DUE and inf if nothing would."""
    cdef int which = NOTHING_DUE
    cdef double then
    when[0] = INFINITY
    if departs:
        when[0] = clocks.stalled + (patience.linger_s if lingers else patience.write_s)
        if when[0] == INFINITY:
            return NOTHING_DUE
        return LINGER if lingers else WRITE
    then = clocks.first + patience.first_s
    if then < when[0]:
        when[0] = then
        which = FIRST_MESSAGE
    then = clocks.idle + patience.idle_s
    if then < when[0]:
        when[0] = then
        which = IDLE
    then = clocks.partial + patience.message_s
    if patience.message_bytes_per_s:
        then += <double>(partial_bytes // patience.message_bytes_per_s)
    if then < when[0]:
        when[0] = then
        which = MESSAGE
    then = clocks.stalled + patience.write_s
    if then < when[0]:
        when[0] = then
        which = WRITE
    then = clocks.opened + patience.lifetime_s
    if then < when[0]:
        when[0] = then
        which = LIFETIME
    return which
