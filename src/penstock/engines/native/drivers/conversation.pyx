"""Connections whose handler is a coroutine, as `engines.loop.tasks`: one task each, resumed as soon as bytes were read for it."""

import asyncio
import sys
from asyncio import CancelledError, Task
from collections.abc import Awaitable
from inspect import iscoroutinefunction
from types import CoroutineType

from cpython.contextvars cimport PyContext_Copy
from cpython.long cimport PyLong_AsLongLongAndOverflow

from .answer cimport Answer, answer_of, Conversation, conversation_of
from .awaited cimport end_mark, NONE, wake_all
from libc.math cimport INFINITY

from .carried cimport carried, unpacked
from .driven cimport Driven
from .exchange cimport receive_by, receive_from, send_raw_to, send_to
from .feed cimport feed_of, pour
from ..framing.choice cimport framing_of_cutter, known_until
from ..framing.frames cimport Framing
from ..host cimport Host
from ..sealed cimport seal
from .reading cimport stream_feed_of
from .waiter cimport PENDING, Waiter, waiter_of

from ....core.compiled_law.closing cimport _CLOSED as CLOSED
from ....core.compiled_law.deadlines cimport _IDLE as IDLE

from ....core.interrupts import is_interrupt
from ....core.handlers import expects_messages, may_keep_idle
from ....core.handover.law import has_message_at_work, why_it_ends_here
from ....core.requests import refuse_silence
from ....core.timeouts import Timeout
from ....errors import ConnectionEndedError, EndOfStreamError, LocalProtocolError, RemoteProtocolError
from ....reasons import CloseReason
from ....core.contract import NO_CHECKPOINT, Connection as _AnyConnection, codec_changed
from ....core.cutters import LARGEST as _LARGEST, exactly, until
from ...loop.awaited import ANOTHER_RECEIVES
from ...luggage import take_state
from ...requests import request_of
from ...loop.scopes import Departure, DrainNotice, OpenScope, tell_of_drain
from ...whereabouts import place_of_task
from .exchange import DeadlinePassed

# None where no task can be begun within a step of another one.
cdef object current_task = asyncio.current_task if sys.version_info >= (3, 12) else None

cdef long long LARGEST = _LARGEST

cdef object DRAINED = CloseReason.DRAINED
cdef object PEER_CLOSED = CloseReason.PEER_CLOSED


cdef class ConversationConnection(AwaitedConnection):
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

    # -- without waking the task ---------------------------------------------------------------------------------------

    cdef bint step_in_place(self) except -1:
        cdef Driven driven
        task = self.task
        if task is None or self.handler is None or self.waiter.state != PENDING or self.waiter.callback is None:
            return False
        driven = <Driven>self.handler
        return driven.step_in_place(task)

    cdef bint pours(self, const char* data, Py_ssize_t size) except -1:
        return pour(self, data, size)

    def protocol_feed(self, transport):
        """Return what hands the protocol of a transport what is read, and writes for it."""
        return feed_of(self, transport)

    def stream_feed(self, limit, make_reader, transport, drain):
        """Return what reads and writes for a reader and a writer of asyncio."""
        return stream_feed_of(self, limit, make_reader, transport, drain)

    cdef Waiter place_to_wait(self, object limit):
        # Where the task hangs already, when it is the one that asks: a step in place may have begun others (eager tasks).
        if limit is None and self.task is not None and self.handler is not None and (<Driven>self.handler).parked is not None:
            if current_task is None or current_task(self.host.loop) is self.task:
                return (<Driven>self.handler).parked
        return waiter_of(self.host)

    cdef int wake_closed(self) except -1:
        return wake_all(self.closed_waiters, self.close_reason)

    # -- receiving -----------------------------------------------------------------------------------------------------

    cdef bint expects_messages(self) except -1:
        # Those of a process before count, too.
        return not self.messages_in and (self.callbacks is None or expects_messages(self.callbacks))

    def receive(self, timeout_s=None):
        """Return the next message, once awaited."""
        return receive_from(self, timeout_s, False)

    def receive_exactly(self, n, timeout_s=None, *, max_bytes=None):
        """Return the next ``n`` bytes, past the codec, once awaited."""
        cdef int is_more = 0
        cdef long long size
        if max_bytes is None and type(n) is int and self.framing is not None and self.waiter is None:
            size = PyLong_AsLongLongAndOverflow(n, &is_more)
            if 0 < size <= min(self.framing.limit, LARGEST):  # what is more than it holds is -1
                return receive_by(self, None, size, self.wait_s(timeout_s))
        return self.octets_by(exactly, n, max_bytes, timeout_s)

    def receive_until(self, delimiter, max_bytes=None, timeout_s=None):
        """Return the bytes up to the next delimiter, past the codec, once awaited."""
        cdef Framing by
        if max_bytes is None and type(delimiter) is bytes and self.framing is not None and self.waiter is None:
            by = known_until(delimiter, self.framing.limit)
            if by is not None:
                return receive_by(self, by, 0, self.wait_s(timeout_s))
        return self.octets_by(until, delimiter, max_bytes, timeout_s)

    cdef object octets_by(self, object choose, object what, object max_bytes, object timeout_s):
        cutter = refusal = None
        try:
            cutter = choose(what, self.codec, max_bytes)
            if self.waiter is not None:
                raise LocalProtocolError(ANOTHER_RECEIVES)
        except Exception as error:
            refusal = error
        if refusal is not None:
            return _refuse(self, refusal)
        if cutter is None:
            return _nothing(self)
        return receive_by(self, framing_of_cutter(what, cutter), 0, self.wait_s(timeout_s))

    cdef object wait_s(self, object timeout_s):
        """Return how long a message is waited for."""
        return timeout_s

    def __aiter__(self):
        return self

    def __anext__(self):
        return receive_from(self, None, True)

    cdef double ask(self) except? -1:
        """A reply is waited for from now on; return when the peer would be late."""
        cdef Py_ssize_t partial_bytes = self.partial_bytes()  # what is whole may wait for whoever receives
        if partial_bytes < 0:
            partial_bytes = self.pending_bytes()  # until it was looked at, in `listens`
        return self._asks(self.time(), partial_bytes, not self.had_message and self.expects_messages())

    async def request(self, message, timeout_s=None):
        """Send one message; return the reply to it."""
        if self.codec.quiet_s is not None:
            if self.callbacks is not None or isinstance(self.handler, Answer):
                refuse_silence(self.codec)
            if self.waiter is not None:
                raise LocalProtocolError(ANOTHER_RECEIVES)
            return await self.exchange(message, timeout_s)
        await self.host.turn.take()
        while self._write_paused and self._can_send:
            await self.room()
        end_mark(self)
        due_at = self.ask()
        try:
            self.arm(due_at)
            return await request_of(self, message, timeout_s)
        finally:
            self._asked(self.time(), self.waiter is not None)

    async def wait_writable(self):
        """Wait until output is not over its high watermark."""
        await self.host.turn.take()
        while self._write_paused and self._can_send:
            await self.room()
        refusal = self.refusal()
        if refusal is not None:
            raise refusal

    async def wait_sunk(self):
        """Wait until output is not over its high watermark, whether or not more may be sent; or until it is gone."""
        await self.host.turn.take()
        while self._write_paused and not self._gone:
            await self.room()
        return self._state != CLOSED

    async def exchange(self, message, timeout_s):
        """Send one message; return the next one that comes."""
        await self.send(message)
        return await self.receive(timeout_s)

    async def __aenter__(self):
        return self

    def while_open(self, *, at_eof=True):
        """Return a block that is cancelled when the peer goes."""
        return OpenScope(self, at_eof=at_eof)

    async def __aexit__(self, kind, error, traceback):
        if kind is None or issubclass(kind, ConnectionEndedError):
            self.close()
        else:
            self.abort()
        await self.wait_closed()

    async def wait_tls(self):
        """Wait until the TLS handshake is done."""
        cdef dict upgrades = self.host.upgrades
        if upgrades.get(self) is not None:
            await self.host.turn.take()
            raise LocalProtocolError("TLS begins once this handler has returned: it cannot wait for that")
        while self in upgrades and not self._closing and not self.lost:
            await self.room()
        info = self.tls
        await self.host.turn.take()
        if info is None:
            raise LocalProtocolError("there is no TLS") if self._can_send else self.why_not()
        return info

    def set_codec(self, codec):
        """Speak another codec, from the message after the one received last."""
        self.switch(codec)
        codec_changed(self)

    def set_handler(self, handler):
        """Hand the messages after the one at hand to another handler."""
        if self.callbacks is None:
            AwaitedConnection.set_handler(self, handler)
        self.callbacks = handler

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, message):
        """Queue one message, once the write buffer is no longer over its high watermark."""
        return send_to(self, message)

    def send_raw(self, data):
        """Send bytes as they are, past the codec, once awaited."""
        return send_raw_to(self, data)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def wait_closed(self):
        """Wait until the transport is gone; return why."""
        if self._gone:
            await self.host.turn.take()
        else:
            waiter = self.host.loop.create_future()
            if self.closed_waiters is None:
                self.closed_waiters = []
            self.closed_waiters.append(waiter)
            await waiter
        return self.close_reason

    def drain(self):
        """Let the handler receive what came whole; then it meets the end of the stream."""
        AwaitedConnection.drain(self)
        if self.closed_waiters is not None:
            tell_of_drain(self.closed_waiters)

    async def wait_draining(self):
        """Wait until the server begins to drain."""
        if self.host.server is None:
            await _AnyConnection.wait_draining(self)
        if self.drains or self._gone:
            await self.host.turn.take()
        else:
            notice = DrainNotice(loop=self.host.loop)
            if self.closed_waiters is None:
                self.closed_waiters = []
            self.closed_waiters.append(notice)
            try:
                await notice
            finally:
                if notice in self.closed_waiters:
                    self.closed_waiters.remove(notice)
        if not self.drains:
            raise self.why_not()

    def watch_departure(self, departure):
        """Have a future done when the peer goes."""
        if self._gone or (self.input_over and departure.at_eof):
            departure.set_result(None)
            return
        if self.closed_waiters is None:
            self.closed_waiters = []
        self.closed_waiters.append(departure)

    # -- to another process, and from one ------------------------------------------------------------------------------

    def checkpoint(self, state):
        """Say that the conversation can begin anew here."""
        if not self.host.hands_over:
            raise LocalProtocolError(NO_CHECKPOINT)
        self.mark = state
        self.marked_at = self.messages_in

    cdef str why_handler_stays(self):
        if self.marked_at != self.messages_in:
            return "it has made no checkpoint since its last message"
        if self.waiter is None or self.waiter.state != PENDING or self.timer_of_wait is not None:
            return "it does not wait for a message alone"
        if self.past_codec or self._handling:
            return "it does not wait for a message alone"
        return "" if getattr(self.task, "_fut_waiter", None) is self.waiter else "another task of it receives"

    def is_at_work(self):
        """Say whether it has made a checkpoint and may come to another one: nothing else keeps it for good."""
        if self.marked_at == NONE:
            return False
        if self.waiter is not None and self.waiter.state == PENDING and not has_message_at_work(self):
            return False
        return not self.why_link_stays() and not why_it_ends_here(self)

    cdef bytes tell(self, object mover):
        return mover.told_by(self.mark)

    cdef bint handler_waits(self) except -1:
        return self.waiter is not None and self.waiter.state == PENDING and self.marked_at == self.messages_in

    cdef int called(self, object error) except -1:
        self.release_cork()
        if error is not None:
            raise error
        if self._close_after is not None:
            reason, self._close_after = self._close_after, None
            return self.leave(reason)
        return 0

    cdef int handler_leaves(self) except -1:
        if self.task is None:
            self.handler = None
            return self.released()
        self.task.cancel()
        return self.part()

    cdef int handler_arrives(self, object arrival) except -1:
        take_state(self, None, arrival.state, arrival.snapshot.places)
        self.mark = arrival.state
        self.marked_at = self.messages_in
        return 0

    cdef int handler_goes_on(self) except -1:
        cdef double since = self._idle_since
        self.start_task()
        self.host.loop.call_soon(self._is_idle_since, since, self.messages_in)
        return 0

    def _is_idle_since(self, double since, long long before):
        """It has begun anew: where it waits for a message, it has waited since before it moved."""
        if self.waiter is not None and self.messages_in == before and self._idle_since != INFINITY:
            self._idle_since = since
            self.arm_next()

    cdef int input_ended(self) except -1:
        cdef bint wants_more = self.waiter is not None or self.unhandled()
        AwaitedConnection.input_ended(self)
        if self.closed_waiters is not None:
            for waiter in self.closed_waiters[:]:
                if isinstance(waiter, Departure) and waiter.at_eof and not waiter.done():
                    waiter.set_result(None)
        if self.host.closes_at_eof and not wants_more:
            return self.leave(PEER_CLOSED)  # its handler is cancelled when the transport is gone
        return 0

    def cut(self, reason):
        """End the connection now, and its handler with it."""
        self.lose(reason)
        if self.task is not None:
            self.task.cancel()

    cdef bint asks_whether_idle_may_stay(self) except -1:
        if self.expired_by is not None or not may_keep_idle(self.callbacks):
            return False  # it was to be asked before, and the callback at work has not returned since
        self._is_kept(self.time())
        return self.timed_out(Timeout.IDLE) != 0

    cdef object its_callbacks(self):
        return self.callbacks

    cdef bint has_last_word(self) except -1:
        return self.callbacks is not None or isinstance(self.handler, Conversation)

    cdef int timed_out(self, object which) except -1:
        if self.callbacks is None or self.task is None or not self.connected:
            return 0
        self.expired_by = which  # the task calls on_timeout once it receives: its callbacks never overlap
        self.wake()
        return 1


_AnyConnection.register(ConversationConnection)


def _run_ended(task):
    cdef Driven driven = task.get_coro()
    cdef ConversationConnection conn = driven.conn
    conn._run_ended(task)


# -- what the task runs ------------------------------------------------------------------------------------------------


async def _refuse(ConversationConnection conn, error):
    end_mark(conn)
    if isinstance(error, RemoteProtocolError) and not (conn._closing or conn._has_refused()):
        conn.break_off(error)
    await conn.host.turn.take()
    raise error


async def _nothing(ConversationConnection conn):
    end_mark(conn)
    await conn.host.turn.take()
    return b""


async def _await(function, conn):
    await function(conn)


async def _converse(ConversationConnection conn):
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


async def _handled(ConversationConnection conn, reply):
    """Await what a callback returned where that is to be awaited, and send the reply."""
    if reply is not None and (type(reply) is CoroutineType or isinstance(reply, Awaitable)):
        reply = await reply
    if reply is not None:
        while conn._write_paused and conn._can_send:
            await conn.room()
    conn.finish_message(reply)


async def _conclude(ConversationConnection conn):
    callbacks, conn.callbacks = conn.callbacks, None  # a task that is cancelled before this begins anew
    try:
        result = callbacks.on_close(conn, conn.close_reason)
        if isinstance(result, Awaitable):
            await result
    except BaseException as error:
        raise carried(conn._state == CLOSED, error)


seal(globals())
