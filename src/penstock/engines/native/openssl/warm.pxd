from ..polling.poller cimport Poller
from ..polling.wheel cimport Timed, Wheel

cdef enum:
    MOST_WARM = 256  # sessions of one loop: 8.5 MiB

cdef struct Warmth:
    # Of one session: whether OpenSSL keeps its buffers.
    void* ssl
    int place  # among those whose buffers are kept; -1: it is none of them
    bint used  # since that was last looked at
    double heard_at
    const bint* begun  # whether OpenSSL has the beginning of a record, or may have it


cdef class Warm(Timed):
    cdef Wheel wheel
    cdef Warmth* sessions[MOST_WARM]  # borrowed: who goes takes itself out
    cdef int count

    cdef void heard(self, Warmth* session, double now) noexcept
    cdef void leave(self, Warmth* session) noexcept


cdef Warm warm_of(Poller poller)
