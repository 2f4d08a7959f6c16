from cpython.contextvars cimport PyContext_Copy, PyContext_Enter, PyContext_Exit

cdef extern from *:
    """
    typedef struct { int count; void *last; } penstock_referents;

    static int penstock_note(PyObject *referent, void *seen)
    {
        ((penstock_referents *)seen)->count++;
        ((penstock_referents *)seen)->last = referent;
        return 0;
    }

    /* The one object that a context which is not entered refers to: its variables. Where there are others as well (a later
       Python's), nobody knows which it is: NULL. */
    static inline void *penstock_variables(PyObject *context)
    {
        penstock_referents seen = {0, NULL};
        Py_TYPE(context)->tp_traverse(context, penstock_note, &seen);
        return seen.count == 1 ? seen.last : NULL;
    }
    """
    void* penstock_variables(object context) noexcept
    Py_ssize_t Py_REFCNT(object it) noexcept


cdef class Contexts:
    cdef readonly object base  # what all of them are copies of; never entered
    cdef readonly object ends  # that the ends of tasks are told in: not a connection's own, which an eager task enters there
    cdef void* untouched  # what a context holds in which nothing was set
    cdef object spare  # one of that kind

    cdef inline object enter(self, object own):
        """Enter the context of a connection, or a new one where it has none. Return it, for `leave`."""
        context = own
        if own is None:
            context, self.spare = self.spare, None  # while it is entered nobody else can enter it
            if context is None:
                context = PyContext_Copy(self.base)
        PyContext_Enter(context)
        return context

    cdef inline object leave(self, object own, object entered):
        """Leave the context, to which the caller has the only reference. Return the connection's from now on, if it has one.

        A set of variables never changes: what was set makes another one. A token of `ContextVar.set` refers to the context,
        and so is seen even where what was set is what had been there.
        """
        PyContext_Exit(entered)
        if entered is own:
            return own
        if self.untouched == NULL or penstock_variables(entered) != self.untouched or Py_REFCNT(entered) > 1:
            return entered
        self.spare = entered
        return own
