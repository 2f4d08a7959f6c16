cdef double _INFINITY


cdef class Durations:
    cdef readonly object timeouts
    cdef readonly double handshake_s
    cdef readonly double first_s
    cdef readonly double idle_s
    cdef readonly bint only_received_counts
    cdef readonly double message_s
    cdef readonly double write_s
    cdef readonly double linger_s
    cdef readonly double lifetime_s
    cdef readonly double finish_s
    cdef readonly long long message_bytes_per_s
