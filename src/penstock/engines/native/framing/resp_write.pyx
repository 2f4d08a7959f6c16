"""RESP, written where it is sent from: the types that replies are made of. All others are the codec's.

A value is measured, then written. Nothing is made in between that could let other code run and change it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy

from .frames cimport claim, write_decimal
from ..connection.transport cimport Transport

from ....codecs.resp.values import ErrorReply as _error_reply
from ....codecs.resp.values import SimpleString as _simple_string

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1

cdef object ErrorReply = _error_reply
cdef object SimpleString = _simple_string

cdef enum:
    HEAD_BYTES = 24  # a type byte, a number, CRLF
    NOT_HERE = -1


cdef bint put_value(Transport to, object message, Py_ssize_t limit, int max_depth, bint resp3) except -1:
    """Put a value behind the output that is being gathered. Return whether it was done; if not, the codec says why or does it."""
    cdef Py_ssize_t size = measure(message, limit, max_depth, resp3)
    cdef char* place
    if size == NOT_HERE:
        return False
    place = claim(to, size)
    if place != NULL:
        write(place, message, resp3)
    return True


cdef Py_ssize_t measure(object value, Py_ssize_t limit, int max_depth, bint resp3) except -2:
    """Return the size of a value in bytes; NOT_HERE where it is over the limit, too deep, or not to be written here."""
    cdef PyObject* key
    cdef PyObject* entry
    cdef Py_ssize_t at = 0, size, part
    cdef int64_t number
    cdef int overflow = 0
    cdef char head[HEAD_BYTES]
    kind = type(value)
    if kind is bytes:
        size = PyBytes_GET_SIZE(value)
        size += 2 + write_head(head, c"$", size)
    elif kind is SimpleString or kind is ErrorReply:
        size = PyBytes_GET_SIZE(value)
        if memchr(PyBytes_AS_STRING(value), c"\r", size) != NULL or memchr(PyBytes_AS_STRING(value), c"\n", size) != NULL:
            return NOT_HERE
        size += 3
    elif value is None:
        size = 3 if resp3 else 5
    elif kind is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return NOT_HERE
        size = write_head(head, c":", number)
    elif kind is bool and resp3:
        size = 4
    elif kind is list and max_depth:
        size = write_head(head, c"*", len(<list>value))
        for item in <list>value:
            part = measure(item, limit - size, max_depth - 1, resp3)
            if part == NOT_HERE:
                return NOT_HERE
            size += part
    elif kind is dict and max_depth and resp3:
        size = write_head(head, c"%", len(<dict>value))
        while PyDict_Next(value, &at, &key, &entry):
            part = measure(<object>key, limit - size, max_depth - 1, resp3)
            if part == NOT_HERE:
                return NOT_HERE
            size += part
            part = measure(<object>entry, limit - size, max_depth - 1, resp3)
            if part == NOT_HERE:
                return NOT_HERE
            size += part
    else:
        return NOT_HERE
    return size if size <= limit else NOT_HERE


cdef char* write(char* to, object value, bint resp3) except NULL:
    """Write what was measured; return where it ends."""
    cdef PyObject* key
    cdef PyObject* entry
    cdef Py_ssize_t at = 0
    kind = type(value)
    if kind is bytes:
        to += write_head(to, c"$", PyBytes_GET_SIZE(value))
        return write_line(to, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if kind is SimpleString or kind is ErrorReply:
        to[0] = c"+" if kind is SimpleString else c"-"
        return write_line(to + 1, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    if value is None:
        return write_line(to, b"_", 1) if resp3 else write_line(to, b"$-1", 3)
    if kind is int:
        return to + write_head(to, c":", value)
    if kind is bool:
        return write_line(to, b"#t" if value else b"#f", 2)
    if kind is list:
        to += write_head(to, c"*", len(<list>value))
        for item in <list>value:
            to = write(to, item, resp3)
        return to
    to += write_head(to, c"%", len(<dict>value))
    while PyDict_Next(value, &at, &key, &entry):
        to = write(write(to, <object>key, resp3), <object>entry, resp3)
    return to


cdef inline char* write_line(char* to, const char* data, Py_ssize_t size) noexcept:
    """Write bytes and CRLF; return where they end."""
    memcpy(to, data, size)
    to[size] = c"\r"
    to[size + 1] = c"\n"
    return to + size + 2


cdef inline Py_ssize_t write_head(char* head, char first, int64_t number) noexcept:
    """Write a type byte, a number and CRLF; return their size."""
    cdef Py_ssize_t size = 1 + write_decimal(head + 1, number)
    head[0] = first
    head[size] = c"\r"
    head[size + 1] = c"\n"
    return size + 2
