"""What stands between a connection and a reader and writer of asyncio: what a read asks for is cut from what came, without a coroutine.

Only what most reads ask for is done here: a line, bytes to a separator, a number of bytes, whatever there is, where it is there or
comes with the next bytes; and that output has room. The rest is a rare reader's, in Python, that is asyncio's own: it is given what
is left here, and has to have handed it on before anything is done here again.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memchr

from .contexts cimport Py_REFCNT
from .feed cimport written
from ..sealed cimport seal
from .step cimport (
    AWAITING, become_awaitable, FINISHED, FRESH, PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN, PyIter_Send, PySendResult, send_to_step, STOP,
    YIELDING,
)

from ....errors import BrokenError, ClosedError, EndOfStreamError, LocalProtocolError

cdef extern from *:
    """
    /* Method descriptors of a base, as a type's own: the interpreter calls one at once only where it is of that very type. */
    static int penstock_own_methods(PyObject *kind, PyObject *base)
    {
        PyObject *name, *method;
        Py_ssize_t at = 0;
        while (PyDict_Next(((PyTypeObject *)base)->tp_dict, &at, &name, &method)) {
            PyObject *own;
            int failed;
            if (!Py_IS_TYPE(method, &PyMethodDescr_Type)) {
                continue;
            }
            own = PyDescr_NewMethod((PyTypeObject *)kind, ((PyMethodDescrObject *)method)->d_method);
            failed = own == NULL || PyObject_SetAttr(kind, name, own) < 0;
            Py_XDECREF(own);
            if (failed) {
                return -1;
            }
        }
        return 0;
    }
    """
    int penstock_own_methods(object kind, object base) except -1

cdef extern from "<string.h>" nogil:
    void* memmem(const void* haystack, size_t size, const void* needle, size_t needle_size)

cdef enum:
    # What is asked for.
    SOME
    EXACTLY
    UNTIL
    LINE
    ROOM

cdef tuple NAMES = ("read", "readexactly", "readuntil", "readline", "drain")
cdef tuple ENDS = (EndOfStreamError, BrokenError, ClosedError)  # of which the rare reader makes what asyncio's callers know
cdef bytes NEWLINE = b"\n"

# The last one that has ended, as of `exchange`.
cdef Streaming spare = None


cdef class StreamFeed:
    """The methods of a reader that are called for each message.

    The reader's class inherits them, and has them as its own: so the interpreter finds and calls them without a look-up.
    """

    @staticmethod
    def own_methods(type kind not None):
        """Give a subclass the methods as its own."""
        own_methods(kind, StreamFeed)

    def read(self, n=-1):
        """As asyncio's, once awaited."""
        return streaming(self, SOME, n, n if type(n) is int and 0 < n < 0x7fffffff else 0)

    def readexactly(self, n):
        """As asyncio's, once awaited."""
        return streaming(self, EXACTLY, n, n if type(n) is int and 0 < n < 0x7fffffff else 0)

    def readuntil(self, separator=NEWLINE):
        """As asyncio's, once awaited."""
        return streaming(self, UNTIL, separator, PyBytes_GET_SIZE(separator) if PyBytes_CheckExact(separator) else 0)

    def readline(self):
        """As asyncio's, once awaited."""
        return streaming(self, LINE, NEWLINE, 1)

    def at_eof(self):
        """As asyncio's."""
        return self.chunk is None and self.reader is not None and self.reader.at_eof()

    def _rarely(self):
        """Return the reader that does what is rare; what is here has gone over to it."""
        return self.rare_reader()

    def _set_feed_limit(self, Py_ssize_t limit):
        """Take another limit of what ends with a separator."""
        self.limit = limit

    cdef object rare_reader(self):
        if self.reader is None:
            self.reader = self.make_reader()
        if self.chunk is not None:
            rest = self.take(PyBytes_GET_SIZE(self.chunk) - self.at)
            self.reader._buffer += rest
        return self.reader

    cdef bint is_rare(self) except -1:
        """Whether the rare reader has something that comes first."""
        reader = self.reader
        return reader is not None and (reader._buffer or reader._eof or reader._exception is not None)

    cdef bytes take(self, Py_ssize_t size):
        """Take so many bytes of those that are here; there are as many."""
        cdef bytes chunk = self.chunk
        cdef Py_ssize_t rest = PyBytes_GET_SIZE(chunk) - self.at - size
        if rest == 0 and self.at == 0:
            self.chunk = None
            return chunk
        data = PyBytes_FromStringAndSize(PyBytes_AS_STRING(chunk) + self.at, size)
        if rest == 0:
            self.chunk = None
            self.at = 0
        else:
            self.at += size
            self.conn.gather_replies()  # to those that came together
        return data


cdef int own_methods(type kind, type base) except -1:
    if not issubclass(kind, base):
        raise TypeError(f"{kind.__name__} is no subclass of {base.__name__}")
    return penstock_own_methods(kind, base)


cdef class StreamSink:
    """The methods of a writer that are called for each message; as `StreamFeed`."""

    @staticmethod
    def own_methods(type kind not None):
        """Give a subclass the methods as its own."""
        own_methods(kind, StreamSink)

    def drain(self):
        """As asyncio's, once awaited."""
        return streaming(self.feed, ROOM, None, 1)

    def write(self, data):
        """As the transport's."""
        if self.feed is None or not written(self.feed.conn, data):
            self.transport.write(data)


cdef class Streaming(Receive):
    """One call of a method that is awaited."""

    cdef object step(self):
        cdef StreamFeed feed = self.feed
        cdef AwaitedConnection conn = self.conn
        if self.phase == AWAITING:
            return self.go_on()
        if self.phase == YIELDING:
            self.turns -= 1
            if self.turns > 0:
                return None
            self.phase = FRESH  # another may have read meanwhile
        if self.phase == FRESH:
            if not self.counted:
                self.counted = True
                if conn.poller.ends_turn():
                    return None
            if self.kind == ROOM:
                if not has_room(feed):
                    return self.go_rarely()
                self.value = None
                return self.over()
            if not self.wanted or feed.is_rare():
                return self.go_rarely()
            if feed.chunk is not None:
                return self.over() if self.serve() else self.go_rarely()
            if conn.waiter is not None:
                raise RuntimeError(self.another_waits())
        rarely = False
        try:
            awaited = Receive.step(self)
        except ENDS:
            rarely = True
        except LocalProtocolError as error:  # another one has begun to wait between this one's wake and its step
            raise RuntimeError(self.another_waits()) from error
        if rarely:
            return self.go_rarely()
        if awaited is not STOP:
            return awaited
        value, self.value = self.value, None
        if feed.is_rare():  # somebody fed it while this waited
            rare = feed.rare_reader()
            rare._buffer += value
            return self.go_rarely()
        feed.chunk = value
        return self.over() if self.serve() else self.go_rarely()

    cdef str another_waits(self):
        return f"{NAMES[self.kind]}() called while another coroutine is already waiting for incoming data"

    cdef bint serve(self) except -1:
        """Cut what is asked for from what is here. Return whether it was there, and not too long."""
        cdef StreamFeed feed = self.feed
        cdef const char* start = PyBytes_AS_STRING(feed.chunk) + feed.at
        cdef const char* found
        cdef Py_ssize_t size = PyBytes_GET_SIZE(feed.chunk) - feed.at
        cdef bytes separator
        if self.kind == SOME:
            size = min(size, self.wanted)
        elif self.kind == EXACTLY:
            if size < self.wanted:
                return False
            size = self.wanted
        else:
            separator = self.argument
            if self.wanted == 1:
                found = <const char*>memchr(start, PyBytes_AS_STRING(separator)[0], size)
            else:
                found = <const char*>memmem(start, size, PyBytes_AS_STRING(separator), self.wanted)
            if found == NULL or found - start > feed.limit:
                return False
            size = found - start + self.wanted
        self.value = feed.take(size)
        return True

    cdef object over(self):
        """Say that the value is there."""
        global spare
        self.phase = FINISHED
        self.conn = self.feed = self.argument = None
        spare = self
        return STOP

    cdef object go_rarely(self):
        """Have the rare reader, or what waits for room, do it."""
        cdef StreamFeed feed = self.feed
        self.phase = AWAITING
        if self.kind == ROOM:
            self.coroutine = feed.drain_rarely(feed.reader)
        elif self.kind == LINE:
            self.coroutine = feed.rare_reader().readline()
        else:
            self.coroutine = getattr(feed.rare_reader(), NAMES[self.kind])(self.argument)
        return self.go_on()

    cdef object go_on(self):
        cdef PyObject* result = NULL
        cdef PySendResult status = PyIter_Send(self.coroutine, None, &result)
        value = <object>result
        Py_DECREF(value)
        if status == PYGEN_NEXT:
            return value
        self.phase = FINISHED
        self.coroutine = None
        self.value = value
        return STOP

    def throw(self, kind, value=None, traceback=None):
        """Raise in what is awaited."""
        error = kind if isinstance(kind, BaseException) else kind() if value is None else value
        if self.phase != AWAITING:
            return Receive.throw(self, error)
        try:
            return self.coroutine.throw(error)
        except BaseException:
            self.phase = FINISHED
            raise

    cdef int abandon(self) except -1:
        if self.phase == AWAITING:
            self.phase = FINISHED
            self.coroutine.close()
            return 0
        return Receive.abandon(self)


cdef bint has_room(StreamFeed feed) except -1:
    """Whether `drain` neither waits nor fails."""
    return not feed.conn._write_paused and feed.conn.close_reason is None and (feed.reader is None or not feed.is_rare())


cdef PySendResult send_to_streaming(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR:
    """As of any step; that there is room is said without one."""
    cdef Streaming step = <Streaming>self
    if step.kind == ROOM and step.phase == FRESH and not step.counted and step.conn.poller.left > 0 and has_room(step.feed):
        step.conn.poller.left -= 1
        step.over()
        Py_INCREF(None)
        result[0] = <PyObject*>None
        return PYGEN_RETURN
    return send_to_step(self, value, result)


cdef Streaming streaming(StreamFeed feed, int kind, object argument, Py_ssize_t wanted):
    global spare
    cdef Streaming step = spare
    if feed is None or feed.conn is None:
        raise TypeError("a reader and a writer are made by their connection")
    if step is not None and Py_REFCNT(step) == 2:  # that of the line above is one
        spare = None
        step.phase = FRESH
    else:
        step = Streaming.__new__(Streaming)
    step.conn = feed.conn
    step.feed = feed
    step.kind = kind
    step.counted = False
    step.argument = argument
    step.wanted = wanted
    return step


become_awaitable(Streaming, send_to_streaming)


cdef tuple STREAM_TYPES = (StreamFeed, StreamSink)


cdef int feed_streams(
    AwaitedConnection conn, StreamFeed feed, StreamSink sink, Py_ssize_t limit, object make_reader, object transport, object drain
) except -1:
    """Have a reader and a writer read from and write to a connection.

    Args:
        conn: The connection.
        feed: The reader.
        sink: The writer.
        limit: Of what ends with a separator, in bytes.
        make_reader: Makes the reader for what is rare.
        transport: The writer's.
        drain: Called with that reader, or None: waits for room where there is none, or says why there will be none.
    """
    feed.conn = conn
    feed.limit = limit
    feed.make_reader = make_reader
    feed.drain_rarely = drain
    sink.feed = feed
    sink.transport = transport
    return 0


seal(globals(), (), (StreamFeed, StreamSink))
