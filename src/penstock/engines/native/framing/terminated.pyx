"""Frames that end where something stands: lines, text, delimited."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcpy

from .frames cimport NEED_DATA, Framing, Input, claim, put_framed, take
from ..sealed cimport seal
from ..connection.transport cimport Transport

cdef extern from "<string.h>" nogil:
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)


cdef class LinesFraming(Framing):
    cdef bint keep_cr
    cdef bytes newline

    def __init__(self, codec):
        super().__init__(codec)
        self.keep_cr = codec.keep_cr
        self.newline = b"\r\n" if codec.newline == "crlf" else b"\n"

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at
        cdef Py_ssize_t size
        cdef char* start = input.at
        cdef char* end
        if held == input.searched:
            return NEED_DATA
        end = <char*>memchr(start + input.searched, c"\n", held - input.searched)
        size = held if end == NULL else end - start
        if size > self.limit and (size - self.limit > 1 or self.keep_cr or start[size - 1] != c"\r"):
            return self.decode(input)
        if end == NULL:
            input.searched = held
            return NEED_DATA
        if not self.keep_cr:
            while size > 0 and start[size - 1] == c"\r":
                size -= 1
        message = PyBytes_FromStringAndSize(start, size)
        input.at = end + 1
        input.searched = 0
        return message

    cdef bint put(self, Transport to, object message) except -1:
        cdef const char* data
        cdef char* place
        cdef Py_ssize_t size
        if not PyBytes_CheckExact(message):
            return False
        data = PyBytes_AS_STRING(message)
        size = PyBytes_GET_SIZE(message)
        if size > self.limit or (size and (memchr(data, c"\n", size) != NULL or (data[size - 1] == c"\r" and not self.keep_cr))):
            return False
        place = claim(to, size + PyBytes_GET_SIZE(self.newline))
        if place != NULL:
            memcpy(place, data, size)
            if PyBytes_GET_SIZE(self.newline) == 2:
                place[size] = c"\r"
                size += 1
            place[size] = c"\n"
        return True


cdef class TextFraming(LinesFraming):
    cdef bytes errors

    def __init__(self, codec):
        super().__init__(codec._lines)
        self.codec = codec
        self.errors = codec.errors.encode()

    cdef object cut(self, Input* input):
        cdef char* start = input.at
        line = LinesFraming.cut(self, input)
        if not PyBytes_CheckExact(line):  # none, or the codec's own
            return line
        try:
            return PyUnicode_DecodeUTF8(
                PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line), PyBytes_AS_STRING(self.errors)
            )
        except UnicodeDecodeError:
            input.at = start
        except BaseException:
            input.at = start
            raise
        return self.decode(input)

    cdef bint put(self, Transport to, object message) except -1:
        line = None
        if type(message) is not str:
            return False
        try:
            line = PyUnicode_AsUTF8String(message)
        except UnicodeEncodeError:  # the codec says what is wrong
            pass
        return line is not None and LinesFraming.put(self, to, line)


cdef class DelimitedFraming(Framing):
    cdef bytes delimiter
    cdef bint overlaps

    def __init__(self, codec):
        super().__init__(codec)
        self.delimiter = codec.delimiter
        self.overlaps = codec._overlaps

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at
        cdef Py_ssize_t width = PyBytes_GET_SIZE(self.delimiter)
        cdef Py_ssize_t size
        cdef char* start = input.at
        cdef char* end = <char*>memmem(
            start + input.searched, held - input.searched, PyBytes_AS_STRING(self.delimiter), width
        ) if held > input.searched else NULL
        size = held if end == NULL else end - start
        if size > self.limit:
            # It may not be too long yet: the delimiter may have begun. The codec knows.
            return self.decode(input)
        if end == NULL:
            input.searched = max(0, held - width + 1)
            return NEED_DATA
        message = PyBytes_FromStringAndSize(start, size)
        take(input, size + width)
        return message

    cdef bint put(self, Transport to, object message) except -1:
        cdef Py_ssize_t width = PyBytes_GET_SIZE(self.delimiter)
        # A delimiter that ends with its own beginning could also be found across the end of the message: the codec looks.
        if self.overlaps or not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) > self.limit:
            return False
        if memmem(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message), PyBytes_AS_STRING(self.delimiter), width) != NULL:
            return False
        return put_framed(to, b"", 0, message, PyBytes_AS_STRING(self.delimiter), width)


seal(globals())
