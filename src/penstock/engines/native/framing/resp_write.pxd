from ..connection.transport cimport Transport

cdef bint put_value(Transport to, object message, Py_ssize_t limit, int max_depth, bint resp3) except -1
