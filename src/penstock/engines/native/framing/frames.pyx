"""Bytes that no message has taken yet, and what cuts messages off them.

A framing behaves as its Python codec, which stays in charge of everything that is rare: refusals, the rest at EOF, messages that
are not plain bytes. A frame that has not wholly arrived is remembered in its connection's `Input`, never in the framing.

Code that is not ours may run whenever an object is made that the garbage collector watches, a library reads or writes, or the codec
is called: it can close the connection, which clears the input, or give it another codec, which may free the framing. Whoever lets
it run keeps the framing alive, holds no pointer meanwhile, and looks again afterwards (`handed_over`). To make bytes is safe.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

from ..census cimport PENSTOCK_DEBUG, living
from ..sealed cimport seal

from ....codecs.base import NEED_DATA as _need_data
from ....codecs.base import Buffer

NEED_DATA = _need_data


# -- input -------------------------------------------------------------------------------------------------------------


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
    take(input, 0)
    input.size = 0
    input.at = input.end = NULL


cdef void take(Input* input, Py_ssize_t size) noexcept:
    """Take a frame of so many bytes off the front, and forget how it was searched."""
    input.at += size
    input.searched = 0
    if input.progress != NULL:
        free(input.progress)
        input.progress = NULL
        if PENSTOCK_DEBUG:
            living.blocks -= 1


cdef object handed_over(Input* input, char* start, Py_ssize_t size, object message):
    """Take a frame of so many bytes at ``start`` and return its message: NEED_DATA if the input was cleared meanwhile."""
    if input.at != start:
        return NEED_DATA
    take(input, size)
    return message


cdef void resume(Input* input, Progress* progress) noexcept:
    """Give back what `pause` was given; without that, the progress of who begins."""
    cdef Progress* kept = input.progress
    if input.searched == 0 or kept == NULL:
        progress.at = progress.search = progress.wanted = 0
        progress.owed = 1
        progress.depth = 0
    else:
        memcpy(progress, kept, _size_of(kept.depth))


cdef int pause(Input* input, Progress* progress) except -1:
    """Keep the progress until more bytes have come."""
    cdef Progress* kept = input.progress
    cdef size_t size = _size_of(progress.depth)
    if kept == NULL or kept.depth < progress.depth:
        kept = <Progress*>malloc(size)
        if kept == NULL:
            raise MemoryError
        if PENSTOCK_DEBUG:
            living.blocks += input.progress == NULL
        free(input.progress)
        input.progress = kept
    memcpy(kept, progress, size)
    input.searched = input.end - input.at
    return 0


cdef inline size_t _size_of(int depth) noexcept:
    return sizeof(Progress) - (MAX_DEPTH - depth) * sizeof(int64_t)


# -- framing -----------------------------------------------------------------------------------------------------------


cdef class Framing:
    """What one codec object does, for all its connections."""

    def __init__(self, codec):
        self.codec = codec
        self.limit = codec.max_frame_bytes

    cdef object cut(self, Input* input):
        """Take one message off the front: the message, or NEED_DATA.

        Raises:
            RemoteProtocolError: As the codec's ``decode``, of the same bytes. They stay where they are.
        """
        return NEED_DATA

    cdef bint put(self, Transport to, object message) except -1:
        """Frame a message behind the output that is being gathered. Return whether it was done; if not, the codec does it."""
        return False

    cdef object decode(self, Input* input):
        """Let the codec do it, or say what is wrong with the frame at the front."""
        cdef char* start = input.at
        cdef Py_ssize_t held = input.end - start
        data = PyBytes_FromStringAndSize(start, held)
        codec = self.codec
        buffer = Buffer(data)
        try:
            message = codec.decode(buffer)
            if message is NEED_DATA and len(buffer) == held:
                return NEED_DATA
            return handed_over(input, start, held - len(buffer), message)  # or without a message: a codec may skip
        finally:
            buffer.clear()  # the traceback of a refusal refers to it


cdef Py_ssize_t write_decimal(char* to, int64_t value) noexcept:
    """Write a number in digits, 20 bytes at most; return how many."""
    cdef char digits[20]
    cdef uint64_t rest = <uint64_t>value if value >= 0 else 0 - <uint64_t>value
    cdef Py_ssize_t size = 0, at = 0
    while True:
        digits[size] = <char>(c"0" + rest % 10)
        size += 1
        rest //= 10
        if rest == 0:
            break
    if value < 0:
        to[0] = c"-"
        at = 1
    while size:
        size -= 1
        to[at] = digits[size]
        at += 1
    return at


seal(globals())
