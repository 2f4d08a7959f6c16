"""What a coroutine awaits of its connection: a message, and that one was sent.

They are awaitables of their own: a message that is there, or output that has room, costs no coroutine and no exception.
"""

from .framing cimport NEED_DATA
from .states cimport CLOSED
from .step cimport become_awaitable, FINISHED, FRESH, STOP, WAITING, YIELDING
from .waiter cimport Waiter

from ...codecs.guard import failure as decoding_failed
from ...errors import EndOfStreamError
from ..loop.tasks import OTHERS_TURN
from ..receiving import ReceiveLimit


class DeadlinePassed(Exception):
    """Raised by `receive` into the task that calls the callbacks."""

    def __init__(self, which):
        self.which = which


cdef class Receive(Step):
    cdef object step(self):
        cdef AwaitedConnection conn = self.conn
        cdef Waiter waiter
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
                    raise DeadlinePassed(which)
                if conn.leaving() and conn.condition != CLOSED:
                    raise conn.why_not()
                if conn.streak >= conn.host.batch_messages and conn.unhandled():
                    conn.streak = 0
                    self.turns = OTHERS_TURN
                    self.phase = YIELDING
                    return None
                try:
                    message = conn.at_hand()
                except MemoryError:
                    raise
                except Exception as error:
                    refusal = decoding_failed(conn.codec, "decode", error)
                    conn.break_off(refusal)
                    raise refusal
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
                if self.timeout_s is not None and self.limit is None:
                    self.limit = ReceiveLimit(conn.clock_of_waits().time() + self.timeout_s, self.timeout_s)
                waiter = conn.begin_wait(self.limit)
                self.phase = WAITING
                waiter._asyncio_future_blocking = True
                return waiter
        except EndOfStreamError:
            if self.iterates:
                raise StopAsyncIteration from None
            raise

    cdef int abandon(self) except -1:
        cdef AwaitedConnection conn = self.conn
        if self.phase == WAITING:
            conn.end_wait()
        self.phase = FINISHED
        return 0


cdef class Send(Step):
    cdef object step(self):
        cdef AwaitedConnection conn = self.conn
        if conn.write_paused and conn.can_send():
            waiter = conn.room()
            waiter._asyncio_future_blocking = True
            return waiter
        if not conn.can_send() or conn.leave_reason is not None:
            raise conn.why_not()
        conn.put_reply(self.message)
        self.phase = FINISHED
        return STOP


cdef Receive receive_from(AwaitedConnection conn, object timeout_s, bint iterates):
    """Return the next message of a connection, once awaited."""
    cdef Receive step = Receive.__new__(Receive)
    step.conn = conn
    step.timeout_s = timeout_s
    step.iterates = iterates
    return step


cdef Send send_to(AwaitedConnection conn, object message):
    """Return None once a message is queued, once awaited."""
    cdef Send step = Send.__new__(Send)
    step.conn = conn
    step.message = message
    return step


become_awaitable(Receive)
become_awaitable(Send)
