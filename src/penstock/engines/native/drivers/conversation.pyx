"""Conversations, as `engines.loop.tasks`: what a handler or a client awaits, resumed as soon as bytes were read for it."""

import asyncio
import sys

from cpython.long cimport PyLong_AsLongLongAndOverflow

from libc.math cimport INFINITY

from .answer cimport Answer
from .awaited cimport end_mark, NONE
from .driven cimport Driven
from .exchange cimport receive_by, receive_from, send_raw_to, send_to
from .feed cimport feed_of, pour
from ..framing.choice cimport framing_of_cutter, known_until
from ..framing.frames cimport Framing
from ..sealed cimport seal
from .reading cimport feed_streams, STREAM_TYPES, StreamFeed, StreamSink
from .waiter cimport PENDING, Waiter, waiter_of

from ....core.compiled_law.closing cimport _CLOSED as CLOSED

from ....core.handlers import expects_messages
from ....core.handover.law import has_message_at_work, why_it_ends_here
from ....core.requests import refuse_silence
from ....errors import ConnectionEndedError, LocalProtocolError, RemoteProtocolError
from ....reasons import CloseReason
from ....core.contract import NO_CHECKPOINT, Connection as _AnyConnection, codec_changed
from ....core.cutters import LARGEST as _LARGEST, exactly, until
from ...loop.awaited import ANOTHER_RECEIVES
from ...luggage import take_state
from ...requests import request_of
from ...loop.scopes import Departure, DrainNotice, OpenScope, tell_of_drain

# None where no task can be begun within a step of another one.
cdef object current_task = asyncio.current_task if sys.version_info >= (3, 12) else None

cdef long long LARGEST = _LARGEST

cdef object PEER_CLOSED = CloseReason.PEER_CLOSED


cdef class ConversationConnection(TaskConnection):
    """A conversation: what its handler, or its client, awaits."""

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

    @property
    def stream_types(self):
        """What a reader and a writer of asyncio inherit from, for `feed_streams`."""
        return STREAM_TYPES

    def feed_streams(self, StreamFeed reader not None, StreamSink writer not None, limit, make_reader, transport, drain):
        """Have a reader and a writer of asyncio read from this and write to it."""
        feed_streams(self, reader, writer, limit, make_reader, transport, drain)

    cdef Waiter place_to_wait(self, object limit):
        # Where the task hangs already, when it is the one that asks: a step in place may have begun others (eager tasks).
        if limit is None and self.task is not None and self.handler is not None and (<Driven>self.handler).parked is not None:
            if current_task is None or current_task(self.host.loop) is self.task:
                return (<Driven>self.handler).parked
        return waiter_of(self.host)

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
            TaskConnection.set_handler(self, handler)
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
        TaskConnection.drain(self)
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
        TaskConnection.input_ended(self)
        if self.closed_waiters is not None:
            for waiter in self.closed_waiters[:]:
                if isinstance(waiter, Departure) and waiter.at_eof and not waiter.done():
                    waiter.set_result(None)
        if self.host.closes_at_eof and not wants_more:
            return self.leave(PEER_CLOSED)  # its handler is cancelled when the transport is gone
        return 0


_AnyConnection.register(ConversationConnection)


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


seal(globals())
