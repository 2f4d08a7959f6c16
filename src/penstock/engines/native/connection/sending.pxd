from .states cimport StatefulTransport


cdef class SendingTransport(StatefulTransport):

    # What a subclass does.
    cdef int output_resumed(self) except -1
    cdef int flushed(self) except -1
    cdef int lose(self, object reason) except -1

    cdef object post_by_policy(self, object message, bint framed, object on_full, object key)
    cdef bint takes_at_once(self, object codec) except -1
    cdef int put_reply(self, object message) except -1
    cdef int put_message(self, object message) except -1
    cdef int put_whole(self, bytes frame) except -1
    cdef int put(self, bytes data) except -1
    cdef int sent(self, Py_ssize_t size) except -1
    cdef int uncork(self) except -1
    cdef int charge(self, Py_ssize_t size) except -1
    cdef Py_ssize_t all_owed(self) except -1
    cdef int post_behind(self, bytes data, object policy, object key) except -1
    cdef int post_late(self, bytes data, object policy, object key) except -1
    cdef int refill(self, Py_ssize_t high) except -1
    cdef int owe(self, Py_ssize_t size) except -1
    cdef int count_owed(self) except -1
    cdef Py_ssize_t behind(self) except -1
    cdef Py_ssize_t room_bytes(self) except -1
    cdef int obey(self, int verdict) except -1
    cdef int stall_begins(self) except -1


cdef object post_one(SendingTransport conn, object message)
