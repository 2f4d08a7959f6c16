from cpython.object cimport PyObject


cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        const char* ml_name
        void* ml_meth
        int ml_flags
        const char* ml_doc


cdef class Unparsed:
    cdef readonly object parsed
    cdef type kind
    cdef bytes name
    cdef PyMethodDef definition

    cdef Unparsed of(self, void* function)


cdef object parse(object parsed, object self, PyObject** arguments, Py_ssize_t count, PyObject* names)
