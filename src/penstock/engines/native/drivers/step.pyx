"""Awaitables without coroutine: what is awaited, or the value, comes straight from a method in C.

`asyncio.Task` and ``await`` ask a type's ``am_send`` slot, older users its ``tp_iternext``; both are set here.
"""

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from ..sealed cimport seal

cdef extern from *:
    """
    /* StopIteration(value), without making the exception where the interpreter does not need one: see genobject.c. */
    static PyObject *penstock_stop(PyObject *value)
    {
        if (value == Py_None) {
            return NULL;
        }
        if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
            return NULL;
        }
        PyErr_SetObject(PyExc_StopIteration, value);
        return NULL;
    }

    static void penstock_install(PyObject *type, iternextfunc next, sendfunc send)
    {
        PyTypeObject *kind = (PyTypeObject *)type;
        kind->tp_iternext = next;
        kind->tp_as_async->am_send = send;
    }
    """
    PyObject* penstock_stop(PyObject* value) noexcept
    void penstock_install(object kind, PyObject* (*next)(PyObject*) except? NULL, Sender send) noexcept

STOP = object()

cdef str REUSED = "cannot reuse already awaited coroutine"  # as of a coroutine


cdef class Step:
    """An awaitable that is a coroutine to everybody who asks: it can be made a task, and cancelled."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """Go on; return what is awaited."""
        yielded = advance(self)
        if yielded is STOP:
            value, self.value = self.value, None
            raise StopIteration(value)
        return yielded

    def throw(self, kind, value=None, traceback=None):
        """Stop waiting and raise."""
        if self.phase == FINISHED:
            raise RuntimeError(REUSED)
        self.abandon()
        if isinstance(kind, BaseException):
            raise kind
        raise kind if value is None else value

    def close(self):
        """Stop waiting."""
        self.abandon()

    cdef object step(self):
        """Return what is to be awaited, or STOP with `value` set."""
        return STOP

    cdef int abandon(self) except -1:
        self.phase = FINISHED
        return 0


cdef object advance(Step step):
    """Return what is to be awaited, or STOP; what has raised has ended."""
    cdef PyObject* yielded = advanced(step)
    value = <object>yielded
    Py_DECREF(value)
    return value


cdef PyObject* advanced(Step step) except NULL:
    """Return the same: the caller's reference to it."""
    cdef PyObject* yielded
    if step.phase == FINISHED:
        raise RuntimeError(REUSED)
    yielded = penstock_attempt(_go, <PyObject*>step)
    if yielded == NULL:
        _has_raised(step)
    return yielded


cdef object _go(PyObject* step):
    return (<Step>step).step()


cdef int _has_raised(Step step) except -1:
    step.phase = FINISHED
    try:
        penstock_raised()
    except StopIteration as stop:  # which ends a coroutine, and is a failure within one: PEP 479
        raise RuntimeError("coroutine raised StopIteration") from stop
    return 0


cdef PyObject* _next(PyObject* self) except? NULL:
    yielded = advance(<Step>self)
    if yielded is STOP:
        yielded, (<Step>self).value = (<Step>self).value, None
        return penstock_stop(<PyObject*>yielded)
    Py_INCREF(yielded)
    return <PyObject*>yielded


cdef PySendResult send_to_step(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR:
    cdef Step step = <Step>self
    cdef PyObject* yielded
    result[0] = NULL
    yielded = advanced(step)
    if yielded != <PyObject*>STOP:
        result[0] = yielded
        return PYGEN_NEXT
    Py_DECREF(<object>yielded)
    last, step.value = step.value, None
    Py_INCREF(last)
    result[0] = <PyObject*>last
    return PYGEN_RETURN


cdef int become_awaitable(object kind, Sender send=send_to_step) except -1:
    """Have a subclass of `Step` awaited in the short way; ``send``: one of its own, which ends with `send_to_step`."""
    penstock_install(kind, _next, send)
    return 0


seal(globals())
