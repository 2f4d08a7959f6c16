from .connection cimport Connection, Host
from .step cimport Step
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

    cdef object at_hand(self)
    cdef int wake(self) except -1
    cdef int wake_directly(self) except -1
    cdef int wake_senders(self) except -1
    cdef int release_cork(self) except -1
    cdef int begin_wait(self, object timeout_s) except -1
    cdef int end_wait(self) except -1
    cdef object last(self)
    cdef int finish_message(self, object reply) except -1
    cdef int run_ended(self, object task) except -1
    cdef int conclude_ended(self, object task) except -1
    cdef int wake_closed(self) except -1
    cdef int run_coroutine(self, object coroutine, object ended) except -1


cdef class Receive(Step):
    cdef ConversationConnection conn
    cdef object timeout_s
    cdef bint iterates
    cdef int turns


cdef class Send(Step):
    cdef ConversationConnection conn
    cdef object message


cdef class Answer(Step):
    cdef ConversationConnection conn
    cdef object function
    cdef bint takes_connection
    cdef Receive receiving  # the message after the one at hand
    cdef object coroutine  # of the message at hand, while it awaits something
    cdef object awaited

    cdef object receive(self)
    cdef bint go_on(self, object coroutine) except -1
    cdef bint answer(self, object reply) except -1
