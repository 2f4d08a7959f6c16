"""Connections whose handler is called at once: ``def`` message handlers and ``def`` callbacks, as `engines.loop.push`."""

from cpython.contextvars cimport PyContext_Copy, PyContext_Enter, PyContext_Exit
from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from .connection cimport Connection, Host
from .framing cimport NEED_DATA
from .transport cimport CONTINUE, REPORT_LOST, Transport

from ...codecs.guard import failure as decoding_failed
from ...core.interrupts import is_interrupt
from ...core.service import Handler, MessageHandler
from ...errors import CodecError, RemoteProtocolError
from ...reasons import CloseReason
from ...core.contract import ConnectionBase

cdef object DRAINED = CloseReason.DRAINED
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED


cdef class PushConnection(Connection):
    """Messages are handled as soon as they are cut; all replies of one read leave in one write."""

    cdef int settle_in(self, Host host, object local, object handler) except -1:
        Connection.settle_in(self, host, local, handler)
        if isinstance(handler, MessageHandler):
            self.function = handler.function
            self.takes_connection = handler.takes_connection
        else:
            self.set_callbacks(handler.factory())
        return 0

    cdef int set_callbacks(self, object callbacks) except -1:
        self.function = callbacks.on_message
        self.callbacks = callbacks
        self.takes_connection = True
        return 0

    cdef int start(self) except -1:
        cdef double now = self.time()
        self.clocks.idle = now
        # A handler without on_message waits for none: its peer is not blamed for sending none.
        if self.callbacks is None or type(self.callbacks).on_message is not Handler.on_message:
            self.clocks.first = now
        self.arm_earliest()
        if self.callbacks is not None:
            self.call(self.callbacks.on_connect, (self,))
        return 0

    # -- calling the handler -------------------------------------------------------------------------------------------

    cdef object within(self):
        """Return the context in which the handler is called: this connection's alone, made for its first call."""
        if self.variables is None:
            self.variables = PyContext_Copy(self.host.context)
        return self.variables

    cdef int call(self, object callback, tuple arguments) except -1:
        """Call a callback that is not about a message."""
        context = self.within()
        failure = None
        self.corking = self.handling = True
        PyContext_Enter(context)
        try:
            callback(*arguments)
        except BaseException as error:
            failure = error
        finally:
            PyContext_Exit(context)
            self.corking = self.handling = False
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
        if self.leave_reason is not None:
            return self.leave(self.leave_reason)
        return 0

    cdef int handle_one(self, object message) except -1:
        reply = self.function(self, message) if self.takes_connection else self.function(message)
        if reply is not None and not self.leaving() and not self.lost:
            if not self.can_send():
                raise self.why_not()
            self.put_message(reply)
        return 0

    cdef int handle(self, int budget) except -1:
        """Handle up to so many messages, one after the other, and send the replies. Return how many were handled.

        What a bad frame follows on is done first; it is left where it is, to be met again.
        """
        cdef int handled = 0
        cdef bint cutting = True
        failure = bad = None
        context = self.within()
        self.corking = self.handling = True
        self.interrupted = False
        PyContext_Enter(context)
        try:
            while handled < budget:
                cutting = True
                message = self.next_message(budget - handled)
                cutting = False
                if message is NEED_DATA:
                    break
                handled += 1
                self.messages_in += 1
                self.handle_one(message)
                if self.interrupted or self.write_paused:
                    break
        except BaseException as error:
            if cutting and isinstance(error, Exception) and not isinstance(error, MemoryError):
                bad = decoding_failed(self.codec, "decode", error)
            else:
                failure = error
        finally:
            PyContext_Exit(context)
            self.corking = self.handling = False
        if handled:
            # Whatever is missing after these messages, it is not one that began before them.
            self.clocks.first = self.clocks.partial = INFINITY
        self.called(failure)
        if bad is not None and not self.leaving():
            self.break_off(bad)
        return handled

    # -- messages ------------------------------------------------------------------------------------------------------

    cdef int received(self) except -1:
        if not self.continuing and not self.write_paused:
            self.process()
        return 0

    cdef int process(self) except -1:
        """Handle what is there, up to the budget of one turn, unless output is stalled or the connection leaves."""
        cdef int budget = self.host.batch_messages
        cdef int handled
        while not self.leaving():
            if self.write_paused:
                return 0  # resume_writing goes on from here
            handled = self.handle(budget)
            if self.leaving() or self.write_paused:
                return 0
            budget -= handled
            if handled == 0 or not self.interrupted and budget > 0:
                return self.settle()
            if budget <= 0:
                if not self.unhandled():
                    return self.settle()
                return self.go_on_later()
        return 0

    cdef int go_on_later(self) except -1:
        """Handle the rest of the input when others have had their turn."""
        self.continuing = True
        self.clocks.idle = INFINITY  # it is the peer who waits
        self.defer(CONTINUE)
        return self.pause_reading()

    cdef int go_on(self) except -1:
        self.continuing = False
        if self.leaving() or self.write_paused:
            return 0
        self.process()
        if not self.continuing and not self.write_paused and not self.drains and not self.leaving():
            self.read_again()
        return 0

    cdef int deferred(self, uint32_t todo) except -1:
        try:
            if todo & CONTINUE and self.continuing:
                self.go_on()
        finally:
            if todo & REPORT_LOST:
                Transport.deferred(self, todo)
        return 0

    cdef int settle(self) except -1:
        """Nothing whole is left: start or stop the clock of the partial message, and end if the end was waiting."""
        if self.clocks.idle == INFINITY:
            self.clocks.idle = self.time()
            if self.patience.idle_s != INFINITY:
                self.arm(self.clocks.idle + self.patience.idle_s)
        if self.ending:
            return self.finish_input()
        if self.drains:
            return self.leave(DRAINED)
        if not self.pending_bytes():
            self.clocks.partial = INFINITY
        elif self.clocks.partial == INFINITY:
            self.clocks.partial = self.time()
            if self.patience.message_s != INFINITY:
                self.arm(self.clocks.partial + self.patience.message_s)
        return 0

    # -- what a handler may do in the middle of a batch ----------------------------------------------------------------

    def set_codec(self, codec):
        """Speak another codec, from the message after the one at hand."""
        if self.corked() and not self.handling:
            self.uncork()
        self.switch(codec)

    def set_handler(self, handler):
        """Hand the messages after the one at hand to another handler."""
        if self.callbacks is None:
            Connection.set_handler(self, handler)
        self.set_callbacks(handler)

    cdef int interrupt(self) except -1:
        self.interrupted = True
        return 0

    # -- the end -------------------------------------------------------------------------------------------------------

    cdef int input_ended(self) except -1:
        self.ending = True
        if not self.continuing and not self.write_paused:
            self.process()
        return 0

    cdef int finish_input(self) except -1:
        """Everything before the peer's EOF was handled."""
        bad = None
        try:
            last = self.finish_rest()
        except (RemoteProtocolError, CodecError) as error:
            bad = error
        if bad is not None:
            return self.break_off(bad)
        if last is not NEED_DATA:
            self.forget_input()
            self.messages_in += 1
            self.answer_last(last)
        return self.leave(PEER_CLOSED)

    cdef int answer_last(self, object message) except -1:
        context = self.within()
        failure = None
        self.corking = self.handling = True
        PyContext_Enter(context)
        try:
            self.handle_one(message)
        except BaseException as error:
            failure = error
        finally:
            PyContext_Exit(context)
            self.corking = self.handling = False
        self.clocks.first = self.clocks.partial = INFINITY
        return self.called(failure)

    cdef int output_resumed(self) except -1:
        return self.go_on()

    def drain(self):
        """Handle what was received whole, then close."""
        self.drains = True
        if self.attached and not self.leaving():
            self.pause_reading()
            if not self.continuing and not self.write_paused and not self.handling:
                self.process()

    cdef int timed_out(self, object which) except -1:
        if self.callbacks is not None:
            self.call(self.callbacks.on_timeout, (self, which))
        return 0

    cdef int ended(self) except -1:
        callbacks = self.callbacks
        self.function = self.callbacks = None  # and with them any cycle through this connection
        if callbacks is not None:
            self.call(callbacks.on_close, (self, self.close_reason))
        return self.released()


ConnectionBase.register(PushConnection)
