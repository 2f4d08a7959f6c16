"""Frames of bytes whose size is known before they are there: raw, fixed, length-prefixed, varint, netstring."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from .frames cimport NEED_DATA, Framing, Input, put_framed, write_decimal
from ..sealed cimport seal
from ..connection.transport cimport Transport

# A length above this is refused whatever the limit; below it sums of lengths cannot overflow.
cdef uint64_t LARGEST = <uint64_t>1 << 56

cdef enum:
    MOST_HEADER = 1024  # `headers.MAX_OFFSET_BYTES`


cdef class RawFraming(Framing):
    cdef object cut(self, Input* input):
        cdef Py_ssize_t size = min(input.end - input.at, self.limit)
        if size == 0:
            return NEED_DATA
        message = PyBytes_FromStringAndSize(input.at, size)
        input.at += size
        return message

    cdef bint put(self, Transport to, object message) except -1:
        return PyBytes_CheckExact(message) and put_framed(to, b"", 0, message, b"", 0)


cdef class FixedFraming(Framing):
    cdef Py_ssize_t size

    def __init__(self, codec):
        super().__init__(codec)
        self.size = codec.size

    cdef object cut(self, Input* input):
        if input.end - input.at < self.size:
            return NEED_DATA
        message = PyBytes_FromStringAndSize(input.at, self.size)
        input.at += self.size
        return message

    cdef bint put(self, Transport to, object message) except -1:
        if not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) != self.size:
            return False
        return put_framed(to, b"", 0, message, b"", 0)


cdef class LengthFraming(Framing):
    cdef int size, offset, body_at
    cdef int64_t adjustment
    cdef bint little, whole, splits

    def __init__(self, codec):
        super().__init__(codec)
        self.size = codec.size
        self.offset = codec.offset
        self.adjustment = codec.adjustment
        self.little = codec.byteorder == "little"
        self.whole = codec._message_at == 0
        self.splits = codec._splits
        self.body_at = self.offset + self.size

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at
        cdef const unsigned char* field
        cdef uint64_t length = 0
        cdef int64_t body
        cdef int index
        cdef char* start = input.at
        cdef Py_ssize_t kept = self.body_at if self.whole else self.offset if self.splits else 0
        if held < self.body_at:
            return NEED_DATA
        field = <const unsigned char*>start + self.offset
        for index in range(self.size):
            length = length << 8 | field[self.size - 1 - index if self.little else index]
        if length > LARGEST:
            return self.decode(input)
        body = <int64_t>length + self.adjustment
        if body < 0 or body > self.limit - kept:
            return self.decode(input)
        if held - self.body_at < body:
            return NEED_DATA
        if self.splits:
            message = (
                PyBytes_FromStringAndSize(start, self.offset), PyBytes_FromStringAndSize(start + self.body_at, body)
            )
        else:
            message = PyBytes_FromStringAndSize(start + self.body_at - kept, kept + body)
        input.at += self.body_at + body
        return message

    cdef bint put(self, Transport to, object message) except -1:
        cdef unsigned char head[MOST_HEADER + 8]
        cdef unsigned char* field = head
        cdef int64_t length
        cdef uint64_t rest
        cdef int index
        body = message
        if self.splits:
            body = split_off(<char*>head, message, self.offset, self.limit)
            if body is None:
                return False
            field += self.offset
        elif self.whole or self.offset or not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) > self.limit:
            return False
        length = PyBytes_GET_SIZE(body) - self.adjustment
        if length < 0 or (self.size < 8 and length >> 8 * self.size):
            return False
        rest = <uint64_t>length
        for index in range(self.size):
            field[index if self.little else self.size - 1 - index] = rest & 0xFF
            rest >>= 8
        return put_framed(to, <const char*>head, field - head + self.size, body, b"", 0)


cdef bytes split_off(char* head, object message, Py_ssize_t size, Py_ssize_t limit):
    """Copy the header of a message that is one and a body, and return the body; None where the codec is to look at it."""
    if not PyTuple_CheckExact(message) or PyTuple_GET_SIZE(message) != 2:
        return None
    header, body = <tuple>message
    if not PyBytes_CheckExact(header) or not PyBytes_CheckExact(body) or PyBytes_GET_SIZE(header) != size:
        return None
    if PyBytes_GET_SIZE(body) > limit - size:
        return None
    memcpy(head, PyBytes_AS_STRING(header), size)
    return body


cdef class VarintFraming(Framing):
    cdef int offset
    cdef bint splits

    def __init__(self, codec):
        super().__init__(codec)
        self.offset = codec.offset
        self.splits = codec._splits

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at - self.offset
        cdef const unsigned char* start = <const unsigned char*>input.at + self.offset
        cdef uint64_t length = 0
        cdef int width = 0
        while True:
            if width >= held:
                return NEED_DATA
            if width == 9:
                return self.decode(input)  # far over any limit, or no varint: the codec knows which, and whether yet
            length |= <uint64_t>(start[width] & 0x7F) << 7 * width
            width += 1
            if start[width - 1] < 0x80:
                break
        if length > <uint64_t>(self.limit - (self.offset if self.splits else 0)) or (width > 1 and start[width - 1] == 0):
            return self.decode(input)
        if held - width < <Py_ssize_t>length:
            return NEED_DATA
        message = PyBytes_FromStringAndSize(<const char*>start + width, <Py_ssize_t>length)
        if self.splits:
            message = PyBytes_FromStringAndSize(input.at, self.offset), message
        input.at += self.offset + width + <Py_ssize_t>length
        return message

    cdef bint put(self, Transport to, object message) except -1:
        cdef unsigned char head[MOST_HEADER + 10]
        cdef uint64_t rest
        cdef int width = 0
        body = message
        if self.splits:
            body = split_off(<char*>head, message, self.offset, self.limit)
            if body is None:
                return False
            width = self.offset
        elif self.offset or not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) > self.limit:
            return False
        rest = <uint64_t>PyBytes_GET_SIZE(body)
        while rest > 0x7F:
            head[width] = rest & 0x7F | 0x80
            rest >>= 7
            width += 1
        head[width] = <unsigned char>rest
        return put_framed(to, <const char*>head, width + 1, body, b"", 0)


cdef class NetstringFraming(Framing):
    cdef Py_ssize_t max_digits

    def __init__(self, codec):
        super().__init__(codec)
        self.max_digits = codec._max_digits

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at
        cdef const char* start = input.at
        cdef uint64_t length = 0
        cdef Py_ssize_t digits = 0, body
        while digits < held and c"0" <= start[digits] <= c"9":
            # One digit too many is refused, and so is a zero that leads another.
            if digits == self.max_digits or (digits == 1 and start[0] == c"0"):
                return self.decode(input)
            length = 10 * length + <uint64_t>(start[digits] - c"0")
            digits += 1
        if digits == held:
            return NEED_DATA
        if start[digits] != c":" or digits == 0 or length > <uint64_t>self.limit:
            return self.decode(input)
        body = <Py_ssize_t>length
        if held - digits - 1 <= body:
            return NEED_DATA
        if start[digits + 1 + body] != c",":
            return self.decode(input)
        message = PyBytes_FromStringAndSize(start + digits + 1, body)
        input.at += digits + body + 2
        return message

    cdef bint put(self, Transport to, object message) except -1:
        cdef char head[21]
        cdef Py_ssize_t size
        if not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) > self.limit:
            return False
        size = write_decimal(head, PyBytes_GET_SIZE(message))
        head[size] = c":"
        return put_framed(to, head, size + 1, message, b",", 1)


seal(globals())
