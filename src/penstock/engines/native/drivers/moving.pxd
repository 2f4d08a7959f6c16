from ..connection.connection cimport Connection


cdef class MovingConnection(Connection):
    cdef object callbacks  # None when the handler is a function
    cdef object variables  # the context of its calls, once something was set in it

    # A subclass's.
    cdef str why_handler_stays(self)
    cdef bytes tell(self, object mover)
    cdef bint handler_waits(self) except -1
    cdef int handler_leaves(self) except -1
    cdef int handler_arrives(self, object arrival) except -1
    cdef int handler_goes_on(self) except -1
    cdef int called(self, object error) except -1
    cdef int go_on(self) except -1

    cdef str why_held_up(self)
    cdef str why_link_stays(self)
    cdef object stop_here(self, object mover, bytes state)
    cdef object put_down(self, object mover, object held, bytes state, double now)
    cdef object remembered(self)
    cdef int take_input(self, object arrival) except -1
    cdef int begin_again(self, object arrival) except -1
    cdef int transmit_before(self, bytes data) except -1
    cdef int vanish(self) except -1
    cdef object while_held(self)
