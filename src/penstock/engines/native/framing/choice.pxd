from .frames cimport NEED_DATA, Framing, Input, clear, feed, keep


cdef Framing framing_of(object codec, bint settled=*)
cdef Framing framing_of_cutter(object cutter)
