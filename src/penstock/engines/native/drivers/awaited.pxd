from ..connection.transport cimport flag
from .moving cimport MovingConnection
from .waiter cimport Waiter


cdef class AwaitedConnection(MovingConnection):
    cdef Waiter waiter  # of whoever receives
    cdef object timer_of_wait
    cdef object expired_by  # the deadline that `on_timeout` is to be told of
    cdef list send_waiters
    cdef long long marked_at  # how many messages were received at the last checkpoint; `OVER`, and `NONE` before the first
    cdef int streak  # messages received without letting the loop turn
    cdef flag input_over
    cdef flag had_message
    cdef flag past_codec  # octets are waited for, and no message
    cdef flag connected  # on_connect was called: on_close is owed. A subclass's, here because one byte was free

    cdef object at_hand(self)
    cdef object last(self, object codec)
    cdef object message_at_hand(self, object message)
    cdef int bad_message_passed(self, object error) except -1
    cdef object its_callbacks(self)
    cdef int look_at_partial(self, Py_ssize_t came_bytes) except -1
    cdef bint is_full(self) except -1
    cdef void look_at_row(self) noexcept
    cdef Waiter begin_wait(self, object limit, bint held)
    cdef bint expects_messages(self) except -1
    cdef Waiter place_to_wait(self, object limit)
    cdef object clock_of_waits(self)
    cdef int end_wait(self) except -1
    cdef int wake(self) except -1
    cdef int wake_directly(self) except -1
    cdef bint pours(self, const char* data, Py_ssize_t size) except -1
    cdef bint step_in_place(self) except -1
    cdef int finish_message(self, object reply) except -1
    cdef int begin_gathering(self) except -1
    cdef int gather_replies(self) except -1
    cdef int release_cork(self) except -1
    cdef object room(self)
    cdef int wake_senders(self) except -1


cdef int wake_all(list waiters, object result) except -1

cdef enum:
    OVER = -1  # the last checkpoint does not hold
    NONE = -2

cdef inline void end_mark(AwaitedConnection conn) noexcept:
    """What the conversation does now its successor would do again: the last checkpoint holds no longer.

    While it waits for a message it does nothing: what others send meanwhile is none of its work.
    """
    if conn.marked_at >= 0 and conn.waiter is None:
        conn.marked_at = OVER

