"""What a coroutine awaits of its connection: a message, and that one was sent.

They are awaitables of their own: a message that is there, or output that has room, costs no coroutine and no exception.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from .awaited cimport end_mark
from .contexts cimport Py_REFCNT
from ..framing.choice cimport NEED_DATA, framing_of
from ..polling.poller cimport MOST_IN_A_ROW, SIZE_SHIFT
from ..sealed cimport seal
from .step cimport (
    FINISHED, FRESH, STOP, WAITING, WANTING_ROOM, YIELDING, become_awaitable, penstock_attempt, penstock_raised
)
from .waiter cimport Waiter

from ....core.compiled_law.closing cimport _CLOSED as CLOSED

from ....codecs.guard import failure as decoding_failed
from ....errors import EndOfStreamError
from ....reasons import CloseReason
from ...loop.awaited import OTHERS_TURN
from ....core.contract import refuse_frame
from ....core.cutters import fixed
from ....core.deadline import Deadline

cdef object MESSAGE_RATE = CloseReason.MESSAGE_RATE


class DeadlinePassed(Exception):
    """Raised by `receive` into the task that calls the callbacks."""

    def __init__(self, which):
        self.which = which


# The last ones that have ended. As a rule their awaiters have let go of them: then they serve for the next message.
cdef Receive spare_receive = None
cdef ReceiveOctets spare_octets = None
cdef Send spare_send = None


cdef class Receive(Step):
    cdef object step(self):
        cdef AwaitedConnection conn = self.conn
        cdef PyObject* taken
        cdef bint looked = False
        if self.phase == WAITING:
            conn.end_wait()  # whoever wakes with an exception calls `throw`
            self.phase = FRESH
        elif self.phase == YIELDING:
            self.turns -= 1
            if self.turns > 0:
                return None
            self.phase = FRESH
        # The short way to a message that is there and to be handled now.
        if (
            conn.expired_by is None and not conn._closing and conn.streak < conn.host.batch_messages
            and conn._levels.message_step_s == 0.0 and not conn.host.skips_bad
        ):
            taken = penstock_attempt(_cut, <PyObject*>self)
            if taken == NULL:
                self.cannot_decode()
            message = <object>taken
            Py_DECREF(message)
            if message is not NEED_DATA:
                self.value = message
                return self.end()
            looked = True
        return self.find(looked)

    cdef int cannot_decode(self) except -1:
        """The next frame is bad, or the codec is: raise that."""
        cdef AwaitedConnection conn = self.conn
        refusal = None
        try:
            penstock_raised()
        except MemoryError:
            raise
        except Exception as error:
            refusal = decoding_failed(conn.codec, "decode", error)
        conn.break_off(refusal)
        raise refusal

    cdef object find(self, bint looked):
        """Do the step whatever there is, and whatever is to be looked at before a message is handled.

        Args:
            looked: The codec has just said that the next frame is not whole. It is not asked again for the same bytes.
        """
        cdef AwaitedConnection conn = self.conn
        cdef int token
        try:
            while True:
                if conn.expired_by is not None:
                    which, conn.expired_by = conn.expired_by, None
                    if not conn._closing:  # by the callback that was at work then, or by the peer
                        raise DeadlinePassed(which)
                if conn._closing and conn._state != CLOSED:
                    if self.ends_turn():
                        return None
                    raise conn.why_not()
                if conn.streak >= conn.host.batch_messages and conn.unhandled():
                    conn.streak = 0
                    self.turns = OTHERS_TURN
                    self.phase = YIELDING
                    return None
                token = 1
                if conn._levels.message_step_s != 0.0 and conn.unhandled():
                    token = conn._allows(1, conn.time())
                    if token == 0:
                        return self.wait(True)
                refusal = None
                try:
                    message = NEED_DATA if looked else self.cut()
                    looked = False
                except MemoryError:
                    raise
                except Exception as error:
                    refusal = decoding_failed(conn.codec, "decode", error)
                if refusal is not None:
                    if not conn.passes_over(refusal):
                        conn.break_off(refusal)
                        raise refusal
                    conn.bad_message_passed(refusal)
                    refusal = None
                    if conn.host.on_bad_message is not None or conn.host.callbacks_answer:
                        self.turns = 1  # what was asked for by who stands for a thread comes first
                        self.phase = YIELDING
                        return None
                    continue
                if message is not NEED_DATA and token < 0:
                    conn.leave(MESSAGE_RATE)
                    continue
                if message is not NEED_DATA:
                    if conn._levels.message_step_s != 0.0:
                        conn._spends(1, conn.time())
                    self.value = message
                    return self.end()
                conn.release_cork()
                if conn._closing and conn._state != CLOSED:
                    continue
                if not conn._can_receive and conn._has_refused():
                    if self.ends_turn():
                        return None
                    raise conn.why_not()
                if conn.input_over or conn.drains or conn._state == CLOSED:
                    if self.ends_turn():
                        return None
                    self.value = self.last()
                    return self.end()
                conn.streak = 0
                if conn.waiter is not None and self.ends_turn():  # that it raises
                    return None
                return self.wait(False)
        except EndOfStreamError:
            if self.iterates:
                raise StopAsyncIteration from None
            raise

    cdef object cut(self):
        """Return the next message if it is there, else NEED_DATA."""
        return self.conn.at_hand()

    cdef object last(self):
        """Return the message that ends at EOF, or raise why there is none."""
        return self.conn.last(None)

    cdef object end(self):
        """Say that the message is there."""
        global spare_receive
        self.phase = FINISHED
        if type(self) is Receive and not self.lasts:
            self.conn = self.limit = None
            spare_receive = self
        return STOP

    cdef bint ends_turn(self) noexcept:
        """Say whether the loop is to turn before this goes on at once, and see to it."""
        if not self.conn.poller.ends_turn():
            return False
        self.turns = 1
        self.phase = YIELDING
        return True

    cdef object wait(self, bint held):
        """Return what is awaited: bytes, or a token where messages are held back."""
        cdef AwaitedConnection conn = self.conn
        cdef Waiter waiter
        limit = self.limit
        if limit is not None and type(limit) is not Deadline:
            self.limit = limit = Deadline(conn.clock_of_waits().time() + limit, limit)
        waiter = conn.begin_wait(limit, held)
        self.phase = WAITING
        waiter.blocking = True
        return waiter

    cdef int abandon(self) except -1:
        cdef AwaitedConnection conn = self.conn
        if self.phase == WAITING:
            conn.end_wait()
        self.phase = FINISHED
        return 0


cdef object _cut(PyObject* step):
    return (<Receive>step).cut()


cdef class ReceiveOctets(Receive):
    """Bytes past the codec: cut by another framing, and what follows by the connection's own again."""

    cdef object cut(self):
        cdef AwaitedConnection conn = self.conn
        if self.by is None and conn.framing is not None:
            return conn.message_at_hand(conn.next_bytes(self.size))
        return conn.message_at_hand(conn.next_by(self.cutter()))

    cdef object last(self):
        return self.conn.last(self.cutter().codec)

    cdef object wait(self, bint held):
        waiter = Receive.wait(self, held)
        self.conn.past_codec = True
        return waiter

    cdef Framing cutter(self):
        if self.by is None:
            self.by = framing_of(fixed(self.size))
        return self.by

    cdef object step(self):
        cdef AwaitedConnection conn = self.conn
        global spare_octets
        yielded = STOP
        if self.phase == FRESH:
            end_mark(conn)  # what is received so is no message that begins anew
            conn.take_back()  # the codec may have looked at what is there
        try:
            yielded = Receive.step(self)
        finally:
            if yielded is STOP:
                conn.take_back()
        if yielded is STOP:
            self.conn = self.by = self.limit = None
            spare_octets = self
        return yielded

    cdef int abandon(self) except -1:
        cdef AwaitedConnection conn = self.conn  # None once it has ended
        cdef bint has_begun = self.phase != FRESH and self.phase != FINISHED
        Receive.abandon(self)
        return conn.take_back() if has_begun else 0


cdef class Send(Step):
    cdef int put(self, AwaitedConnection conn, object message) except -1:
        return conn.put_reply(message)

    cdef object step(self):
        cdef AwaitedConnection conn = self.conn
        global spare_send
        cdef long long before, more
        if self.phase == FRESH:
            self.phase = YIELDING
            if conn.poller.ends_turn():
                return None
        if conn._write_paused and conn._can_send:
            self.phase = WANTING_ROOM
            waiter = conn.room()
            waiter._asyncio_future_blocking = True
            return waiter
        if self.phase == WANTING_ROOM:
            # Reading goes on now as well. It gets its turn before more output stops it again.
            self.phase = YIELDING
            return None
        if not conn._can_send or conn._close_after is not None:
            raise conn.why_not()
        end_mark(conn)
        message = self.message
        if type(message) is bytes:
            self.put(conn, message)
            more = PyBytes_GET_SIZE(message) >> SIZE_SHIFT
        else:
            before = conn.bytes_out + conn.corked()
            self.put(conn, message)
            more = (conn.bytes_out + conn.corked() - before) >> SIZE_SHIFT
        if more:
            conn.poller.left -= <int>min(more, MOST_IN_A_ROW)
        self.phase = FINISHED
        self.conn = self.message = None
        if type(self) is Send:
            spare_send = self
        return STOP


cdef class SendRaw(Send):
    """Bytes as they are, past the codec."""

    cdef int put(self, AwaitedConnection conn, object message) except -1:
        refuse_frame(message)
        conn.put_whole(message)
        conn.messages_out += 1
        return 0


cdef Receive receive_from(AwaitedConnection conn, object limit, bint iterates):
    """Return the next message of a connection, once awaited; ``limit``: how long that may take in seconds, or None."""
    global spare_receive
    cdef Receive step = spare_receive
    if step is not None and Py_REFCNT(step) == 2:  # that of the line above is one
        spare_receive = None
        step.phase = FRESH
    else:
        step = Receive.__new__(Receive)
    step.conn = conn
    step.limit = limit
    step.iterates = iterates
    return step


cdef Send send_to(AwaitedConnection conn, object message):
    """Return None once a message is queued, once awaited."""
    global spare_send
    cdef Send step = spare_send
    if step is not None and Py_REFCNT(step) == 2:  # as above
        spare_send = None
        step.phase = FRESH
    else:
        step = Send.__new__(Send)
    step.conn = conn
    step.message = message
    return step


cdef ReceiveOctets receive_by(AwaitedConnection conn, Framing by, Py_ssize_t size, object limit):
    """Return the next message as another framing cuts it, None: the next ``size`` bytes; once awaited."""
    global spare_octets
    cdef ReceiveOctets step = spare_octets
    if step is not None and Py_REFCNT(step) == 2:  # as above
        spare_octets = None
        step.phase = FRESH
    else:
        step = ReceiveOctets.__new__(ReceiveOctets)
    step.conn = conn
    step.by = by
    step.size = size
    step.limit = limit
    return step


cdef Send send_raw_to(AwaitedConnection conn, object data):
    """Return None once bytes are queued as they are, once awaited."""
    cdef SendRaw step = SendRaw.__new__(SendRaw)
    step.conn = conn
    step.message = data
    return step


become_awaitable(Receive)
become_awaitable(ReceiveOctets)
become_awaitable(SendRaw)
become_awaitable(Send)


seal(globals())
