from .connection cimport Connection, Host
from .transport cimport flag
from .waiter cimport Waiter


cdef class ConversationConnection(Connection):
    cdef object handler
    cdef object callbacks
    cdef object task
    cdef Waiter waiter  # of whoever receives
    cdef object timer_of_wait
    cdef object expired_by  # the deadline that `on_timeout` is to be told of
    cdef list send_waiters
    cdef list closed_waiters
    cdef double first_start  # where the clocks stood when nobody waited any more; inf: nowhere
    cdef double partial_start
    cdef int streak  # messages received without letting the loop turn
    cdef flag input_over
    cdef flag had_message

    cdef int wake(self) except -1
    cdef int wake_directly(self) except -1
    cdef int wake_senders(self) except -1
    cdef int release_cork(self) except -1
    cdef int begin_wait(self, object timeout_s) except -1
    cdef int end_wait(self) except -1
    cdef bint unhandled(self) except -1
    cdef object last(self)
    cdef int finish_message(self, object reply) except -1
    cdef int conclude(self) except -1
    cdef int run_coroutine(self, object coroutine, object ended) except -1


cdef class Step:
    cdef ConversationConnection conn
    cdef int phase
    cdef object value  # what it ends with
    cdef object step(self)
    cdef int abandon(self) except -1


cdef class Receive(Step):
    cdef object timeout_s
    cdef bint iterates
    cdef int turns


cdef class Send(Step):
    cdef object message
