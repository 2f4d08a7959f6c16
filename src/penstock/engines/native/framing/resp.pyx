"""RESP, read where it was received: `codecs.resp.frames` and `codecs.resp.parse` in one place, commands in one pass."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from libc.string cimport memchr

from .frames cimport NEED_DATA, Framing, Input, Progress, handed_over, pause, resume
from .resp_write cimport put_value
from ..sealed cimport seal
from ..connection.transport cimport Transport

from ....codecs.resp.codec import MAX_INLINE_BYTES as _max_inline_bytes
from ....codecs.resp.frames import SCALARS
from ....codecs.resp.parse import make_map, make_set, parse_scalar, parse_verbatim, require_keys, split_inline
from ....codecs.resp.values import Attributed, ErrorReply, Push, SimpleString
from ....errors import RemoteProtocolError

cdef enum Kind:
    UNKNOWN
    SCALAR
    SIMPLE
    BLOB
    CONTAINER

# By first byte.
cdef Kind kinds[256]
# Of scalars: the most characters their line may have after the first byte.
cdef int scalar_chars[256]

cdef enum:
    MAX_LENGTH_CHARS = 20  # signed 64 bits; no canonical length or count has more
    MIN_ELEMENT_BYTES = 3  # a type byte, CR and LF
    MIN_ARGUMENT_BYTES = 6  # a bulk string with nothing in it

cdef Py_ssize_t MAX_INLINE_BYTES = _max_inline_bytes
# A length above this is over every limit; below it sums of lengths cannot overflow.
cdef int64_t LARGEST = <int64_t>1 << 56


cdef int set_kinds() except -1:
    cdef unsigned char first
    for kind, types in ((SIMPLE, "+-"), (BLOB, "$!="), (CONTAINER, "*~>%|"), (SCALAR, map(chr, SCALARS))):
        for each in types:
            first = ord(each)
            kinds[first] = kind
            scalar_chars[first] = SCALARS.get(first, 0)
    return 0


set_kinds()


cdef class RespFraming(Framing):
    cdef int max_depth
    cdef bint inline_commands, resp3

    def __init__(self, codec):
        super().__init__(codec)
        self.max_depth = codec.max_depth
        self.inline_commands = codec.inline
        self.resp3 = codec.protocol == 3

    cdef object cut(self, Input* input):
        cdef unsigned char first
        if not self.inline_commands:
            return self.cut_value(input)
        alive = self
        while True:
            first = <unsigned char>input.at[0] if input.at != input.end else 0
            message = self.cut_value(input)
            # A command without a word is passed over, as ``codecs.resp.codec.says_something`` has it.
            if message is NEED_DATA or message or (kinds[first] != UNKNOWN and first != c"*"):
                return message

    cdef object cut_value(self, Input* input):
        cdef Progress progress
        cdef char* start = input.at
        cdef Py_ssize_t held = input.end - start
        cdef Py_ssize_t size = 0
        cdef const char* at
        if held == 0:
            return NEED_DATA
        alive = self
        if start[0] == c"*" and input.searched == 0:
            message = command(input, &size)
            if input.at != start:
                return NEED_DATA
            if 0 < size <= self.limit:
                input.at += size
                return message
        if self.inline_commands and kinds[<unsigned char>start[0]] == UNKNOWN:
            return self.cut_inline(input, held)
        resume(input, &progress)
        if not find_end(start, held, &progress, self.limit, self.max_depth):
            return self.decode(input)
        if progress.owed:
            pause(input, &progress)
            return NEED_DATA
        frame = PyBytes_FromStringAndSize(start, progress.at)
        at = PyBytes_AS_STRING(frame)
        message = NEED_DATA
        try:
            message = value(&at)
        except (RemoteProtocolError, TypeError):
            pass
        return self.decode(input) if message is NEED_DATA else handed_over(input, start, progress.at, message)

    cdef object cut_inline(self, Input* input, Py_ssize_t held):
        cdef Py_ssize_t most = min(self.limit, MAX_INLINE_BYTES)
        cdef char* start = input.at
        cdef char* end = <char*>memchr(start + input.searched, c"\n", min(held, most) - input.searched)
        if end == NULL:
            if held >= most:
                return self.decode(input)
            input.searched = held
            return NEED_DATA
        message = NEED_DATA
        try:
            message = split_inline(PyBytes_FromStringAndSize(start, end + 1 - start))
        except RemoteProtocolError:
            pass
        return self.decode(input) if message is NEED_DATA else handed_over(input, start, end + 1 - start, message)

    cdef bint put(self, Transport to, object message) except -1:
        return put_value(to, message, self.limit, self.max_depth, self.resp3)


# -- commands ----------------------------------------------------------------------------------------------------------


cdef object command(Input* input, Py_ssize_t* taken):
    """Read an array of bulk strings that is there as a whole.

    Returns:
        The list, and in ``taken`` its size in bytes; 0 where it is anything else.
    """
    cdef char* start = input.at
    cdef const char* at = start + 1
    cdef const char* end = input.end
    cdef int64_t count, size, index
    count = read_count(&at, end)
    if count < 0 or count > (end - at) // MIN_ARGUMENT_BYTES:
        return None
    arguments = PyList_New(count)
    if input.at != start:  # of all that is made here, only the list may let other code run
        return None
    for index in range(count):
        if at == end or at[0] != c"$":
            return None
        at += 1
        size = read_count(&at, end)
        if size < 0 or end - at < size + 2 or at[size] != c"\r" or at[size + 1] != c"\n":
            return None
        argument = PyBytes_FromStringAndSize(at, size)
        Py_INCREF(argument)
        PyList_SET_ITEM(arguments, index, argument)
        at += size + 2
    taken[0] = at - start
    return arguments


cdef inline int64_t read_count(const char** at, const char* end) noexcept:
    """Read a length in its canonical form and the CRLF after it; -1 where they are not there."""
    cdef const char* start = at[0]
    cdef const char* here = start
    cdef int64_t count = 0
    while here < end and c"0" <= here[0] <= c"9":
        count = 10 * count + (here[0] - c"0")
        here += 1
        if count > LARGEST:
            return -1
    if here == start or end - here < 2 or here[0] != c"\r" or here[1] != c"\n" or (start[0] == c"0" and here - start > 1):
        return -1
    at[0] = here + 2
    return count


# -- any value ---------------------------------------------------------------------------------------------------------


cdef bint find_end(const char* data, Py_ssize_t size, Progress* progress, Py_ssize_t limit, int max_depth) noexcept:
    """Look for the end of one value, as `codecs.resp.frames.find_end`. Return False where it would be refused.

    The value is whole when nothing is owed; ``progress.at`` is its end then.
    """
    cdef Py_ssize_t last, end
    cdef const char* line
    cdef const char* line_end
    cdef int64_t length, count
    cdef Kind kind
    cdef unsigned char first
    while progress.owed and progress.at < size and progress.wanted <= size:
        first = <unsigned char>data[progress.at]
        kind = kinds[first]
        if kind == UNKNOWN:
            return False
        # Two bounds on where this line's LF may stand: its type's, and the frame's with all that is still to come.
        last = progress.at + 2 + (limit if kind == SIMPLE else scalar_chars[first] if kind == SCALAR else MAX_LENGTH_CHARS)
        last = min(last, limit - (progress.owed - 1) * MIN_ELEMENT_BYTES - 1)
        end = min(size, last + 1)
        line_end = <const char*>memchr(data + progress.search, c"\n", end - progress.search) if end > progress.search else NULL
        if line_end == NULL:
            progress.search = size
            progress.wanted = 0
            return size <= last
        if (line_end - 1)[0] != c"\r":
            return False
        line = data + progress.at + 1
        end = line_end + 1 - data
        count = 0
        if kind == SIMPLE:
            if memchr(line, c"\r", line_end - 1 - line) != NULL:
                return False
        elif kind != SCALAR:
            length = read_length(line, line_end - 1, first == c"$" or first == c"*")
            if length < -1:
                return False
            if kind == BLOB:
                if length >= 0:
                    end += length + 2
                    if end + (progress.owed - 1) * MIN_ELEMENT_BYTES > limit:
                        return False
                    if end > size:
                        progress.search = progress.at
                        progress.wanted = end
                        return True
                    if data[end - 2] != c"\r" or data[end - 1] != c"\n":
                        return False
            else:
                if first == c">" and progress.at:
                    return False
                if length >= 0:
                    if progress.depth >= max_depth:
                        return False
                    # An attribute is followed by its value.
                    count = 2 * length + (first == c"|") if first == c"%" or first == c"|" else length
        progress.at = progress.search = end
        progress.wanted = 0
        progress.owed += count - 1
        if end + progress.owed * MIN_ELEMENT_BYTES > limit:
            return False
        if count:
            progress.open[progress.depth] = count
            progress.depth += 1
        else:
            while progress.depth:
                progress.open[progress.depth - 1] -= 1
                if progress.open[progress.depth - 1]:
                    break
                progress.depth -= 1
    return True


cdef int64_t read_length(const char* line, const char* end, bint nullable) noexcept:
    """Read a line that is a length or count: -1 for the null of RESP2, -2 for what is refused."""
    cdef const char* here = line
    cdef int64_t length = 0
    if nullable and end - line == 2 and line[0] == c"-" and line[1] == c"1":
        return -1
    if here == end or (line[0] == c"0" and end - line > 1):
        return -2
    while here < end:
        if not c"0" <= here[0] <= c"9" or length > LARGEST:
            return -2
        length = 10 * length + (here[0] - c"0")
        here += 1
    return -2 if length > LARGEST else length


cdef object value(const char** at):
    """Make the value that stands here, whole and with its frames right, and go behind it.

    Raises:
        BadPayloadError, TypeError: It is refused; why, the codec says.
    """
    cdef const char* line = at[0] + 1
    cdef unsigned char first = <unsigned char>at[0][0]
    cdef int64_t count, index
    if kinds[first] == SCALAR or kinds[first] == SIMPLE:
        return line_value(at)
    if line[0] == c"-":
        at[0] += 5  # null: $-1 or *-1
        return None
    count = 0
    while line[0] != c"\r":
        count = 10 * count + (line[0] - c"0")
        line += 1
    at[0] = line + 2
    if kinds[first] == BLOB:
        blob = PyBytes_FromStringAndSize(at[0], count)
        at[0] += count + 2
        return blob if first == c"$" else ErrorReply(blob) if first == c"!" else parse_verbatim(blob)
    if first == c"%":
        return entries(at, count)
    if first == c"|":
        attributes = entries(at, count)
        return Attributed(value(at), attributes)
    items = []
    for index in range(count):
        items.append(value(at))
    return items if first == c"*" else Push(items) if first == c">" else make_set(items)


cdef object entries(const char** at, int64_t count):
    cdef int64_t index
    cdef list pairs
    made = {}
    pairs = None
    for index in range(count):
        key = value(at)
        if type(key) is not bytes and pairs is None:  # bytes alone are equal to nothing that is not the same
            pairs = list(made.items())
        if pairs is None:
            made[key] = value(at)
        else:
            if type(key) is not SimpleString:
                require_keys((key,))
            pairs.append((key, value(at)))
    return made if pairs is None else make_map(pairs)


cdef object line_value(const char** at):
    """Make a value that is one line."""
    cdef const char* line = at[0] + 1
    cdef const char* end = line
    cdef unsigned char first = <unsigned char>at[0][0]
    cdef int64_t integer = 0
    if first == c":":
        # Up to 18 digits without a sign; all else in Python.
        while c"0" <= end[0] <= c"9" and end - line < 18:
            integer = 10 * integer + (end[0] - c"0")
            end += 1
        if end[0] == c"\r" and end[1] == c"\n" and end > line and (line[0] != c"0" or end - line == 1):
            at[0] = end + 2
            return integer
    while end[0] != c"\n":
        end += 1
    at[0] = end + 1
    text = PyBytes_FromStringAndSize(line, end - 1 - line)
    if first == c"+":
        return SimpleString(text)
    if first == c"-":
        return ErrorReply(text)
    return parse_scalar(bytes((first,)), text)


seal(globals())
