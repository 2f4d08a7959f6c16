"""A connection whose messages wait until somebody receives them, and whose senders wait for room."""

from functools import partial

from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from ..framing.choice cimport NEED_DATA
from .moving cimport MovingConnection
from ..sealed cimport seal
from ..connection.transport cimport REPORT_LOST, Transport
from .waiter cimport DONE, PENDING, Waiter, waiter_of

from ....core.compiled_law.closing cimport _CLOSED as CLOSED

from ....core.interrupts import is_interrupt
from ....errors import CodecError, EndOfStreamError, LocalProtocolError, RemoteProtocolError
from ...loop.awaited import ANOTHER_RECEIVES
from ...receiving import PREFETCH as _PREFETCH

cdef Py_ssize_t PREFETCH = _PREFETCH

cdef enum:
    FLUSH = 4  # of Pollable.todo


cdef class AwaitedConnection(MovingConnection):
    """Whoever waits is resumed as soon as bytes were read for it."""

    # -- receiving -----------------------------------------------------------------------------------------------------

    cdef object at_hand(self):
        """Return the next message if it is there, else NEED_DATA.

        Raises:
            RemoteProtocolError: The next frame is bad.
        """
        return self.message_at_hand(self.next_message(PREFETCH))

    cdef object message_at_hand(self, object message):
        """Count a message, if it is one, and return it."""
        if message is not NEED_DATA:
            self.streak += 1
            if self.streak & 31 == 24:
                self.look_at_row()
            self.messages_in += 1
            self.had_message = True
            self._has_message()
            if self._rare is not None:
                self.arm(self._leaves_behind(self.time(), self.pending_bytes()))
        return message

    cdef object last(self, object codec):
        """Nothing more will come: return what a codec, None for its own, makes of the rest, or raise why."""
        self._has_finished()
        if self._state == CLOSED and not self.input_over:
            raise self.why_not()
        if self.input_over:
            try:
                rest = self.finish_rest(codec)
            except (RemoteProtocolError, CodecError) as error:
                if not self.passes_over(error):
                    self.break_off(error)
                    raise
                self.bad_message_passed(error)
                rest = NEED_DATA
            if rest is not NEED_DATA:
                self.forget_input()
                self.messages_in += 1
                self._has_message()
                return rest
        raise EndOfStreamError("the peer sent EOF" if self.input_over else "the server drains")

    cdef int bad_message_passed(self, object error) except -1:
        """Answer a message that was passed over; it counts as one that was received."""
        self.streak += 1
        if self.streak & 31 == 24:
            self.look_at_row()
        if self._levels.message_step_s != 0.0:
            self._spends(1, self.time())
        return self.answer_bad_message(self.its_callbacks(), error)

    cdef object its_callbacks(self):
        """Return its `Handler`, if it has one."""
        return None

    cdef void look_at_row(self) noexcept:
        """Have the loop turn if the messages that were received without that have taken too long."""
        if self.streak == 24:
            self.host.row_until = 0.0
        if self.host.row_is_long():
            self.host.row_is_over = False
            self.streak = self.host.batch_messages

    cdef Waiter begin_wait(self, object limit, bint held):
        """Start the clocks that count while somebody waits for the peer, each from where it was stopped; return what to await.

        Where messages are there and held back, it is the peer who waits.
        """
        cdef Waiter waiter
        if self.waiter is not None:
            raise LocalProtocolError(ANOTHER_RECEIVES)
        if limit is not None and limit.is_over:
            raise limit.error()
        if held:
            self.pause_reading()
            self.arm_next()
        else:
            self.arm(self._waits(self.time(), self.pending_bytes(), not self.had_message and self.expects_messages()))
        waiter = self.waiter = self.place_to_wait(limit)
        if limit is not None:
            self.timer_of_wait = self.clock_of_waits().call_at(limit.at, partial(_give_up, self, waiter, limit))
        if not held and not self._write_paused:
            self.read_again()
        if self.overdue:
            self.decide()
        return waiter

    cdef bint expects_messages(self) except -1:
        """Say whether there is a use for messages: a peer that sends none is late only then."""
        return True

    cdef Waiter place_to_wait(self, object limit):
        """Return what whoever receives is to await."""
        return waiter_of(self.host)

    cdef object clock_of_waits(self):
        """Return what `receive` tells the time by, and sets its timers with."""
        return self.host.loop if self.host.clock is None else self.host.clock

    cdef bint is_woken(self) noexcept:
        return self.waiter is not None and self.waiter.state != PENDING

    cdef int end_wait(self) except -1:
        self.waiter = None
        self.past_codec = False
        self._works(self.time())
        timer, self.timer_of_wait = self.timer_of_wait, None
        if timer is not None:
            timer.cancel()
        return 0

    cdef int data_received(self, const char* data, Py_ssize_t size) except -1:
        self.bytes_in += size
        if not self._can_receive or self.drains:
            return 0
        if self.waiter is not None and self.waiter.feed is not None and self.pours(data, size):
            return 0
        self.take_in(data, size)
        try:
            if self._idle_since != INFINITY:
                self._idle_since = self.time()
            if self._rare is not None:  # silence passes whether or not somebody waits
                self.hear()
            if self.waiter is not None:
                self.wake_directly()
            else:
                if self.is_full():
                    self.pause_reading()
                if self._rare is not None:
                    self.look_at_partial(size)
        finally:
            self.keep_rest()
        return 0

    cdef bint pours(self, const char* data, Py_ssize_t size) except -1:
        """Hand what was read to whom it is for, past the task that waits for it. Return whether that was possible."""
        return False

    cdef int look_at_partial(self, Py_ssize_t came_bytes) except -1:
        """A reply may be at hand that is not whole: where one is waited for, it must be in time though nobody receives."""
        cdef Py_ssize_t partial_bytes
        if self._rare is not None and self._rare.asking:
            partial_bytes = self.partial_bytes() if self.reading else 0
            if partial_bytes >= 0:
                self.arm(self._lacks(self.time(), partial_bytes, came_bytes))
        return 0

    cdef bint is_full(self) except -1:
        """Whether so much waits to be received that no more is read until somebody does."""
        return self.pending_bytes() > self._levels.read_bytes and self.waiting_bytes() > self._levels.read_bytes

    def listens(self):
        """Read on, if nothing else but what waits to be received has stopped that."""
        if self.waiter is None and not self._closing and not self.drains and not self._write_paused and not self.is_full():
            self.read_again()
        self.look_at_partial(0)

    cdef int token_came(self) except -1:
        return self.wake()

    cdef int rest_ended(self) except -1:
        return self.wake_directly()

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
        try:
            if not self.poller.dispatching or self.poller.running:
                self.wake()
            elif not self.step_in_place():
                self.poller.direct = True
                self.wake()
        finally:
            self.poller.direct = False
            self.release_cork()
        return 0

    cdef bint step_in_place(self) except -1:
        """Resume its own task without waking it. Return whether that was possible."""
        return False

    # -- sending -------------------------------------------------------------------------------------------------------

    cdef int finish_message(self, object reply) except -1:
        """Send the reply of the message that was handled, then close if its handler, or a deadline meanwhile, asked to."""
        if reply is not None:
            if not self._can_send:
                raise self.why_not()
            self.put_reply(reply)
        self._handling = False
        if self._close_after is not None:
            reason, self._close_after = self._close_after, None
            self.leave(reason)
            return 0
        return self.begin_tls_if_due()

    cdef int tls_is_settled(self) except -1:
        return self.wake_senders()

    cdef int put_reply(self, object message) except -1:
        self.begin_gathering()
        return self.put_message(message)

    cdef int put_whole(self, bytes frame) except -1:
        self.begin_gathering()
        return self.put(frame)

    cdef int begin_gathering(self) except -1:
        # While messages that were read together are being answered, the answers are gathered too. They leave when the
        # next message is waited for, or at the loop's next turn if the handler awaits something else.
        if not self.corking and self._attached and self.unhandled():
            return self.gather_replies()
        return 0

    cdef int gather_replies(self) except -1:
        if not self.corking and self._attached:
            self.corking = True
            self.defer(FLUSH)
        return 0

    cdef int release_cork(self) except -1:
        if self._attached:
            self.corking = False
            self.uncork()
        return 0

    cdef int deferred(self, uint32_t todo) except -1:
        try:
            if todo & FLUSH:
                self.release_cork()
        finally:
            if todo & REPORT_LOST:
                Transport.deferred(self, todo)
        return 0

    cdef object room(self):
        """Return a future that is done when output has fallen to the low watermark."""
        waiter = self.host.loop.create_future()
        if self.send_waiters is None:
            self.send_waiters = []
        self.send_waiters.append(waiter)
        return waiter

    cdef int wake_senders(self) except -1:
        return wake_all(self.send_waiters, None)

    cdef int output_resumed(self) except -1:
        self.wake_senders()
        if (self.waiter is not None or not self.is_full()) and not self.drains:
            self.read_again()
        return 0

    cdef int flushed(self) except -1:
        MovingConnection.flushed(self)
        return self.wake_senders()

    def send_eof(self):
        """End our direction after what was queued; go on receiving."""
        MovingConnection.send_eof(self)
        self.wake_senders()

    # -- the end -------------------------------------------------------------------------------------------------------

    def drain(self):
        """Let the handler receive what came whole; then it meets the end of the stream."""
        self.drains = True
        if self.while_held() is not None:
            return  # here it drains when it is taken back, and elsewhere it goes on
        self.end_requests("the server drains")
        if self._attached and not self._closing:
            self.pause_reading()
            self.wake()

    cdef int leave(self, object reason) except -1:
        MovingConnection.leave(self, reason)
        if self._closing:
            self.wake_senders()
        return self.wake()

    cdef int lose(self, object reason) except -1:
        MovingConnection.lose(self, reason)
        self.wake_senders()
        return self.wake()


cdef int wake_all(list waiters, object result) except -1:
    """Give futures their result. When that fails for one of them, it and those after it wait to be woken again."""
    while waiters:
        waiter = waiters[0]
        if not waiter.done():
            waiter.set_result(result)
        if waiters and waiters[0] is waiter:
            del waiters[0]
    return 0


def _give_up(AwaitedConnection conn, Waiter waiter, object limit):
    """The time for a message is over. What has come within it is read first: law 11."""
    if waiter.state != PENDING:
        return
    limit.is_over = True
    if conn.is_within_handler():  # as `tick_told`
        conn.host.loop.call_soon(_give_up, conn, waiter, limit)
        return
    conn.poller.looking = True
    try:
        conn.look()
    except BaseException as error:
        if is_interrupt(error):
            raise
        conn.failed(error)
    finally:
        conn.poller.looking = False
    if waiter.state == PENDING:
        waiter.set_exception(limit.error())


seal(globals())
