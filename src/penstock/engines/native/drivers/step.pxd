from cpython.object cimport PyObject

cdef enum:
    # Where a step stands.
    FRESH
    WAITING  # for a message
    YIELDING  # the loop to others
    AWAITING  # what a handler awaits
    WANTING_ROOM
    FINISHED

cdef extern from *:
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object iterator, object value, PyObject** result) except PYGEN_ERROR

cdef object STOP  # what a step returns when it has ended with its value


cdef class Step:
    cdef object value  # what it ends with
    cdef unsigned char phase
    # Of subclasses, here because a struct is filled up to eight bytes.
    cdef unsigned char handing
    cdef unsigned char turns
    cdef unsigned char iterates
    cdef unsigned char lasts

    cdef object step(self)
    cdef int abandon(self) except -1


cdef object advance(Step step)
cdef int become_awaitable(object kind) except -1
