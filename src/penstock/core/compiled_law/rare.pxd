from .silence cimport Silence


cdef class Rare:
    cdef public int asking
    cdef public unsigned char message_at_work
    cdef public str detail
    cdef public double handshake_since
    cdef public int handshakes
    cdef public double refused_at
    cdef public object queue
    cdef public Py_ssize_t owed_bytes
    cdef public long long taken_bytes
    cdef public double full_at
    cdef public unsigned char rate_held
    cdef public int tasks
    cdef public unsigned char waits_for_tasks
    cdef public Silence silence
