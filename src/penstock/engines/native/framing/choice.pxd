from .frames cimport NEED_DATA, Framing, Input, clear, feed, keep


cdef Framing framing_of(object codec, bint settled=*)
cdef Framing known_until(bytes delimiter, Py_ssize_t limit)
cdef Framing framing_of_cutter(object what, object cutter)
