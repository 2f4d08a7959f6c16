from .poller cimport Poller

cdef enum:
    PENDING
    DONE
    FAILED
    CANCELLED


cdef class Waiter:
    cdef public bint _asyncio_future_blocking
    cdef Poller poller
    cdef object loop
    cdef object callback
    cdef object context
    cdef object error
    cdef int state
    cdef bint yielded

    cdef int settle(self, int state, object error) except -1
