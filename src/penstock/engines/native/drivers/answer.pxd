from .awaited cimport AwaitedConnection
from .driven cimport Driven
from .exchange cimport Receive


cdef class Answer(Driven):
    cdef object function
    cdef bint takes_connection
    cdef Receive receiving  # the message after the one at hand
    cdef object coroutine  # of the message at hand, while it awaits something
    cdef object awaited
    cdef object reply  # while it waits for room: `value` is what a step in place hands to the task

    cdef object receive(self, bint looked)
    cdef bint go_on(self, object coroutine) except -1
    cdef bint answer(self, object reply) except -1


cdef class Conversation(Driven):
    cdef object coroutine


cdef Answer answer_of(AwaitedConnection conn, object handler)
cdef Conversation conversation_of(AwaitedConnection conn, object coroutine)
