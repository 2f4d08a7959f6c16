from .transport cimport Transport


cdef class Below:
    cdef Transport transport
