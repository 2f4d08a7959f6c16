cdef object carried(bint closed, object error)
cdef object unpacked(object error)
