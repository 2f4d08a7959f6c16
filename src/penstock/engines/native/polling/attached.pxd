from .poller cimport Poller


cdef class AttachedPoller(Poller):
    cdef object handle  # of the loop's timer
    cdef double handle_at
    cdef bint prodded
    cdef bint alarmed  # the eventfd, always readable, is in the set: the loop has to be made to look

    cdef int ask_for_turn(self) except -1
    cdef void ring(self) noexcept
