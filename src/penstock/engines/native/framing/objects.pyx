"""Frames of objects that another library reads and writes: struct, json-lines, msgpack. They are cut here, and their limits held.

The library is handed a copy of the frame: what it makes may refer to it. A message during whose writing output was paused is the
codec's: it is held to the hard limit.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.object cimport PyObject
from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.string cimport memchr

from .frames cimport NEED_DATA, Framing, Input, Progress, handed_over, pause, put_framed, resume
from ..sealed cimport seal
from ..connection.transport cimport Transport

from typing import Any

from ....codecs.msgpack_elements import whole_microseconds

cdef extern from "<string.h>" nogil:
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)



cdef class StructFraming(Framing):
    cdef object pack, unpack
    cdef Py_ssize_t fields

    def __init__(self, codec):
        super().__init__(codec)
        self.pack = codec._struct.pack
        self.unpack = codec._struct.unpack
        self.fields = codec._fields

    cdef object cut(self, Input* input):
        cdef char* start = input.at
        if input.end - start < self.limit:
            return NEED_DATA
        alive = self
        message = self.unpack(PyBytes_FromStringAndSize(start, self.limit))
        return handed_over(input, start, self.limit, message)

    cdef bint put(self, Transport to, object message) except -1:
        if type(message) is not tuple or len(<tuple>message) != self.fields:
            return False
        alive = self
        data = None
        fits = False
        try:
            data = self.pack(*<tuple>message)
            fits = self.unpack(data) == message
        except MemoryError:
            raise
        except Exception:  # the codec decides what it means
            pass
        if not fits or to._write_paused:
            return False
        return put_framed(to, b"", 0, data, b"", 0)


# -- JSON --------------------------------------------------------------------------------------------------------------


cdef class JsonLinesFraming(Framing):
    cdef object read, write
    cdef Py_ssize_t max_depth
    cdef bint typed

    def __init__(self, codec):
        super().__init__(codec)
        self.read = codec._decode
        self.write = codec._encode
        self.max_depth = codec.max_depth
        self.typed = codec.type is not Any

    cdef object cut(self, Input* input):
        cdef Py_ssize_t held = input.end - input.at
        cdef Py_ssize_t size
        cdef char* start = input.at
        cdef char* end
        if held == input.searched:
            return NEED_DATA
        end = <char*>memchr(start + input.searched, c"\n", held - input.searched)
        size = held if end == NULL else end - start
        if size > self.limit:
            return self.decode(input)
        if end == NULL:
            input.searched = held
            return NEED_DATA
        if deeper(start, size, self.max_depth):
            return self.decode(input)
        alive = self
        line = PyBytes_FromStringAndSize(start, size)
        message = NEED_DATA
        try:
            # What a type does not ask for, msgspec skips without a look at its encoding.
            if self.typed and not line.isascii():
                line.decode()
            message = self.read(line)
        except MemoryError:
            raise
        except Exception:  # the codec decides what it means
            pass
        return self.decode(input) if message is NEED_DATA else handed_over(input, start, size + 1, message)

    cdef bint put(self, Transport to, object message) except -1:
        cdef const char* data
        cdef Py_ssize_t size
        alive = self
        line = None
        try:
            line = self.write(message)
        except MemoryError:
            raise
        except Exception:  # the codec decides what it means
            pass
        if line is None:
            return False
        data = PyBytes_AS_STRING(line)
        size = PyBytes_GET_SIZE(line)
        if size > self.limit or memchr(data, c"\n", size) != NULL or deeper(data, size, self.max_depth):
            return False
        # A float that is no number is written as null.
        if memmem(data, size, b"null", 4) != NULL and not is_finite(message):
            return False
        if to._write_paused:
            return False
        return put_framed(to, b"", 0, line, b"\n", 1)


cdef bint deeper(const char* line, Py_ssize_t size, Py_ssize_t max_depth) noexcept:
    """As ``JsonLines._is_too_deep``: whether a parser that reads from the left would nest deeper than ``max_depth``."""
    cdef Py_ssize_t at, depth = 0, openings = 0
    cdef bint inside = False
    if size <= max_depth:
        return False
    for at in range(size):
        openings += line[at] == c"[" or line[at] == c"{"
    if openings <= max_depth:
        return False
    at = 0
    while at < size:
        if line[at] == c"\\" and at + 1 < size:
            at += 1
        elif line[at] == c'"':
            inside = not inside
        elif not inside:
            if line[at] == c"[" or line[at] == c"{":
                depth += 1
                if depth > max_depth:
                    return True
            elif line[at] == c"]" or line[at] == c"}":
                depth -= 1
        at += 1
    return False


cdef bint is_finite(object message) except -1:
    """Whether no float in the message is NaN or an infinity, as far as can be said at a look. It is not deep, and not a ring."""
    cdef PyObject* key
    cdef PyObject* value
    cdef Py_ssize_t at = 0
    kind = type(message)
    if message is None or kind is str or kind is int or kind is bool:
        return True
    if kind is float:
        return isfinite(<double>message)
    if kind is list:
        for item in <list>message:
            if not is_finite(item):
                return False
        return True
    if kind is dict:
        while PyDict_Next(message, &at, &key, &value):
            if type(<object>key) is not str or not is_finite(<object>value):
                return False
        return True
    return False


# -- MessagePack -------------------------------------------------------------------------------------------------------


cdef class MsgpackFraming(Framing):
    cdef object read, write
    cdef int max_depth
    cdef bint array_keys

    def __init__(self, codec):
        super().__init__(codec)
        self.read = codec._decode
        self.write = codec._encode
        self.max_depth = codec.max_depth
        self.array_keys = codec.array_keys

    cdef object cut(self, Input* input):
        cdef Progress progress
        cdef char* start = input.at
        cdef Py_ssize_t held = input.end - start
        if held == 0:
            return NEED_DATA
        resume(input, &progress)
        if not skim(<const unsigned char*>start, held, &progress, self.limit, self.max_depth, self.array_keys):
            return self.decode(input)
        if progress.owed or progress.at > held:
            pause(input, &progress)
            return NEED_DATA
        alive = self
        frame = PyBytes_FromStringAndSize(start, progress.at)
        if progress.wanted:
            frame = whole_microseconds(frame)
        message = NEED_DATA
        try:
            message = self.read(frame)
        except MemoryError:
            raise
        except Exception:  # the codec decides what it means
            pass
        return self.decode(input) if message is NEED_DATA else handed_over(input, start, progress.at, message)

    cdef bint put(self, Transport to, object message) except -1:
        cdef Progress progress
        alive = self
        frame = None
        try:
            frame = self.write(message)
        except MemoryError:
            raise
        except Exception:  # the codec decides what it means
            pass
        if frame is None or PyBytes_GET_SIZE(frame) > self.limit or to._write_paused:
            return False
        progress.at = progress.wanted = progress.depth = 0
        progress.owed = 1
        if not skim(
            <const unsigned char*>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), &progress, self.limit, self.max_depth,
            self.array_keys,
        ):
            return False
        return put_framed(to, b"", 0, frame, b"", 0)


cdef bint skim(
    const unsigned char* data, Py_ssize_t size, Progress* progress, Py_ssize_t limit, int max_depth, bint array_keys
) noexcept:
    """Look for the end of one object, as ``Msgpack._find_end``. Return False where the codec would refuse it.

    ``progress.wanted`` says whether it may hold a timestamp with nanoseconds.
    The object is whole when nothing is owed and ``progress.at`` is not beyond ``size``.
    """
    cdef Py_ssize_t at = progress.at
    cdef int64_t owed = progress.owed
    cdef int depth = progress.depth
    cdef int64_t step, count
    cdef int width, each, byte
    cdef bint is_map
    cdef unsigned char first
    while owed and at < size:
        first = data[at]
        count = -1
        width = each = 0
        is_map = False
        step = 1
        if first < 0x80 or first >= 0xE0 or first == 0xC0 or first == 0xC2 or first == 0xC3:
            pass
        elif first < 0xA0:
            is_map = first < 0x90
            count = (first & 0x0F) << is_map
        elif first < 0xC0:
            step += first - 0xA0
        elif first == 0xC1:
            return False
        elif first < 0xC7:  # bin
            width = 1 << first - 0xC4
        elif first < 0xCA:  # ext
            progress.wanted |= first == 0xC7
            width = 1 << first - 0xC7
            step += 1
        elif first < 0xCC:  # float
            step += 4 << first - 0xCA
        elif first < 0xD0:  # uint
            step += 1 << first - 0xCC
        elif first < 0xD4:  # int
            step += 1 << first - 0xD0
        elif first < 0xD9:  # fixext
            progress.wanted |= first == 0xD7
            step += 1 + (1 << first - 0xD4)
        elif first < 0xDC:  # str
            width = 1 << first - 0xD9
        else:
            is_map = first >= 0xDE
            each = 1 + is_map
            width = 4 if first & 1 else 2
        if width:
            if at + 1 + width > size:
                break
            count = 0
            for byte in range(width):
                count = count << 8 | data[at + 1 + byte]
            step += width
            if each:
                count *= each
            else:
                step += count
                count = -1
        if count >= 0:
            if depth >= max_depth:
                return False
            if not is_map and not array_keys and depth and progress.open[depth - 1] < 0 and progress.open[depth - 1] % 2 == 0:
                return False
        at += step
        owed -= 1
        if count > 0:
            owed += count
            progress.open[depth] = -count if is_map else count
            depth += 1
        else:
            while depth:
                progress.open[depth - 1] += 1 if progress.open[depth - 1] < 0 else -1
                if progress.open[depth - 1]:
                    break
                depth -= 1
        if at + owed > limit:
            return False
    progress.at = at
    progress.owed = owed
    progress.depth = depth
    return True


seal(globals())
