"""What stands between a connection and a protocol of asyncio: bytes that were read are handed over without a task's step.

The transport's task receives, as `adapters.transport` has it, and does all that is rare. While it waits, and nothing else is to be
done with what came, the protocol is called right where the bytes were read, as its own loop would.
"""

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from libc.math cimport INFINITY

from ..connection.sending cimport post_one
from ..polling.poller cimport Poller
from ..sealed cimport seal
from .awaited cimport AwaitedConnection
from .step cimport become_awaitable, FRESH, WAITING
from .waiter cimport PENDING, Waiter

from ....errors import ConnectionEndedError


cdef class ProtocolFeed(Receive):
    """The next bytes of a connection, once awaited: `receive` again each time. And a transport's `write`."""

    def receive(self):
        """Return the next bytes that the protocol was not handed, once awaited."""
        self.phase = FRESH
        return self

    def let_go(self):
        """Let go of the transport."""
        self.protocol = self.transport = self.failure = None

    def write(self, data):
        """As the transport's own, which has all that is rare."""
        cdef AwaitedConnection conn = self.conn
        if self.transport is None or not written(conn, data):
            return _write_rarely(self.transport, data)
        if conn._write_paused:
            self.transport.stop_writing()
        return None

    cdef object step(self):
        cdef AwaitedConnection conn = self.conn
        failure, self.failure = self.failure, None
        if self.phase == WAITING:
            conn.waiter.feed = None
            if failure is not None:
                conn.end_wait()
        if failure is not None:
            raise failure
        return Receive.step(self)

    cdef object wait(self, bint held):
        cdef Waiter waiter = Receive.wait(self, held)
        waiter.feed = None if held else self
        return waiter

    cdef int abandon(self) except -1:
        if self.phase == WAITING:
            self.conn.waiter.feed = None
        self.failure = None  # its traceback refers to this
        return Receive.abandon(self)


cdef bint written(AwaitedConnection conn, object data) except -1:
    """Queue bytes, as a transport of asyncio does. Return False for all that is rare: then nothing was done."""
    if not PyBytes_CheckExact(data) or not PyBytes_GET_SIZE(data) or not conn._can_send or conn._close_after is not None:
        return False
    try:
        post_one(conn, data)
    except ConnectionEndedError:
        pass  # the transport is told why by another way
    return True


cdef object _write_rarely(object transport, object data):
    if transport is not None:  # else it is over
        transport.write_rarely(data)
    elif not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")


cdef bint pour(AwaitedConnection conn, const char* data, Py_ssize_t size) except -1:
    """Hand what was read to the protocol that is fed, if that can be done here. Return whether it was."""
    cdef Waiter waiter = conn.waiter
    cdef Poller poller = conn.poller
    cdef ProtocolFeed feed = <ProtocolFeed>waiter.feed
    if (
        feed.protocol is None or waiter.state != PENDING or waiter.callback is None or waiter.context is None
        or not poller.dispatching or poller.running or conn._closing or conn.input != NULL
        or conn.framing is None or size > conn.framing.limit or conn._levels.message_step_s != 0.0
        or (conn._rare is not None and (conn._rare.asking or conn._rare.silence is not None))
    ):
        return False
    piece = PyBytes_FromStringAndSize(data, size)
    protocol, context = feed.protocol, waiter.context
    # As for a message that was received, and the next one waited for.
    conn.had_message = True
    conn.messages_in += 1
    conn._idle_since = conn.time()
    conn._first_since = conn._partial_since = INFINITY
    PyContext_Enter(context)
    conn.corking = poller.running = True
    try:
        protocol.data_received(piece)
    except BaseException as error:
        feed.failure = error
    finally:
        poller.running = False
        PyContext_Exit(context)
    conn.release_cork()
    if feed.failure is not None:
        conn.wake_directly()
    return True


become_awaitable(ProtocolFeed)


cdef ProtocolFeed feed_of(AwaitedConnection conn, object transport):
    """Return what hands a transport's protocol the bytes of a connection."""
    cdef ProtocolFeed feed = ProtocolFeed.__new__(ProtocolFeed)
    feed.conn = conn
    feed.transport = transport
    return feed


seal(globals())
