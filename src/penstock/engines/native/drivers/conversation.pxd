from .tasks cimport TaskConnection


cdef class ConversationConnection(TaskConnection):
    cdef object mark  # what the last checkpoint was told, where it still holds: see `marked_at`

    cdef double ask(self) except? -1
    cdef object octets_by(self, object choose, object what, object max_bytes, object timeout_s)
    cdef object wait_s(self, object timeout_s)
