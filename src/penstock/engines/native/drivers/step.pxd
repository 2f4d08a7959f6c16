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

cdef extern from *:
    """
    /* A call that is asked whether it has raised, in the place of a ``try``, which saves and restores the interpreter's exception
       state each time. NULL: it has; `penstock_raised` raises that once more, within the ``try`` of a function that is called then. */
    static inline PyObject *penstock_attempt(PyObject *(*function)(PyObject *), PyObject *self) { return function(self); }
    static inline int penstock_raised(void) { return -1; }
    """
    PyObject* penstock_attempt(object (*function)(PyObject*), PyObject* self) noexcept
    int penstock_raised() except -1

ctypedef PySendResult (*Sender)(PyObject*, PyObject*, PyObject**) except PYGEN_ERROR

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
cdef PyObject* advanced(Step step) except NULL
cdef PySendResult send_to_step(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR
cdef int become_awaitable(object kind, Sender send=*) except -1
