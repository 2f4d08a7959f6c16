from .transport cimport Stack, Transport


cdef class Below(Stack):
    cdef Transport transport
