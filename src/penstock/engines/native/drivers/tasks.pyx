"""A connection that has a task for its handler: how it begins, what it runs, and how it ends."""

from asyncio import CancelledError, Task
from collections.abc import Awaitable
from inspect import iscoroutinefunction
from types import CoroutineType

from cpython.contextvars cimport PyContext_Copy

from .answer cimport Answer, answer_of, Conversation, conversation_of
from .awaited cimport NONE, wake_all
from .carried cimport carried, unpacked
from .driven cimport Driven
from ..host cimport Host
from ..sealed cimport seal

from ....core.compiled_law.closing cimport _CLOSED as CLOSED
from ....core.compiled_law.deadlines cimport _IDLE as IDLE

from ....core.handlers import may_keep_idle
from ....core.interrupts import is_interrupt
from ....core.timeouts import Timeout
from ....errors import EndOfStreamError, RemoteProtocolError
from ....reasons import CloseReason
from ...whereabouts import place_of_task
from .exchange import DeadlinePassed

cdef object DRAINED = CloseReason.DRAINED


cdef class TaskConnection(AwaitedConnection):
    """A connection with a handler and its task; a client's has neither."""

    cdef int settle_in(self, Host host, object local, object handler) except -1:
        AwaitedConnection.settle_in(self, host, local, handler)
        self.marked_at = NONE
        self.handler = handler
        self.callbacks = None if handler is None else handler.callbacks()
        return 0

    cdef int start(self) except -1:
        self._starts(self.time(), False)
        self.arm_next()
        return self.start_task()

    cdef int start_task(self) except -1:
        handler = self.handler
        if handler.converses:
            function = handler.function
            self.handler = conversation_of(self, function(self) if iscoroutinefunction(function) else _await(function, self))
        elif self.callbacks is None:
            self.handler = answer_of(self, handler)
        else:
            self.handler = conversation_of(self, _converse(self))
        return self.run_coroutine(self.handler, None)

    cdef int run_coroutine(self, object coroutine, object ended) except -1:
        if self.variables is None:
            self.variables = PyContext_Copy(self.host.contexts.base)
        self.task = self.host.loop.create_task(coroutine, name=self.host.name, context=self.variables)
        if ended is None:
            # One function for all of them, where the task keeps its coroutine: one that has ended already may not.
            ended = self._run_ended if type(self.task) is not Task or self.task.done() else _run_ended
        self.task.add_done_callback(ended, context=self.host.contexts.ends)
        return 0

    def _run_ended(self, task):
        try:
            if self.task is task:
                self.run_ended(task)
        except BaseException as error:  # for want of memory, or a signal's
            self._handling = False
            self.failed(error)
            if is_interrupt(error):
                raise

    cdef int run_ended(self, object task) except -1:
        self.task = None
        error = CancelledError() if task.cancelled() else unpacked(task.exception())
        # The server cancels only after it has cut the connection; any other cancellation is the handler's own.
        if error is not None and not (task.cancelled() and self._state == CLOSED) and not is_interrupt(error):
            self.handler_failed(error)
        self._handling = False
        if self._gone:
            return self.part()
        if self._close_after is not None:
            return self.leave(self._close_after)
        # A conversation decides itself when it returns; the others have ended because their peer has.
        if self.input_over and (self.callbacks is not None or isinstance(self.handler, Answer)):
            if self.close_reason is None and self._waits_for_tasks():
                return 0
        return self.leave(DRAINED if self.drains else CloseReason.DONE)

    cdef int ended(self) except -1:
        """The transport is gone: the rest follows when the handler has ended, and `on_close` after it."""
        self.wake()
        self.wake_senders()
        self.wake_closed()
        task = self.task
        if task is not None:
            if not task.done():
                if self.host.cancels_on_close and self.handler is not None:
                    task.cancel()
                return 0
            # Its end may have had no memory to be told with.
            return self.run_ended(task) if self.handler is not None else self.conclude_ended(task)
        self.handler = None
        if self.callbacks is None or not self.connected:
            return self.released()
        return self.run_coroutine(_conclude(self), self._conclude_ended)

    def _conclude_ended(self, task):
        try:
            if self.task is task:
                self.conclude_ended(task)
        except BaseException as error:
            self.failed(error)
            if is_interrupt(error):
                raise

    cdef int conclude_ended(self, object task) except -1:
        self.task = None
        error = None if task.cancelled() else unpacked(task.exception())
        if error is not None and not is_interrupt(error):
            self.handler_failed(error)
        return self.part()

    # -- outliving its peer --------------------------------------------------------------------------------------------

    @property
    def handler_ended(self):
        """Whether its handler has ended, or is about to without being told."""
        return self.task is None or self.task.done()

    @property
    def messages_begun(self):
        """Messages that its handler was given."""
        return self.messages_in

    @property
    def has_unfinished(self):
        """Whether a message that was received whole is at work, or has yet to be."""
        return self._has_unfinished() or self.holds_message()

    def handler_place(self):
        """Say where its handler waits."""
        return place_of_task(self.task)

    def cancel_handler(self):
        """Cancel its handler. Return False where that cannot be done: it is in a thread."""
        if self.task is None or self.host.threaded:
            return False
        self.task.cancel()
        return True

    cdef int look_after_task(self) except -1:
        if self.task is not None and self.task.done():
            (self._run_ended if self.handler is not None else self._conclude_ended)(self.task)
        return 0

    cdef int wake_closed(self) except -1:
        return wake_all(self.closed_waiters, self.close_reason)

    def cut(self, reason):
        """End the connection now, and its handler with it."""
        self.lose(reason)
        if self.task is not None:
            self.task.cancel()

    # -- what its callbacks are told -----------------------------------------------------------------------------------

    cdef object its_callbacks(self):
        return self.callbacks

    cdef bint asks_whether_idle_may_stay(self) except -1:
        if self.expired_by is not None or not may_keep_idle(self.callbacks):
            return False  # it was to be asked before, and the callback at work has not returned since
        self._is_kept(self.time())
        return self.timed_out(Timeout.IDLE) != 0

    cdef bint has_last_word(self) except -1:
        return self.callbacks is not None or isinstance(self.handler, Conversation)

    cdef int timed_out(self, object which) except -1:
        if self.callbacks is None or self.task is None or not self.connected:
            return 0
        self.expired_by = which  # the task calls on_timeout once it receives: its callbacks never overlap
        self.wake()
        return 1


def _run_ended(task):
    cdef Driven driven = task.get_coro()
    cdef TaskConnection conn = driven.conn
    conn._run_ended(task)


# -- what the task runs ------------------------------------------------------------------------------------------------


async def _await(function, conn):
    await function(conn)


async def _converse(TaskConnection conn):
    conn.connected = True
    conn._handling = True
    await _handled(conn, conn.callbacks.on_connect(conn))
    while True:
        over, passed, refusal = False, None, None
        try:
            message = await conn.receive()
        except EndOfStreamError:
            over = True
        except DeadlinePassed as error:
            passed = error.which
        except RemoteProtocolError as error:
            refusal = error
        if over:
            conn._handling = True
            await _handled(conn, (conn.callbacks.on_eof if conn.input_over else conn.callbacks.on_drain)(conn))
            return
        if passed is Timeout.IDLE and conn.close_reason is None:
            conn._handling = True
            stays = conn.callbacks.on_idle(conn)
            if isinstance(stays, Awaitable):
                stays = await stays
            conn.finish_message(None)
            if stays or conn._closing:
                continue
            conn._expires(IDLE, False)
        if passed is not None:
            conn._handling = True
            await _handled(conn, conn.callbacks.on_timeout(conn, passed))
            conn.leave(passed.value)
            return
        if refusal is not None:
            conn._handling = True
            await _handled(conn, conn.callbacks.on_protocol_error(conn, refusal))
            conn.leave(refusal.reason)
            return
        conn._handling = True
        await _handled(conn, conn.callbacks.on_message(conn, message))


async def _handled(TaskConnection conn, reply):
    """Await what a callback returned where that is to be awaited, and send the reply."""
    if reply is not None and (type(reply) is CoroutineType or isinstance(reply, Awaitable)):
        reply = await reply
    if reply is not None:
        while conn._write_paused and conn._can_send:
            await conn.room()
    conn.finish_message(reply)


async def _conclude(TaskConnection conn):
    callbacks, conn.callbacks = conn.callbacks, None  # a task that is cancelled before this begins anew
    try:
        result = callbacks.on_close(conn, conn.close_reason)
        if isinstance(result, Awaitable):
            await result
    except BaseException as error:
        raise carried(conn._state == CLOSED, error)


seal(globals())
