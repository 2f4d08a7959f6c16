from .awaited cimport AwaitedConnection


cdef class TaskConnection(AwaitedConnection):
    cdef object handler  # the service's until it begins; then what its task runs, a `Driven`, until that has ended
    cdef object task
    cdef list closed_waiters

    cdef int start_task(self) except -1
    cdef int run_coroutine(self, object coroutine, object ended) except -1
    cdef int run_ended(self, object task) except -1
    cdef int conclude_ended(self, object task) except -1
    cdef int wake_closed(self) except -1
