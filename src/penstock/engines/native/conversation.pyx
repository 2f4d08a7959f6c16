"""Connections whose handler is a coroutine, as `engines.pure.tasks`: one task each, resumed as soon as bytes were read for it.

`receive` and `send` are awaitables of their own: a message that is there, or output that has room, costs no coroutine and no
exception.
"""

from asyncio import CancelledError
from collections.abc import Awaitable
from inspect import iscoroutinefunction
from types import CoroutineType

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from .connection cimport CLOSED, Connection, Host
from .framing cimport NEED_DATA
from .transport cimport REPORT_LOST, Transport
from .step cimport (
    AWAITING, become_awaitable, FINISHED, FRESH, PYGEN_NEXT, PyIter_Send, PySendResult, Step, STOP, WAITING, WANTING_ROOM, YIELDING
)
from .waiter cimport DONE, PENDING, Waiter

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
    bint PyCoro_CheckExact(object it) noexcept
    object PyObject_CallOneArg(object function, object argument)

cdef enum:
    FLUSH = 4  # of Pollable.todo

cdef object DRAINED = CloseReason.DRAINED


class _DeadlinePassed(Exception):
    """Raised by `receive` into the task that calls the callbacks."""

    def __init__(self, which):
        self.which = which


cdef class ConversationConnection(Connection):
    """Messages wait until a coroutine receives them."""

    cdef int settle_in(self, Host host, object local, object handler) except -1:
        Connection.settle_in(self, host, local, handler)
        self.handler = handler
        if isinstance(handler, CallbackHandler):
            self.callbacks = handler.factory()
        self.first_start = self.partial_start = INFINITY
        return 0

    cdef int start(self) except -1:
        handler = self.handler
        if isinstance(handler, ConnectionHandler):
            function = handler.function
            coroutine = function(self) if iscoroutinefunction(function) else _await(function, self)
        elif isinstance(handler, MessageHandler):
            coroutine = answer_of(self, handler)
        else:
            coroutine = _converse(self)
        return self.run_coroutine(coroutine, self._run_ended)

    cdef int run_coroutine(self, object coroutine, object ended) except -1:
        self.task = self.host.loop.create_task(coroutine)
        self.task.add_done_callback(ended)
        return 0

    def _run_ended(self, task):
        try:
            if self.task is task:
                self.run_ended(task)
        except Exception as error:  # for want of memory
            self.handling = False
            self.failed(error)

    cdef int run_ended(self, object task) except -1:
        self.task = None
        error = CancelledError() if task.cancelled() else task.exception()
        # The server cancels only after it has cut the connection; any other cancellation is the handler's own.
        if error is not None and not (task.cancelled() and self.condition == CLOSED):
            self.handler_failed(error)
        self.handling = False
        if self.gone:
            return self.part()
        if self.leave_reason is not None:
            return self.leave(self.leave_reason)
        return self.leave(DRAINED if self.drains else CloseReason.DONE)

    cdef int ended(self) except -1:
        """The transport is gone: the rest follows when the handler has ended, and `on_close` after it."""
        self.wake()
        self.wake_senders()
        self.wake_closed()
        task = self.task
        if task is not None:
            if not task.done():
                return 0
            # Its end may have had no memory to be told with.
            return self.run_ended(task) if self.handler is not None else self.conclude_ended(task)
        self.handler = None
        if self.callbacks is None:
            return self.released()
        return self.run_coroutine(_conclude(self), self._conclude_ended)

    def _conclude_ended(self, task):
        try:
            if self.task is task:
                self.conclude_ended(task)
        except Exception as error:  # for want of memory
            self.failed(error)

    cdef int conclude_ended(self, object task) except -1:
        self.task = self.callbacks = None
        if not task.cancelled() and task.exception() is not None:
            self.handler_failed(task.exception())
        return self.part()

    cdef int look_after_task(self) except -1:
        if self.task is not None and self.task.done():
            (self._run_ended if self.handler is not None else self._conclude_ended)(self.task)
        return 0

    cdef int wake_closed(self) except -1:
        waiters, self.closed_waiters = self.closed_waiters, None
        if waiters is not None:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(self.close_reason)
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

    cdef object at_hand(self):
        """Return the next message if it is there, else NEED_DATA.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        message = self.next_message(PREFETCH)
        if message is not NEED_DATA:
            self.streak += 1
            self.had_message = True
            self.first_start = self.partial_start = INFINITY
        return message

    cdef object last(self):
        """Nothing more will come: return what the codec makes of the rest, or raise why."""
        if self.condition == CLOSED and not self.input_over:
            raise self.why_not()
        if self.input_over:
            try:
                rest = self.finish_rest()
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

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        self.bytes_in += size
        if not self.can_receive() or self.drains:
            return 0
        self.take_in(data, size)
        try:
            if self.waiter is not None:
                self.clocks.idle = self.time()
                self.wake_directly()
            elif self.pending_bytes() > self.levels.read_size:
                self.pause_reading()
        finally:
            self.keep_rest()
        return 0

    cdef int input_ended(self) except -1:
        self.input_over = True
        return self.wake_directly()

    cdef int wake(self) except -1:
        cdef Waiter waiter = self.waiter  # whoever is woken lets go of it
        if waiter is not None and waiter.state == PENDING:
            waiter.settle(DONE, None)
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
        if self.leave_reason is not None:
            reason, self.leave_reason = self.leave_reason, None
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
        if (self.waiter is not None or self.pending_bytes() <= self.levels.read_size) and not self.drains:
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
        self.drains = True
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
                    message = conn.at_hand()
                except RemoteProtocolError as error:
                    conn.break_off(error)
                    raise
                if message is not NEED_DATA:
                    self.value = message
                    self.phase = FINISHED
                    return STOP
                conn.release_cork()
                if conn.leaving() and conn.condition != CLOSED:
                    continue
                if conn.input_over or conn.drains or conn.condition == CLOSED:
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


cdef class Answer(Step):
    """What the task of a message handler's connection runs: one coroutine after the other, each until it has ended.

    One that awaits nothing costs no more than itself: no wake-up, no future.
    """

    cdef object step(self):
        cdef ConversationConnection conn = self.conn
        cdef bint cutting = False
        if self.phase == AWAITING:
            coroutine, self.coroutine, self.awaited = self.coroutine, None, None
            if not self.go_on(coroutine):
                return self.awaited
        elif self.phase == WANTING_ROOM and not self.answer(self.value):
            return self.awaited
        try:
            while True:
                message = NEED_DATA
                # The short way to a message that is there and to be handled now; all else is what `Receive` knows.
                if (
                    self.phase == FRESH and conn.expired_by is None and not conn.leaving()
                    and conn.streak < conn.host.batch_messages
                ):
                    cutting = True
                    message = conn.at_hand()
                    cutting = False
                if message is NEED_DATA:
                    awaited = self.receive()
                    if awaited is not STOP or self.phase == FINISHED:
                        return awaited
                    message, self.receiving.value = self.receiving.value, None
                conn.handling = True
                coroutine = (
                    self.function(conn, message) if self.takes_connection else PyObject_CallOneArg(self.function, message)
                )
                if not PyCoro_CheckExact(coroutine):
                    coroutine = coroutine.__await__()
                if not self.go_on(coroutine):
                    return self.awaited
        except RemoteProtocolError as error:
            if cutting:
                conn.break_off(error)
            raise

    cdef object receive(self):
        """Return what is awaited until there is a message; STOP when there is one, or when none will come: then it has ended."""
        self.receiving.phase = self.phase
        try:
            awaited = self.receiving.step()
        except EndOfStreamError:
            self.phase = FINISHED
            self.value = None
            return STOP
        self.phase = FRESH if awaited is STOP else self.receiving.phase
        return awaited

    cdef bint go_on(self, object coroutine) except -1:
        """Resume the handler. Return whether its message is done with; else it awaits something."""
        cdef PyObject* result = NULL
        cdef PySendResult status = PyIter_Send(coroutine, None, &result)
        value = <object>result
        Py_DECREF(value)
        if status == PYGEN_NEXT:
            self.phase = AWAITING
            self.coroutine = coroutine
            self.awaited = value
            return False
        self.phase = FRESH
        return self.answer(value)

    cdef bint answer(self, object reply) except -1:
        """Send the reply, if there is one, and room for it. Return whether that is done."""
        cdef ConversationConnection conn = self.conn
        if reply is not None and conn.write_paused and conn.can_send():
            self.phase = WANTING_ROOM
            self.value = reply
            self.awaited = _room(conn)
            self.awaited._asyncio_future_blocking = True
            return False
        if self.phase != FRESH:
            self.phase = FRESH
            self.value = self.awaited = None
        conn.finish_message(reply)
        return True

    def throw(self, kind, value=None, traceback=None):
        """Raise in the handler, where there is one at work."""
        if self.phase != AWAITING:
            return Step.throw(self, kind, value, traceback)
        try:
            return self.coroutine.throw(kind if isinstance(kind, BaseException) else kind if value is None else value)
        except StopIteration as stop:
            self.coroutine = self.awaited = None
            reply = stop.value
        except BaseException:
            self.phase = FINISHED
            raise
        return self.send(None) if self.answer(reply) else self.awaited

    cdef int abandon(self) except -1:
        coroutine, self.coroutine = self.coroutine, None
        self.receiving.phase = self.phase
        self.phase = FINISHED
        self.receiving.abandon()
        if coroutine is not None:
            coroutine.close()
        return 0


cdef Answer answer_of(ConversationConnection conn, handler):
    """Return what the task of a connection with this message handler is to run."""
    cdef Answer it = Answer.__new__(Answer)
    it.conn = conn
    it.function = handler.function
    it.takes_connection = handler.takes_connection
    it.receiving = Receive.__new__(Receive)
    it.receiving.conn = conn
    return it


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


become_awaitable(Receive)
become_awaitable(Send)
become_awaitable(Answer)
