"""Types that Python code can neither make bare nor inherit from: their methods count on what compiled code gives their objects.

Compiled code makes objects by ``T.__new__(T)``, which goes through a slot of the type and stays as it is. What Python sees is
changed: ``T.__new__`` is gone, so that a base's is found, which refuses (``object.__new__(T) is not safe``); a type without an
``__init__`` cannot be called; and no subclass can leave out the ``__init__`` of the others.
"""

cdef extern from *:
    """
    static int penstock_refuse(PyObject *self, PyObject *args, PyObject *keywords)
    {
        PyErr_Format(PyExc_TypeError, "cannot create '%.200s' instances", Py_TYPE(self)->tp_name);
        return -1;
    }

    static int penstock_seal(PyObject *type, int is_complete)
    {
        PyTypeObject *kind = (PyTypeObject *)type;
        PyObject *name = PyUnicode_FromString("__new__");
        int has_init = kind->tp_init != NULL && kind->tp_init != PyBaseObject_Type.tp_init;
        int has_new = name == NULL ? -1 : PyDict_Contains(kind->tp_dict, name);
        if (has_new > 0) {
            has_new = PyDict_DelItem(kind->tp_dict, name);
        }
        Py_XDECREF(name);
        if (has_new < 0) {
            return -1;
        }
        if (is_complete) {
            kind->tp_init = PyBaseObject_Type.tp_init;  /* a base's refuses */
        } else if (!has_init) {
            kind->tp_init = penstock_refuse;
            kind->tp_vectorcall = NULL;  /* of Cython's, which would not ask tp_init */
        }
        kind->tp_flags &= ~Py_TPFLAGS_BASETYPE;
        PyType_Modified(kind);
        return 0;
    }
    """
    enum:
        HEAP_TYPE "Py_TPFLAGS_HEAPTYPE"
    int penstock_seal(object kind, bint is_complete) except -1


cdef int seal(dict namespace, tuple complete=(), tuple spared=()) except -1:
    """Seal the extension types of a module. Called at its end.

    Args:
        namespace: The module's.
        complete: Types that may be called though they have no ``__init__``: their ``__cinit__`` leaves nothing to be done.
        spared: Types that Python code inherits from, and whose methods do with what ``__new__`` leaves.
    """
    for kind in list(namespace.values()):
        # Those of Python's class statement are heap types.
        is_ours = isinstance(kind, type) and kind.__module__ == namespace["__name__"]
        if is_ours and not kind.__flags__ & HEAP_TYPE and kind not in spared:
            penstock_seal(kind, kind in complete)
    return 0
