cdef int seal(dict namespace, tuple complete=*, tuple spared=*) except -1
