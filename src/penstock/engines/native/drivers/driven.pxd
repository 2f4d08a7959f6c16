from .awaited cimport AwaitedConnection
from .step cimport Step
from .waiter cimport Waiter


cdef class Driven(Step):
    cdef AwaitedConnection conn
    cdef Waiter parked  # what its task hangs at, while its step is done here; None at any other time

    cdef object proceed(self)
    cdef object inject(self, object error)
    cdef bint step_in_place(self, object task) except -1
    cdef object hand_over(self)
    cdef object hand_over_cancelled(self, object error)
