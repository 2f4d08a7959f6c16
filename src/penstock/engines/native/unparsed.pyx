"""Methods whose arguments are looked at only where there are more than one: each optional one costs every call 20 instructions.

Cython parses a call into one owned reference for each argument, those that were not given included. A method on a hot path is
called with its one argument nearly always. `Unparsed` puts a function of CPython's own calling convention (METH_FASTCALL with
METH_KEYWORDS) in the place of such a method; for all other calls the function asks `parse`, which calls what Cython made.
"""

from cpython.object cimport PyObject

from .sealed cimport seal

cdef extern from *:
    """
    static int penstock_put_method(PyTypeObject *kind, PyMethodDef *definition)
    {
        PyObject *method = PyDescr_NewMethod(kind, definition);
        int failed = method == NULL ? -1 : PyDict_SetItemString(kind->tp_dict, definition->ml_name, method);
        Py_XDECREF(method);
        PyType_Modified(kind);
        return failed;
    }
    """
    int penstock_put_method(type kind, PyMethodDef* definition) except -1
    enum:
        FASTCALL "METH_FASTCALL | METH_KEYWORDS"


cdef class Unparsed:
    """A method of an extension type, as Cython made it, and what stands in its place.

    Args:
        kind: The type. It is not sealed so far, and nobody has called the method.
        name: The method's.
    """

    def __init__(self, type kind, str name):
        self.kind = kind
        self.name = name.encode()
        self.parsed = getattr(kind, name)

    cdef Unparsed of(self, void* function):
        """Put a function in its place: ``function(self, arguments, count, names)``. Keep the object as long as the type lives."""
        self.definition.ml_name = self.name
        self.definition.ml_meth = function
        self.definition.ml_flags = FASTCALL
        self.definition.ml_doc = NULL
        penstock_put_method(self.kind, &self.definition)
        return self


cdef object parse(object parsed, object self, PyObject** arguments, Py_ssize_t count, PyObject* names):
    """Call what Cython made, with what came by CPython's convention: the names' values follow those without a name."""
    cdef Py_ssize_t at
    positional = [self]
    for at in range(count):
        positional.append(<object>arguments[at])
    named = {}
    if names != NULL:
        for name in <tuple>names:
            named[name] = <object>arguments[count]
            count += 1
    return parsed(*positional, **named)


seal(globals())
