cdef double _SLACK_S


cdef class Levels:
    cdef readonly object limits
    cdef readonly Py_ssize_t high
    cdef readonly Py_ssize_t low
    cdef readonly Py_ssize_t most
    cdef readonly Py_ssize_t read_bytes
    cdef readonly Py_ssize_t step
    cdef readonly unsigned char can_drop
    cdef readonly unsigned char closes_at_rate
    cdef readonly double message_step_s
    cdef readonly double message_depth_s
