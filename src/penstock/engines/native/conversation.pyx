"""Connections whose handler is a coroutine, as `engines.pure.tasks`: one task each, resumed as soon as bytes were read for it.

`receive` and `send` are awaitables of their own: a message that is there, or output that has room, costs no coroutine and no
exception.
"""

from asyncio import CancelledError
from collections.abc import Awaitable
from inspect import iscoroutinefunction
from types import CoroutineType

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from .connection cimport CLOSED, Connection, Host
from .framing cimport NEED_DATA, feed, keep
from .transport cimport REPORT_LOST, Transport
from .waiter cimport DONE, PENDING, Waiter

from cpython.bytes cimport PyBytes_FromStringAndSize

from ...codecs.base import Buffer
from ...core.service import CallbackHandler, ConnectionHandler, MessageHandler
from ...errors import (
    ConnectionEndedError,
    EndOfStreamError,
    LocalProtocolError,
    Phase,
    RemoteProtocolError,
    TimedOutError,
)
from ...reasons import CloseReason
from ..base import Connection as _AnyConnection
from ..pure.tasks import OTHERS_TURN, PREFETCH

cdef extern from *:
    """
    /* StopIteration(value), without making the exception where the interpreter does not need one: see genobject.c. */
    static PyObject *penstock_stop(PyObject *value)
    {
        if (value == Py_None) {
            return NULL;
        }
        if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
            return NULL;
        }
        PyErr_SetObject(PyExc_StopIteration, value);
        return NULL;
    }

    static void penstock_install(PyObject *type, iternextfunc next, sendfunc send)
    {
        PyTypeObject *kind = (PyTypeObject *)type;
        kind->tp_iternext = next;
        kind->tp_as_async->am_send = send;
    }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PyObject* penstock_stop(PyObject* value) noexcept
    void penstock_install(
        object kind, PyObject* (*next)(PyObject*) except? NULL,
        PySendResult (*send)(PyObject*, PyObject*, PyObject**) except PYGEN_ERROR
    ) noexcept

cdef enum:
    FLUSH = 4  # of Pollable.todo

cdef enum:
    FRESH
    WAITING
    YIELDING
    FINISHED

cdef object DRAINED = CloseReason.DRAINED
cdef object STOP = object()  # what a step returns when it has ended with its value


class _DeadlinePassed(Exception):
    """Raised by `receive` into the task that calls the callbacks."""

    def __init__(self, which):
        self.which = which


cdef class ConversationConnection(Connection):
    """Messages wait until a coroutine receives them.

    Args:
        host, peer, local: As `Connection`.
        handler: What the task runs.
    """

    def __init__(self, Host host, peer, local, handler):
        Connection.__init__(self, host, peer, local)
        self.handler = handler
        if isinstance(handler, CallbackHandler):
            self.callbacks = handler.factory()
        self.first_start = self.partial_start = INFINITY

    cdef int start(self) except -1:
        handler = self.handler
        if isinstance(handler, ConnectionHandler):
            function = handler.function
            coroutine = function(self) if iscoroutinefunction(function) else _await(function, self)
        elif isinstance(handler, MessageHandler):
            coroutine = _answer(self, handler.function, handler.takes_connection)
        else:
            coroutine = _converse(self)
        return self.run_coroutine(coroutine, self._run_ended)

    cdef int run_coroutine(self, object coroutine, object ended) except -1:
        self.task = self.host.loop.create_task(coroutine)
        self.task.add_done_callback(ended)
        return 0

    def _run_ended(self, task):
        self.task = None
        error = CancelledError() if task.cancelled() else task.exception()
        # The server cancels only after it has cut the connection; any other cancellation is the handler's own.
        if error is not None and not (task.cancelled() and self.condition == CLOSED):
            self.handler_failed(error)
        self.handling = False
        if self.gone:
            self.conclude()
        elif self.leave_reason is not None:
            self.leave(self.leave_reason)
        else:
            self.leave(DRAINED if self.draining else CloseReason.DONE)

    cdef int conclude(self) except -1:
        """Transport and handler are both gone."""
        self.handler = None
        if self.callbacks is None or not self.begun:
            return self.release_to_host()
        return self.run_coroutine(_conclude(self), self._conclude_ended)

    def _conclude_ended(self, task):
        self.task = self.callbacks = None
        if not task.cancelled() and task.exception() is not None:
            self.handler_failed(task.exception())
        self.release_to_host()

    cdef int ended(self) except -1:
        self.wake()
        if self.task is None:
            self.conclude()
        return 0

    cdef int connection_lost(self, object error) except -1:
        Connection.connection_lost(self, error)
        self.wake_senders()
        if self.closed_waiters is not None:
            for waiter in self.closed_waiters:
                if not waiter.done():
                    waiter.set_result(self.close_reason)
            self.closed_waiters = None
        return 0

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, timeout_s=None):
        """Return the next message, once awaited."""
        cdef Receive step = Receive.__new__(Receive)
        step.conn = self
        step.timeout_s = timeout_s
        return step

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef Receive step = Receive.__new__(Receive)
        step.conn = self
        step.iterates = True
        return step

    async def request(self, message, timeout_s=None):
        """Send one message; return the next one that comes."""
        await self.send(message)
        return await self.receive(timeout_s)

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, traceback):
        if kind is None or issubclass(kind, ConnectionEndedError):
            self.close()
        else:
            self.abort()
        await self.wait_closed()

    cdef object last(self):
        """Nothing more will come: return what the codec makes of the rest, or raise why."""
        if self.condition == CLOSED and not self.input_over:
            raise self.why_not()
        if self.input_over:
            try:
                if self.framing is None:
                    rest = self.inbound.finish()
                else:
                    rest = self.codec.finish(Buffer(self.input.at[:self.input.end - self.input.at]))
            except RemoteProtocolError as error:
                self.break_off(error)
                raise
            if rest is not NEED_DATA:
                self.forget_input()
                return rest
        raise EndOfStreamError("the peer sent EOF" if self.input_over else "the server drains")

    cdef int begin_wait(self, object timeout_s) except -1:
        """Start the clocks that count while somebody waits for the peer, each from where it was stopped."""
        cdef double now
        if self.waiter is not None:
            raise LocalProtocolError("another task is already receiving from this connection")
        now = self.time()
        self.clocks.idle = now
        if self.patience.idle_s != INFINITY:
            self.arm(now + self.patience.idle_s)
        if not self.had_message:
            self.clocks.first = now if self.first_start == INFINITY else self.first_start
            if self.patience.first_s != INFINITY:
                self.arm(self.clocks.first + self.patience.first_s)
        if self.pending_bytes():
            self.clocks.partial = now if self.partial_start == INFINITY else self.partial_start
            if self.patience.message_s != INFINITY:
                self.arm(self.clocks.partial + self.patience.message_s)
        self.waiter = Waiter(self.poller, self.host.loop)
        if timeout_s is not None:
            clock = self.host.loop if self.host.clock is None else self.host.clock
            waiter = self.waiter
            self.timer_of_wait = clock.call_at(clock.time() + timeout_s, lambda: _fail(waiter, timeout_s))
        if not self.write_paused:
            self.read_again()
        return 0

    cdef int end_wait(self) except -1:
        self.waiter = None
        self.clocks.idle = INFINITY
        self.first_start = self.clocks.first
        self.partial_start = self.clocks.partial
        self.clocks.first = self.clocks.partial = INFINITY
        if self.timer_of_wait is not None:
            self.timer_of_wait.cancel()
            self.timer_of_wait = None
        return 0

    cdef bint unhandled(self) except -1:
        """Whether anything is left that may hold a message."""
        return self.framing is None and self.batch_at < len(self.batch) or self.pending_bytes() > 0

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        self.bytes_in += size
        if not self.can_receive() or self.draining:
            return 0
        if self.framing is not None:
            feed(&self.input, data, size)
        else:
            self.inbound.feed(PyBytes_FromStringAndSize(data, size))
        try:
            if self.waiter is not None:
                self.clocks.idle = self.time()
                self.wake_directly()
            elif self.pending_bytes() > self.host.read_size:
                self.pause_reading()
        finally:
            if self.framing is not None:
                keep(&self.input)  # the shared buffer is about to be written again
        return 0

    cdef int input_ended(self) except -1:
        self.input_over = True
        return self.wake_directly()

    cdef int wake(self) except -1:
        if self.waiter is not None and self.waiter.state == PENDING:
            self.waiter.settle(DONE, None)
        return 0

    cdef int wake_directly(self) except -1:
        """Resume the task; what it answers leaves in one write."""
        if self.waiter is None:
            return 0
        self.corking = True
        self.poller.direct = self.poller.dispatching
        try:
            self.wake()
        finally:
            self.poller.direct = False
            self.release_cork()
        return 0

    def set_codec(self, codec):
        """Speak another codec, from the message after the one received last."""
        self.switch(codec)

    def set_handler(self, handler):
        """Hand the messages after the one at hand to another handler."""
        if self.callbacks is None:
            Connection.set_handler(self, handler)
        self.callbacks = handler

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, message):
        """Queue one message, once the write buffer is no longer over its high watermark."""
        cdef Send step = Send.__new__(Send)
        step.conn = self
        step.message = message
        return step

    cdef int finish_message(self, object reply) except -1:
        """Send the reply of the message that was handled, then close if its handler, or a deadline meanwhile, asked to."""
        if reply is not None:
            if not self.can_send():
                raise self.why_not()
            self.put_reply(reply)
        self.handling = False
        reason, self.leave_reason = self.leave_reason, None
        if reason is not None:
            self.leave(reason)
        return 0

    cdef int put_reply(self, object message) except -1:
        # While messages that were read together are being answered, the answers are gathered too. They leave when the
        # next message is waited for, or at the loop's next turn if the handler awaits something else.
        if not self.corking and self.attached and self.unhandled():
            self.corking = True
            self.defer(FLUSH)
        return self.put_message(message)

    cdef int release_cork(self) except -1:
        if self.attached:
            self.corking = False
            self.uncork()
        return 0

    cdef int deferred(self, uint32_t todo) except -1:
        if todo & FLUSH:
            self.release_cork()
        if todo & REPORT_LOST:
            Transport.deferred(self, todo)
        return 0

    cdef int wake_senders(self) except -1:
        waiters, self.send_waiters = self.send_waiters, None
        if waiters is not None:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        return 0

    cdef int output_resumed(self) except -1:
        self.wake_senders()
        if (self.waiter is not None or self.pending_bytes() <= self.host.read_size) and not self.draining:
            self.read_again()
        return 0

    # -- the end -------------------------------------------------------------------------------------------------------

    async def wait_closed(self):
        """Wait until the transport is gone; return why."""
        if not self.gone:
            waiter = self.host.loop.create_future()
            if self.closed_waiters is None:
                self.closed_waiters = []
            self.closed_waiters.append(waiter)
            await waiter
        return self.close_reason

    def drain(self):
        """Let the handler receive what came whole; then it meets the end of the stream."""
        self.draining = True
        if self.attached and not self.leaving():
            self.pause_reading()
            self.wake()

    def cut(self, reason):
        """End the connection now, and its handler with it."""
        self.lose(reason)
        if self.task is not None:
            self.task.cancel()

    cdef int leave(self, object reason) except -1:
        Connection.leave(self, reason)
        if self.leaving():
            self.wake_senders()
        return self.wake()

    cdef int lose(self, object reason) except -1:
        Connection.lose(self, reason)
        self.wake_senders()
        return self.wake()

    cdef int timed_out(self, object which) except -1:
        if self.callbacks is None or self.waiter is None:
            return 0
        self.expired_by = which  # the task calls on_timeout, so that its callbacks never overlap, and leaves
        self.wake()
        return 1


_AnyConnection.register(ConversationConnection)


# -- what the task runs ------------------------------------------------------------------------------------------------


async def _await(function, conn):
    await function(conn)


async def _answer(ConversationConnection conn, function, bint takes_connection):
    while True:
        try:
            message = await conn.receive()
        except EndOfStreamError:
            return
        conn.handling = True
        reply = await (function(conn, message) if takes_connection else function(message))
        if reply is not None:
            while conn.write_paused and conn.can_send():
                await _room(conn)
        conn.finish_message(reply)


async def _converse(ConversationConnection conn):
    conn.handling = True
    await _handled(conn, conn.callbacks.on_connect(conn))
    while True:
        try:
            message = await conn.receive()
        except EndOfStreamError:
            return
        except _DeadlinePassed as passed:
            conn.handling = True
            await _handled(conn, conn.callbacks.on_timeout(conn, passed.which))
            conn.leave(passed.which.value)
            return
        conn.handling = True
        await _handled(conn, conn.callbacks.on_message(conn, message))


async def _handled(ConversationConnection conn, reply):
    """Await what a callback returned where that is to be awaited, and send the reply."""
    if reply is not None and (type(reply) is CoroutineType or isinstance(reply, Awaitable)):
        reply = await reply
    if reply is not None:
        while conn.write_paused and conn.can_send():
            await _room(conn)
    conn.finish_message(reply)


async def _conclude(ConversationConnection conn):
    result = conn.callbacks.on_close(conn, conn.close_reason)
    if isinstance(result, Awaitable):
        await result


cdef object _room(ConversationConnection conn):
    """Return a future that is done when output has fallen to the low watermark."""
    waiter = conn.host.loop.create_future()
    if conn.send_waiters is None:
        conn.send_waiters = []
    conn.send_waiters.append(waiter)
    return waiter


def _fail(waiter, timeout_s):
    if not waiter.done():
        waiter.set_exception(TimedOutError(Phase.READ, timeout_s))


# -- what the handler awaits -------------------------------------------------------------------------------------------


cdef class Step:
    """An awaitable that is a coroutine to everybody who asks: it can be made a task, and cancelled."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        """Go on; return what is awaited."""
        yielded = _advance(self)
        if yielded is STOP:
            raise StopIteration(self.value)
        return yielded

    def throw(self, kind, value=None, traceback=None):
        """Stop waiting and raise."""
        self.abandon()
        if isinstance(kind, BaseException):
            raise kind
        raise kind if value is None else value

    def close(self):
        """Stop waiting."""
        self.abandon()

    cdef object step(self):
        """Return what is to be awaited, or STOP with `value` set."""
        return STOP

    cdef int abandon(self) except -1:
        self.phase = FINISHED
        return 0


cdef object _advance(Step step):
    if step.phase == FINISHED:
        raise RuntimeError("cannot reuse already awaited coroutine")
    try:
        return step.step()
    except BaseException:
        step.phase = FINISHED
        raise


cdef PyObject* _next(PyObject* self) except? NULL:
    yielded = _advance(<Step>self)
    if yielded is STOP:
        return penstock_stop(<PyObject*>(<Step>self).value)
    Py_INCREF(yielded)
    return <PyObject*>yielded


cdef PySendResult _send(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR:
    result[0] = NULL
    yielded = _advance(<Step>self)
    if yielded is STOP:
        yielded = (<Step>self).value
        Py_INCREF(yielded)
        result[0] = <PyObject*>yielded
        return PYGEN_RETURN
    Py_INCREF(yielded)
    result[0] = <PyObject*>yielded
    return PYGEN_NEXT


cdef class Receive(Step):
    cdef object step(self):
        cdef ConversationConnection conn = self.conn
        if self.phase == WAITING:
            conn.end_wait()  # whoever wakes with an exception calls `throw`
            self.phase = FRESH
        elif self.phase == YIELDING:
            self.turns -= 1
            if self.turns > 0:
                return None
            self.phase = FRESH
        try:
            while True:
                if conn.expired_by is not None:
                    which, conn.expired_by = conn.expired_by, None
                    raise _DeadlinePassed(which)
                if conn.leaving() and conn.condition != CLOSED:
                    raise conn.why_not()
                if conn.streak >= conn.host.batch_messages and conn.unhandled():
                    conn.streak = 0
                    self.turns = OTHERS_TURN
                    self.phase = YIELDING
                    return None
                try:
                    message = conn.next_message(PREFETCH)
                except RemoteProtocolError as error:
                    conn.break_off(error)
                    raise
                if message is not NEED_DATA:
                    conn.streak += 1
                    conn.had_message = True
                    conn.first_start = conn.partial_start = INFINITY
                    self.value = message
                    self.phase = FINISHED
                    return STOP
                conn.release_cork()
                if conn.leaving() and conn.condition != CLOSED:
                    continue
                if conn.input_over or conn.draining or conn.condition == CLOSED:
                    self.value = conn.last()
                    self.phase = FINISHED
                    return STOP
                conn.streak = 0
                conn.begin_wait(self.timeout_s)
                self.phase = WAITING
                conn.waiter._asyncio_future_blocking = True
                return conn.waiter
        except EndOfStreamError:
            if self.iterates:
                raise StopAsyncIteration from None
            raise

    cdef int abandon(self) except -1:
        if self.phase == WAITING:
            self.conn.end_wait()
        self.phase = FINISHED
        return 0


cdef class Send(Step):
    cdef object step(self):
        cdef ConversationConnection conn = self.conn
        if conn.write_paused and conn.can_send():
            waiter = _room(conn)
            waiter._asyncio_future_blocking = True
            return waiter
        if not conn.can_send() or conn.leave_reason is not None:
            raise conn.why_not()
        conn.put_reply(self.message)
        self.phase = FINISHED
        return STOP


penstock_install(Receive, _next, _send)
penstock_install(Send, _next, _send)
