"""Connections whose handler is called at once: ``def`` message handlers and ``def`` callbacks, as `engines.loop.push`."""

from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from ..connection.connection cimport Connection
from ..host cimport Host
from .moving cimport MovingConnection
from ..framing.choice cimport NEED_DATA
from ..sealed cimport seal
from ..connection.transport cimport CONTINUE, REPORT_LOST, Transport

from ....core.compiled_law.deadlines cimport _IDLE as IDLE

from ....codecs.guard import failure as decoding_failed
from ....core.interrupts import is_interrupt
from ....core.handlers import expects_messages, may_keep_idle
from ....errors import CodecError, RemoteProtocolError
from ....reasons import CloseReason
from ....core.contract import ConnectionBase, codec_changed
from ...luggage import EXCHANGED, made_of
from ....core.turns import FIRST_LOOK as _FIRST_LOOK, LOOKED_AT as _LOOKED_AT

cdef extern from *:
    object PyObject_CallOneArg(object function, object argument)

cdef int FIRST_LOOK = _FIRST_LOOK
cdef int LOOKED_AT = _LOOKED_AT

cdef object DRAINED = CloseReason.DRAINED
cdef object MESSAGE_RATE = CloseReason.MESSAGE_RATE
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED


cdef class PushConnection(MovingConnection):
    """Messages are handled as soon as they are cut; all replies of one read leave in one write."""

    cdef int settle_in(self, Host host, object local, object handler) except -1:
        Connection.settle_in(self, host, local, handler)
        self.callbacks = handler.callbacks()
        return 0

    cdef int start(self) except -1:
        self._starts(self.time(), self.callbacks is None or expects_messages(self.callbacks))
        self.arm_next()
        if self.callbacks is not None:
            self.call(self.callbacks.on_connect, (self,))
        return 0

    # -- calling the handler -------------------------------------------------------------------------------------------

    cdef int call(self, object callback, tuple arguments) except -1:
        """Call a callback that is not about a message."""
        context = self.host.contexts.enter(self.variables)
        failure = None
        self.corking = self._handling = True
        try:
            callback(*arguments)
        except BaseException as error:
            failure = error
        finally:
            self.variables = self.host.contexts.leave(self.variables, context)
            self.corking = self._handling = False
        return self.called(failure)

    cdef int called(self, object error) except -1:
        """The handler returned, or raised: send what it left, then do what it asked for."""
        if error is not None and is_interrupt(error):
            # Not the handler's: when the loop runs again, the connection goes on with what it has.
            self.go_on_later()
            raise error
        self.uncork()
        if error is not None:
            return self.handler_failed(error)
        if self._close_after is not None:
            return self.leave(self._close_after)
        return self.begin_tls_if_due()

    cdef int handle_one(self, object message) except -1:
        if self.callbacks is not None:
            reply = self.callbacks.on_message(self, message)
        elif self.host.takes_connection:
            reply = self.host.function(self, message)
        else:
            reply = PyObject_CallOneArg(self.host.function, message)
        if reply is not None and not self._closing and not self.lost:
            if not self._can_send:
                raise self.why_not()
            self.put_message(reply)
        return 0

    cdef int handle(self, int budget) except -1:
        """Handle up to so many messages, one after the other, and send the replies. Return how many were handled.

        What a bad frame follows on is done first; it is left where it is, to be met again.
        """
        cdef int handled = 0
        cdef int stop = min(budget, FIRST_LOOK)  # where the time is looked at
        cdef bint cutting = True
        failure = bad = None
        context = self.host.contexts.enter(self.variables)
        self.corking = self._handling = True
        self.interrupted = False
        try:
            while True:
                if handled >= stop:
                    if handled >= budget:
                        break
                    if stop == FIRST_LOOK:
                        self.host.row_until = 0.0
                    if self.host.row_is_long():
                        break
                    stop = min(handled + LOOKED_AT, budget)
                cutting = True
                message = self.next_message(budget - handled)
                cutting = False
                if message is NEED_DATA:
                    break
                handled += 1
                self.messages_in += 1
                self.handle_one(message)
                if self.interrupted or self._write_paused:
                    break
        except BaseException as error:
            if cutting and isinstance(error, Exception) and not isinstance(error, MemoryError):
                bad = decoding_failed(self.codec, "decode", error)
            else:
                failure = error
        finally:
            self.variables = self.host.contexts.leave(self.variables, context)
            self.corking = self._handling = False
        if handled:
            # Whatever is missing after these messages, it is not one that began before them.
            self._first_since = self._partial_since = INFINITY
            if self._rare is not None:
                self._has_taken()
        self.called(failure)
        if bad is not None and not self._closing:
            if not self.passes_over(bad):
                self.break_off(bad)
                return handled
            handled += 1
            self.call(self._answer_bad_message, (bad,))
            self.interrupted = True  # there may be more
        return handled

    def _answer_bad_message(self, error):
        self.answer_bad_message(self.callbacks, error)

    # -- messages ------------------------------------------------------------------------------------------------------

    cdef int received(self) except -1:
        if not self.held_up():
            self.process()
        return 0

    cdef int process(self) except -1:
        """Handle what is there, up to the budget of one turn, unless output is stalled or the connection leaves."""
        cdef int budget = self.host.batch_messages
        cdef int limit, handled
        while not self._closing:
            if self._write_paused:
                return 0  # output_resumed goes on from here
            limit = budget
            if self._levels.message_step_s != 0.0 and self.unhandled():
                limit = self.allowed(budget)
                if limit == 0:
                    return 0  # token_came goes on from here
            handled = self.handle(limit)
            if self._levels.message_step_s != 0.0:
                self._spends(handled, self.time())
            if self._closing or self._write_paused:
                return 0
            budget -= handled
            if self.host.row_is_over:
                self.host.row_is_over = False
                budget = 0
            elif handled == 0 or (handled < limit and not self.interrupted):
                return self.settle()
            if budget <= 0:
                if not self.unhandled():
                    return self.settle()
                return self.go_on_later()
        return 0

    cdef int allowed(self, int most) except -1:
        """Return how many messages may be handled at the rate that the peer may send at; 0: it waits, or it closes."""
        cdef int allowed = self._allows(most, self.time())
        if allowed > 0:
            return allowed
        if allowed < 0:
            return self.refuse_next()
        self._idle_since = INFINITY  # it is the peer who waits
        self.arm_next()
        self.pause_reading()
        return 0

    cdef int refuse_next(self) except -1:
        """Close if there is another message, for that is one too many. Return 0."""
        bad = failure = None
        try:
            message = self.next_message(1)
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, MemoryError):
                bad = decoding_failed(self.codec, "decode", error)
            else:
                failure = error
        if failure is not None:
            self.called(failure)
        elif bad is not None:
            if not self.passes_over(bad):
                self.break_off(bad)
        elif message is NEED_DATA:
            self.settle()
        else:
            self.leave(MESSAGE_RATE)
        return 0

    cdef int token_came(self) except -1:
        return self.go_on()

    cdef int rest_ended(self) except -1:
        return self.received()

    cdef bint held_up(self) noexcept:
        """Whether something else will go on with the input: its turn, output that sinks, a token."""
        return self.continuing or self._write_paused or self._rate_held()

    cdef int go_on_later(self) except -1:
        """Handle the rest of the input when others have had their turn."""
        self.continuing = True
        self._idle_since = INFINITY  # it is the peer who waits
        self.defer(CONTINUE)
        return self.pause_reading()

    cdef int go_on(self) except -1:
        self.continuing = False
        if self._closing or self._write_paused:
            return 0
        if self._handling:  # the handler itself has led here
            return self.go_on_later()
        self.process()
        if not self.held_up() and not self.drains and not self._closing:
            self.read_again()
        return 0

    cdef bint is_within_handler(self) noexcept:
        return self._handling or Connection.is_within_handler(self)

    cdef int deferred(self, uint32_t todo) except -1:
        try:
            if todo & CONTINUE and self.continuing:
                self.go_on()
        finally:
            if todo & REPORT_LOST:
                Transport.deferred(self, todo)
        return 0

    cdef int settle(self) except -1:
        """Nothing whole is left: wait for the peer again, and end if the end was waiting."""
        if self.ending:
            return self.finish_input()
        if self.drains:
            if self.callbacks is not None:
                self.call(self.callbacks.on_drain, (self,))
            return self.leave(DRAINED)
        return self.arm(self._leaves_rest(self.time(), self.pending_bytes()))

    # -- what a handler may do in the middle of a batch ----------------------------------------------------------------

    def set_codec(self, codec):
        """Speak another codec, from the message after the one at hand."""
        if self.corked() and not self._handling:
            self.uncork()
        self.switch(codec)
        codec_changed(self)

    def set_handler(self, handler):
        """Hand the messages after the one at hand to another handler."""
        if self.callbacks is None:
            Connection.set_handler(self, handler)
        self.first_handler = made_of(self, self.first_handler, self.callbacks, handler)
        self.callbacks = handler

    cdef str why_handler_stays(self):
        return MovingConnection.why_handler_stays(self) if self.first_handler is None else EXCHANGED

    cdef bint handler_waits(self) except -1:
        return self.first_handler is None

    cdef int handler_leaves(self) except -1:
        self.first_handler = None
        return MovingConnection.handler_leaves(self)

    cdef int interrupt(self) except -1:
        self.interrupted = True
        return 0

    # -- the end -------------------------------------------------------------------------------------------------------

    cdef int input_ended(self) except -1:
        self.ending = True
        if not self.held_up():
            self.process()
        return 0

    cdef int finish_input(self) except -1:
        """Everything before the peer's EOF was handled."""
        bad = failure = None
        try:
            last = self.finish_rest(None)
        except (RemoteProtocolError, CodecError) as error:
            bad = error
        except BaseException as error:  # a lack of memory, or what is no `Exception`
            failure = error
        if failure is not None:
            return self.called(failure)
        if bad is not None:
            if not self.passes_over(bad):
                return self.break_off(bad)
            self.call(self._answer_bad_message, (bad,))
            last = NEED_DATA
        if last is not NEED_DATA:
            self.forget_input()
            self.messages_in += 1
            self.answer_last(last)
        if self.callbacks is not None and not self._closing:
            self.call(self.callbacks.on_eof, (self,))
        return 0 if self._waits_for_tasks() else self.leave(PEER_CLOSED)

    cdef int answer_last(self, object message) except -1:
        context = self.host.contexts.enter(self.variables)
        failure = None
        self.corking = self._handling = True
        try:
            self.handle_one(message)
        except BaseException as error:
            failure = error
        finally:
            self.variables = self.host.contexts.leave(self.variables, context)
            self.corking = self._handling = False
        self._first_since = self._partial_since = INFINITY
        return self.called(failure)

    cdef int output_resumed(self) except -1:
        return self.go_on()

    def drain(self):
        """Handle what was received whole, then close."""
        self.drains = True
        self.end_requests("the server drains")
        if self._attached and not self._closing:
            self.pause_reading()
            if not self.held_up() and not self._handling:
                self.process()

    cdef bint asks_whether_idle_may_stay(self) except -1:
        if not may_keep_idle(self.callbacks):
            return False
        answers = []
        self._is_kept(self.time())
        self.call(_ask, (answers, self.callbacks.on_idle, self))
        if not self._closing and not (answers and answers[0]):
            self.happens_late(IDLE)
        return True

    cdef bint has_last_word(self) except -1:
        return self.callbacks is not None

    cdef int break_off(self, object error) except -1:
        Connection.break_off(self, error)
        if self.callbacks is not None and self._has_refused():
            self.call(self.callbacks.on_protocol_error, (self, error))
            return self.leave(error.reason)
        return 0

    cdef int timed_out(self, object which) except -1:
        if self.callbacks is not None and not (self._rare is not None and self._rare.waits_for_tasks):
            self.call(self.callbacks.on_timeout, (self, which))
        return 0

    cdef int ended(self) except -1:
        callbacks, self.callbacks = self.callbacks, None
        self.first_handler = None  # and with both any cycle through this connection
        if callbacks is not None:
            self.call(callbacks.on_close, (self, self.close_reason))
        return self.released()


def _ask(answers, callback, conn):
    answers.append(callback(conn))


ConnectionBase.register(PushConnection)


seal(globals())
