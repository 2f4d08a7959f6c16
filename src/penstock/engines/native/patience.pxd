cdef class Patience:
    cdef object timeouts
    cdef double handshake_s
    cdef double first_s
    cdef double idle_s
    cdef double message_s
    cdef double write_s
    cdef double lifetime_s
    cdef double linger_s
    cdef long long message_bytes_per_s  # 0: a message has message_s, however long it is

cdef struct Clocks:
    # Since when each is counting; inf: it is not.
    double opened
    double first
    double idle
    double partial
    double stalled  # once all went out after the close: since when the peer's EOF has been waited for

cdef enum:
    NOTHING_DUE
    # Up to the message's, and the handshake's, they end with what the peer has to send.
    FIRST_MESSAGE
    IDLE
    MESSAGE
    WRITE
    LIFETIME
    LINGER
    HANDSHAKE

cdef void start(Clocks* clocks, double now) noexcept
cdef int earliest(
    Clocks* clocks, Patience patience, Py_ssize_t partial_bytes, bint departs, bint lingers, double* when
) noexcept
cdef tuple DEADLINES
