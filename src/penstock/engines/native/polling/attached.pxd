from .poller cimport Poller


cdef class AttachedPoller(Poller):
    cdef object handle  # of the loop's timer
    cdef double handle_at
    cdef bint prodded
    cdef int alarm  # an eventfd that is always readable, in the set while the loop has to be made to look
    cdef bint alarmed

    cdef int ask_for_turn(self) except -1
    cdef void ring(self) noexcept
