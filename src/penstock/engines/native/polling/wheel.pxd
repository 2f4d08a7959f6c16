from cpython.object cimport PyObject

from ....core.compiled_law.rate cimport Law

# 7.8 ms each; a power of two, so that instants convert exactly.
cdef enum:
    TICKS_PER_S = 128
    NEAR = 256  # slots of one tick each: two seconds
    FAR = 256  # slots of NEAR ticks each: nearly nine minutes


# An extension type has one base, and a connection is to be one object: so the law comes first, and what is in the wheel or
# in the poller's set inherits it. Acceptors and datagram sockets, of which there are few, carry its fields unused.
cdef class Timed(Law):
    cdef double due_at  # inf: not set
    # Borrowed: whoever is in a wheel takes itself out before it goes.
    cdef PyObject* before
    cdef PyObject* after
    cdef short place  # its slot; -1: in none
    # A `Pollable`'s, here because six bytes were free.
    cdef unsigned char mask  # what epoll watches; 0: it is not in the set
    cdef unsigned char todo  # what `deferred` is to do; 0: it does not wait for that
    cdef int fd

    cdef int expired(self) except -1


cdef class Wheel:
    cdef PyObject* slots[512]
    cdef double epoch
    cdef long long tick  # the last one that was handled
    cdef long long next_tick  # none before it has anything
    cdef Py_ssize_t count
    cdef bint closed

    cdef void set(self, Timed timed, double when) noexcept
    cdef void cancel(self, Timed timed) noexcept
    cdef void close(self) noexcept
    cdef double next_at(self) noexcept
    cdef int advance(self, double now) except -1
    cdef void cascade(self, int far) noexcept
    cdef void insert(self, Timed timed) noexcept
    cdef void remove(self, Timed timed) noexcept
    cdef long long seek(self) noexcept
