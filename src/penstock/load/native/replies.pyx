"""Replies, counted in what a server sends.

They are compared with the reply before them, for a frame of the same bytes is the same message, whatever the codec. Only what
differs is decoded.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcmp

from ...engines.native.census cimport PENSTOCK_DEBUG, living
from ...engines.native.framing.frames cimport NEED_DATA, clear, feed, keep
from ...engines.native.framing.frames cimport take as take_frame
from ...engines.native.framing.choice cimport framing_of
from ...engines.native.sealed cimport seal

from ...core.inbound import StreamInbound

cdef enum:
    BATCH = 1024


cdef void forget(Partial* partial) noexcept:
    """Expect a new reply: the connection is another one."""
    cdef PyObject* inbound = partial.inbound
    clear(&partial.input)
    partial.have = 0
    partial.wrong = False
    partial.inbound = NULL
    if PENSTOCK_DEBUG:
        living.references -= inbound != NULL
    Py_XDECREF(inbound)


cdef class Replies:
    """Counts the replies of one run.

    Args:
        load: A `penstock.load.load.Load`.
    """

    # found: how many have come since the user of this class set it to 0.
    # wrong: how many of these are not what was sent.
    # known: the latest frame or record; None before the first one.

    def __init__(self, load):
        self.codec = load.codec
        self.message = load.message
        self.expect_echo = load.expect_echo

    cdef int take(self, Partial* partial, char* data, Py_ssize_t size) except -1:
        """Count what has come on one connection.

        Raises:
            RemoteProtocolError: What follows those that were counted is no reply.
        """
        return 0

    cdef int64_t same(self, const char* data, Py_ssize_t size) noexcept:
        """Count the frames at the front that are the latest one over again; return how many."""
        cdef Py_ssize_t known_size
        cdef const char* known
        cdef int64_t count = 0
        if self.known is None:
            return 0
        known = PyBytes_AS_STRING(self.known)
        known_size = PyBytes_GET_SIZE(self.known)
        while size >= known_size and memcmp(data, known, known_size) == 0:
            data += known_size
            size -= known_size
            count += 1
        self.found += count
        if self.known_wrong:
            self.wrong += count
        return count

    cdef int learn(self, bytes frame, object message) except -1:
        """Count a frame that was decoded."""
        self.known = frame
        self.known_wrong = self.expect_echo and message != self.message
        self.found += 1
        self.wrong += self.known_wrong
        return 0


cdef class FramedReplies(Replies):
    """Of a codec that has a compiled framing."""

    cdef Framing framing

    cdef int take(self, Partial* partial, char* data, Py_ssize_t size) except -1:
        cdef Input* input = &partial.input
        cdef int64_t count
        cdef char* start
        cdef Framing framing = self.framing
        feed(input, data, size)
        while input.at < input.end:
            count = self.same(input.at, input.end - input.at)
            if count:
                take_frame(input, count * PyBytes_GET_SIZE(self.known))
                continue
            start = input.at
            message = framing.cut(input)
            if message is NEED_DATA:
                break
            self.learn(PyBytes_FromStringAndSize(start, input.at - start), message)
        keep(input)
        return 0


cdef class DecodedReplies(Replies):
    """Of a codec that has none."""

    cdef int take(self, Partial* partial, char* data, Py_ssize_t size) except -1:
        cdef char* end = data + size
        cdef int64_t count
        cdef bint learnt = False
        if partial.inbound == NULL:
            inbound = StreamInbound(self.codec)
            Py_INCREF(inbound)
            partial.inbound = <PyObject*>inbound
            if PENSTOCK_DEBUG:
                living.references += 1
        inbound = <object>partial.inbound
        while data < end and not inbound.pending_bytes:
            count = self.same(data, end - data)
            if count:
                data += count * PyBytes_GET_SIZE(self.known)
                continue
            if learnt:
                break  # they differ: it takes less to decode them many at once
            messages, taken = self.codec.decode_many(PyBytes_FromStringAndSize(data, end - data), 1)
            if not messages:
                break
            self.learn(PyBytes_FromStringAndSize(data, taken), messages[0])
            data += <Py_ssize_t>taken
            learnt = True
        if data < end:
            inbound.feed(PyBytes_FromStringAndSize(data, end - data))
            while messages := inbound.take(BATCH):
                self.found += len(messages)
                if self.expect_echo:
                    self.wrong += sum([message != self.message for message in messages])
        return 0


cdef class RecordReplies(Replies):
    """Of datagrams, and of records of seqpacket sockets: each is one."""

    cdef int take(self, Partial* partial, char* data, Py_ssize_t size) except -1:
        cdef bytes record
        if self.known is not None and PyBytes_GET_SIZE(self.known) == size and (
            memcmp(PyBytes_AS_STRING(self.known), data, size) == 0
        ):
            self.found += 1
            self.wrong += self.known_wrong
            return 0
        record = PyBytes_FromStringAndSize(data, size)
        return self.learn(record, self.codec.decode_datagram(record))


cdef class RawReplies(Replies):
    """Of bytes without bounds: each is as long as the request, which `known` is here."""

    cdef int take(self, Partial* partial, char* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t whole = PyBytes_GET_SIZE(self.known)
        cdef Py_ssize_t have = partial.have
        cdef Py_ssize_t part
        self.found += (have + size) // whole
        partial.have = (have + size) % whole
        while self.expect_echo and size > 0:
            part = min(size, whole - have)
            if memcmp(data, PyBytes_AS_STRING(self.known) + have, part):
                partial.wrong = True
            data += part
            size -= part
            have += part
            if have == whole:
                self.wrong += partial.wrong
                partial.wrong = False
                have = 0
        return 0


cdef Replies replies_of(object load):
    """Return what counts the replies of a load."""
    cdef Replies replies
    cdef FramedReplies framed
    cdef Framing framing
    if load.is_records:
        return RecordReplies(load)
    if load.is_raw:
        replies = RawReplies(load)
        replies.known = load.frame
        return replies
    framing = framing_of(load.codec)
    if framing is None:
        return DecodedReplies(load)
    framed = FramedReplies(load)
    framed.framing = framing
    return framed


seal(globals())
