"""What the task of a connection runs: a message handler for each message, or a conversation."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from .carried cimport carried
from .exchange cimport receive_from
from ..framing.choice cimport NEED_DATA
from ....core.compiled_law.closing cimport _CLOSED as CLOSED
from ..sealed cimport seal
from .step cimport advance, AWAITING, become_awaitable, FINISHED, FRESH, PYGEN_NEXT, PyIter_Send, PySendResult, STOP, WAITING, WANTING_ROOM

from ....codecs.guard import failure as decoding_failed
from ....errors import EndOfStreamError

cdef extern from *:
    bint PyCoro_CheckExact(object it) noexcept
    object PyObject_CallOneArg(object function, object argument)


cdef class Answer(Driven):
    """One coroutine after the other, each until it has ended.

    One that awaits nothing costs no more than itself: no wake-up, no future.
    """

    cdef object proceed(self):
        cdef AwaitedConnection conn = self.conn
        cdef bint cutting = False, looked
        try:
            if self.phase == AWAITING:
                coroutine, self.coroutine, self.awaited = self.coroutine, None, None
                if not self.go_on(coroutine):
                    return self.awaited
            elif self.phase == WANTING_ROOM and not self.answer(self.reply):
                return self.awaited
            while True:
                message = NEED_DATA
                looked = False
                # The short way to a message that is there and to be handled now; all else is what `Receive` knows.
                if (
                    (self.phase == FRESH or self.phase == WAITING) and conn.expired_by is None and not conn._closing
                    and conn.streak < conn.host.batch_messages and conn._levels.message_step_s == 0.0
                    and not conn.host.skips_bad
                ):
                    if self.phase == WAITING:
                        conn.end_wait()
                        self.phase = FRESH
                    cutting = True
                    message = conn.at_hand()
                    cutting = False
                    looked = message is NEED_DATA
                if message is NEED_DATA:
                    awaited = self.receive(looked)
                    if awaited is not STOP or self.phase == FINISHED:
                        return awaited
                    message, self.receiving.value = self.receiving.value, None
                conn._handling = True
                coroutine = (
                    self.function(conn, message) if self.takes_connection else PyObject_CallOneArg(self.function, message)
                )
                if not PyCoro_CheckExact(coroutine):
                    coroutine = coroutine.__await__()
                if not self.go_on(coroutine):
                    return self.awaited
        except BaseException as error:
            if not cutting or not isinstance(error, Exception) or isinstance(error, MemoryError):
                raise carried(conn._state == CLOSED, error)
            refusal = decoding_failed(conn.codec, "decode", error)
            conn.break_off(refusal)
            raise refusal

    # What is asked about its coroutine by those who look where a task waits: that of the message at work.

    @property
    def cr_frame(self):
        return None

    @property
    def cr_await(self):
        return self.coroutine

    cdef object receive(self, bint looked):
        """Return what is awaited until there is a message; STOP when there is one, or when none will come: then it has ended.

        Args:
            looked: As of `Receive.find`.
        """
        cdef bint over = False
        self.receiving.phase = self.phase
        try:
            awaited = self.receiving.find(True) if looked else self.receiving.step()
        except EndOfStreamError:
            over = True
        if over:
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
        cdef AwaitedConnection conn = self.conn
        if reply is not None and conn._write_paused and conn._can_send:
            self.phase = WANTING_ROOM
            self.reply = reply
            self.awaited = conn.room()
            self.awaited._asyncio_future_blocking = True
            return False
        if self.phase != FRESH:
            self.phase = FRESH
            self.reply = self.awaited = None
        conn.finish_message(reply)
        return True

    cdef object inject(self, object error):
        """Raise in the handler, where there is one at work."""
        if self.phase != AWAITING:
            self.abandon()
            raise error
        try:
            return self.coroutine.throw(error)
        except StopIteration as stop:
            self.coroutine = self.awaited = None
            reply = stop.value
        except BaseException as error:
            self.phase = FINISHED
            raise carried(self.conn._state == CLOSED, error)
        self.phase = FRESH
        return advance(self) if self.answer(reply) else self.awaited

    cdef int abandon(self) except -1:
        coroutine, self.coroutine = self.coroutine, None
        self.receiving.phase = self.phase
        self.phase = FINISHED
        self.receiving.abandon()
        if coroutine is not None:
            coroutine.close()
        return 0


cdef Answer answer_of(AwaitedConnection conn, handler):
    """Return what the task of a connection with this message handler is to run."""
    cdef Answer it = Answer.__new__(Answer)
    it.conn = conn
    it.function = handler.function
    it.takes_connection = handler.takes_connection
    it.receiving = receive_from(conn, None, False)
    it.receiving.lasts = True
    return it


become_awaitable(Answer)


cdef class Conversation(Driven):
    """What the task of a connection handler runs: its coroutine, and nothing that would end the loop comes out."""

    cdef object proceed(self):
        cdef PyObject* result = NULL
        cdef PySendResult status
        try:
            status = PyIter_Send(self.coroutine, None, &result)
        except BaseException as error:
            raise carried(self.conn._state == CLOSED, error)
        value = <object>result
        Py_DECREF(value)
        if status == PYGEN_NEXT:
            return value
        self.phase = FINISHED
        return STOP

    cdef object inject(self, object error):
        awaited = STOP
        try:
            awaited = self.coroutine.throw(error)
        except StopIteration:
            self.phase = FINISHED
        except BaseException as error:
            self.phase = FINISHED
            raise carried(self.conn._state == CLOSED, error)
        return awaited

    cdef int abandon(self) except -1:
        self.phase = FINISHED
        self.coroutine.close()
        return 0

    # What a task is asked about its coroutine, by `asyncio.Task.print_stack` and those who look at tasks.

    @property
    def cr_frame(self):
        return self.coroutine.cr_frame

    @property
    def cr_code(self):
        return self.coroutine.cr_code

    @property
    def cr_await(self):
        return self.coroutine.cr_await

    @property
    def cr_running(self):
        return self.coroutine.cr_running

    @property
    def __name__(self):
        return self.coroutine.__name__

    @property
    def __qualname__(self):
        return self.coroutine.__qualname__


cdef Conversation conversation_of(AwaitedConnection conn, object coroutine):
    """Return what the task of a connection with this handler's coroutine is to run."""
    cdef Conversation it = Conversation.__new__(Conversation)
    it.conn = conn
    it.coroutine = coroutine
    return it


become_awaitable(Conversation)


seal(globals())
