from .opening cimport OpeningConnection


cdef class Connection(OpeningConnection):
    cdef public object state

    # What a subclass does.
    cdef int received(self) except -1
    cdef int input_ended(self) except -1
    cdef int timed_out(self, object which) except -1
    cdef int rest_ended(self) except -1
    cdef int token_came(self) except -1

    cdef int depart(self, int verdict) except -1
    cdef int break_off(self, object error) except -1
    cdef bint has_last_word(self) except -1
    cdef bint passes_over(self, object error) except -1
    cdef int answer_bad_message(self, object callbacks, object error) except -1
    cdef int handler_failed(self, object error) except -1
