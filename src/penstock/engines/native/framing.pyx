"""Compiled framing of the built-in codecs: frames cut where they were received, replies framed where they are sent from.

Each one behaves as its Python codec, which stays in charge of everything that is rare: refusals, the rest at EOF, messages that
are not plain bytes. A codec without one here is called itself.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy, memmove

from .census cimport PENSTOCK_DEBUG, living

from ...codecs.base import NEED_DATA as _need_data
from ...codecs.base import Buffer
from ...codecs.delimited import Delimited
from ...codecs.fixed import Fixed
from ...codecs.length_prefixed import LengthPrefixed
from ...codecs.lines import Lines
from ...codecs.raw import Raw

NEED_DATA = _need_data

cdef extern from "<string.h>" nogil:
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)

# A length above this is refused whatever the limit; below it sums of lengths cannot overflow.
cdef uint64_t LARGEST = <uint64_t>1 << 56


cdef int feed(Input* input, const char* data, Py_ssize_t size) except -1:
    """Add bytes that came. Where nothing is waiting they stay where they are, until `keep`."""
    cdef Py_ssize_t held = input.end - input.at
    cdef Py_ssize_t wanted
    cdef char* block
    if held == 0:
        clear(input)
        input.at = <char*>data
        input.end = <char*>data + size
        return 0
    keep(input)
    if input.block + input.size - input.end < size:
        if input.at != input.block and 2 * (held + size) <= input.size:
            memmove(input.block, input.at, held)
        else:
            wanted = max(2 * held, held + size)
            block = <char*>malloc(wanted)
            if block == NULL:
                raise MemoryError
            memcpy(block, input.at, held)
            free(input.block)
            input.block = block
            input.size = wanted
        input.at = input.block
        input.end = input.at + held
    memcpy(input.end, data, size)
    input.end += size
    return 0


cdef int keep(Input* input) except -1:
    """Copy what is left out of the shared buffer; give back a block in which nothing is left."""
    cdef Py_ssize_t held = input.end - input.at
    cdef char* block
    if held == 0:
        clear(input)
    elif input.block == NULL:
        block = <char*>malloc(held)
        if block == NULL:
            raise MemoryError
        if PENSTOCK_DEBUG:
            living.blocks += 1
        memcpy(block, input.at, held)
        input.block = block
        input.size = held
        input.at = block
        input.end = block + held
    return 0


cdef void clear(Input* input) noexcept:
    """Forget what is left."""
    if input.block != NULL:
        free(input.block)
        input.block = NULL
        if PENSTOCK_DEBUG:
            living.blocks -= 1
    input.size = input.searched = 0
    input.at = input.end = NULL


cdef class Framing:
    """What one codec object does, for all its connections."""

    def __init__(self, codec):
        self.codec = codec
        self.limit = codec.max_frame_bytes

    cdef object cut(self, Input* input):
        """Take one message off the front: the message, or NEED_DATA.

        Raises:
            RemoteProtocolError: As the codec's ``decode``, of the same bytes.
        """
        return NEED_DATA

    cdef bint put(self, Transport to, object message) except -1:
        """Frame a message behind the output that is being gathered. Return whether it was done; if not, the codec does it."""
        return False

    cdef object decode(self, Input* input):
        """Let the codec say what is wrong with the frame at the front."""
        return self.codec.decode(Buffer(PyBytes_FromStringAndSize(input.at, input.end - input.at)))


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
        input.at = end + 1
        input.searched = 0
        return PyBytes_FromStringAndSize(start, size)

    cdef bint put(self, Transport to, object message) except -1:
        cdef const char* data
        cdef Py_ssize_t size
        if not PyBytes_CheckExact(message):
            return False
        data = PyBytes_AS_STRING(message)
        size = PyBytes_GET_SIZE(message)
        if size > self.limit or (size and (memchr(data, c"\n", size) != NULL or (data[size - 1] == c"\r" and not self.keep_cr))):
            return False
        to.gather(data, size)
        to.gather(PyBytes_AS_STRING(self.newline), PyBytes_GET_SIZE(self.newline))
        return True


cdef class RawFraming(Framing):
    cdef object cut(self, Input* input):
        cdef Py_ssize_t size = min(input.end - input.at, self.limit)
        if size == 0:
            return NEED_DATA
        input.at += size
        return PyBytes_FromStringAndSize(input.at - size, size)

    cdef bint put(self, Transport to, object message) except -1:
        if not PyBytes_CheckExact(message):
            return False
        to.gather(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        return True


cdef class FixedFraming(Framing):
    cdef Py_ssize_t size

    def __init__(self, codec):
        super().__init__(codec)
        self.size = codec.size

    cdef object cut(self, Input* input):
        if input.end - input.at < self.size:
            return NEED_DATA
        input.at += self.size
        return PyBytes_FromStringAndSize(input.at - self.size, self.size)

    cdef bint put(self, Transport to, object message) except -1:
        if not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) != self.size:
            return False
        to.gather(PyBytes_AS_STRING(message), self.size)
        return True


cdef class LengthFraming(Framing):
    cdef int size, offset, body_at
    cdef int64_t adjustment
    cdef bint little, whole

    def __init__(self, codec):
        super().__init__(codec)
        self.size = codec.size
        self.offset = codec.offset
        self.adjustment = codec.adjustment
        self.little = codec.byteorder == "little"
        self.whole = codec.header == "keep"
        self.body_at = self.offset + self.size

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at
        cdef const unsigned char* field
        cdef uint64_t length = 0
        cdef int64_t body
        cdef int index
        cdef char* start = input.at
        cdef Py_ssize_t kept = self.body_at if self.whole else 0
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
        input.at += self.body_at + body
        if self.whole:
            return PyBytes_FromStringAndSize(start, self.body_at + body)
        return PyBytes_FromStringAndSize(start + self.body_at, body)

    cdef bint put(self, Transport to, object message) except -1:
        cdef unsigned char field[8]
        cdef int64_t length
        cdef uint64_t rest
        cdef int index
        if self.whole or self.offset or not PyBytes_CheckExact(message) or PyBytes_GET_SIZE(message) > self.limit:
            return False
        length = PyBytes_GET_SIZE(message) - self.adjustment
        if length < 0 or (self.size < 8 and length >> 8 * self.size):
            return False
        rest = <uint64_t>length
        for index in range(self.size):
            field[index if self.little else self.size - 1 - index] = rest & 0xFF
            rest >>= 8
        to.gather(<const char*>field, self.size)
        to.gather(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        return True


cdef class DelimitedFraming(Framing):
    cdef bytes delimiter

    def __init__(self, codec):
        super().__init__(codec)
        self.delimiter = codec.delimiter

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
        input.at = end + width
        input.searched = 0
        return PyBytes_FromStringAndSize(start, size)


cdef Framing framing_of(object codec):
    """Return the compiled framing of a codec; None when there is none and the codec itself is to be called."""
    kind = type(codec)
    if kind is Lines:
        return LinesFraming(codec)
    if kind is Raw:
        return RawFraming(codec)
    if kind is LengthPrefixed and abs(codec.adjustment) < 1 << 31:
        return LengthFraming(codec)
    if kind is Delimited:
        return DelimitedFraming(codec)
    if kind is Fixed:
        return FixedFraming(codec)
    return None


def cut_all(codec, pieces):
    """Cut a stream that arrives in these pieces, for tests: the compiled framing beside the codec it stands for.

    Returns:
        The messages, the error that ended them or None, and the bytes that no message has taken.

    Raises:
        LookupError: The codec has no compiled framing.
    """
    cdef Framing framing = framing_of(codec)
    cdef Input input
    if framing is None:
        raise LookupError(codec.name)
    input.block = input.at = input.end = NULL
    input.size = input.searched = 0
    messages = []
    try:
        for piece in pieces:
            # The piece is overwritten as the shared buffer would be: no message may depend on it.
            received = bytearray(piece)
            _feed_bytearray(&input, received)
            try:
                while (message := framing.cut(&input)) is not NEED_DATA:
                    messages.append(message)
            except Exception as error:
                return messages, error, PyBytes_FromStringAndSize(input.at, input.end - input.at)
            keep(&input)
            received[:] = b"\xff" * len(received)
        return messages, None, PyBytes_FromStringAndSize(input.at, input.end - input.at)
    finally:
        clear(&input)


cdef int _feed_bytearray(Input* input, bytearray data) except -1:
    if len(data):
        feed(input, <const char*>data, len(data))
    return 0
