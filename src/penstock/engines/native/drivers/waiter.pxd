from ..host cimport Host
from ..connection.transport cimport flag

cdef enum:
    PENDING
    DONE
    FAILED
    CANCELLED


cdef class Waiter:
    cdef Host host
    cdef object callback
    cdef object context
    cdef object error
    cdef object feed  # the `ProtocolFeed` whose wait this is, or None
    cdef unsigned char state
    cdef flag blocking  # as `asyncio.Future._asyncio_future_blocking`
    cdef flag yielded
    cdef flag in_place  # the step of the task that hangs here is being done, without the task: see `Driven`
    cdef flag cancelled_in_place  # and the task was cancelled then

    cdef int settle(self, int state, object error) except -1


cdef Waiter waiter_of(Host host)
