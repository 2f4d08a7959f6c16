"""Connections whose handler is called at once, on the loop: ``def`` message handlers and ``def`` callbacks."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from math import inf
from operator import length_hint
from time import monotonic
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs import guard
from ...codecs.base import NEED_DATA, Codec
from ...core.endings import reason_after
from ...core.handlers import (
    CallbackHandler,
    Handler,
    MessageHandler,
    answer_to_bad_messages,
    expects_messages,
    may_keep_idle,
)
from ...core.interrupts import is_interrupt
from ...core.law.deadlines import IDLE
from ...core.timeouts import Timeout
from ...core.turns import FIRST_LOOK, LONGEST_S, LOOKED_AT
from ...errors import CodecError, RemoteProtocolError
from ...reasons import CloseReason
from .context import LoopContext
from .stream import StreamConnection
from .waiter import raise_it

M = TypeVar("M")

# Messages of a connection's first batch, as long as nobody knows how long its replies are: it may be a hundred bytes in
# and a megabyte out. Doubled from batch to batch while they are short.
FIRST_BATCH = 16


class PushConnection(StreamConnection[M]):
    """Messages are handled as soon as they are cut; all replies of one read leave in one write."""

    __slots__ = (
        "_batch_limit",
        "_callbacks",
        "_continuing",
        "_ending",
        "_failure",
        "_interrupted",
        "_late",
        "_next_codec",
        "_on_message",
        "_replies",
        "_variables",
    )

    def __init__(
        self,
        context: LoopContext,
        handler: MessageHandler | CallbackHandler,
        codec: Codec[M],
        peer: Peer,
        local: Address,
        *,
        records: bool = False,
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        self._callbacks: Handler[M] | None = (callbacks := handler.callbacks())
        self._on_message: Callable[[M], Any] = handler.for_messages(self, callbacks)
        self._survives_bad_messages(answer_to_bad_messages(handler, callbacks))
        self._replies: list[M] = []  # of the batch at hand, not yet encoded
        self._batch_limit = FIRST_BATCH
        self._failure: BaseException | None = None  # of one of them, met while the handler of a later message works
        # What the handler asked for in the middle of a batch, done when it returns.
        self._interrupted = False
        self._late = False  # the messages at hand have taken long enough
        self._next_codec: Codec[Any] | None = None
        self._continuing = False  # the rest of the input waits for the loop's next turn
        self._ending = False  # the peer's EOF waits for the input before it
        self._variables: contextvars.Context = context.variables.copy()  # of this connection alone

    def _set_callbacks(self, handler: Handler[Any]) -> None:
        self._callbacks = handler
        self._on_message = partial(handler.on_message, self)

    def _begin(self) -> None:
        callbacks = self._callbacks
        self._starts(self._clock.time(), callbacks is None or expects_messages(callbacks))
        self._arm_next()
        if callbacks is not None:
            self._call(partial(callbacks.on_connect, self))

    # -- calling the handler -------------------------------------------------------------------------------------------

    def _call(self, callback: Callable[[], object]) -> None:
        """Call a callback that is not about a message."""
        self._corking = self._handling = True
        error: BaseException | None = None
        try:
            self._variables.run(callback)
        except BaseException as caught:
            error = caught
        self._called(error, 0, 0)

    def _handle(self, messages: list[M]) -> None:
        """Call the handler for each message and send the replies."""
        self._corking = self._handling = True
        self._interrupted = False
        remaining = iter(messages)
        in_time = remaining if len(messages) <= LOOKED_AT else chain.from_iterable(self._in_time(remaining))
        error: BaseException | None = None
        output: bytes | None = None
        try:
            output = self._variables.run(self._answer, in_time)
        except BaseException as caught:
            error = caught
            try:
                self._encode_replies()  # of the messages before the one that failed
            except BaseException as second:  # the first failure is the one that is reported
                if is_interrupt(second):
                    error = second
        if output is not None:  # by far the most frequent
            self._corking = self._handling = False
            self.bytes_out += len(output)
            if queued_bytes := self._link.send(output):
                self._output_queued(queued_bytes)
        else:
            unhandled = length_hint(remaining)
            self.messages_in -= unhandled  # they are cut again
            self._called(error, len(messages) - unhandled, unhandled)

    def _in_time(self, messages: Iterator[M]) -> Iterator[Iterator[M]]:
        """Yield the messages in parts; stop, and have the rest of them cut again, when they have taken too long."""
        until = monotonic() + LONGEST_S
        count = FIRST_LOOK
        while length_hint(messages):
            yield islice(messages, count)
            count = LOOKED_AT
            if monotonic() > until and length_hint(messages):
                self._interrupted = self._late = True
                self._next_codec = self._next_codec or self.codec
                return

    def _answer(self, messages: Iterator[M]) -> bytes | None:
        """Call the handler for each message, until it is interrupted.

        One call for the whole batch: what guards a codec, and the context of the connection, cost a call each.

        Returns:
            The replies as they are sent, where there is nothing to be done with them but that; else None: they are in
            the output.

        Raises:
            What the handler raises, and what `_encode_replies` raises, as it does.
        """
        replies, on_message = self._replies, self._on_message
        for message in messages:
            reply = on_message(message)
            if reply is not None:
                replies.append(reply)
            if self._interrupted:
                break
        count = len(replies)
        if self._interrupted or self._records or self._corked or self._write_paused or not (count and self._can_send):
            self._encode_replies()
            return None
        codec = self.codec
        try:
            data = codec.encode(replies[0]) if count == 1 else codec.encode_many(replies)
            if type(data) is not bytes:
                data = guard.as_bytes(codec, "encode" if count == 1 else "encode_many", data)
        except Exception as error:
            if count == 1:
                replies.clear()
                raise guard.failure(codec, "encode", error)  # noqa: B904 - as `guard` does
            self._encode_singly(replies)
            raise guard.failure(codec, "encode_many", error)  # noqa: B904
        replies.clear()
        if self._interrupted or self._corked or self._write_paused or not self._can_send:  # type: ignore[redundant-expr]
            self._put_joined(data, count)  # by the codec, while it encoded
            return None
        self._messages_out += count
        return data

    def _called(self, error: BaseException | None, handled: int, unhandled: int) -> None:
        """The handler returned, or raised: send what it left, then do what it asked for."""
        self._corking = self._handling = False
        if error is not None and is_interrupt(error):
            # Not the handler's: when the loop runs again, the connection goes on with what it has.
            self._inbound.switch(self.codec, handled, unhandled)
            self._next_codec = None
            self._continue_later()
            # A transport would take it for an error of its own.
            self._context.loop.call_soon(raise_it, error)
            return
        if self._failure is not None:  # it was the first
            error, self._failure = self._failure, None
        self._uncork()
        if error is not None:
            self._handler_failed(error)
        elif self._close_after is not None:
            self._close(self._close_after)
        elif self._next_codec is not None:
            self._inbound.switch(self._next_codec, handled, unhandled)
            self._watch_input()
            self._next_codec = None

    def _encode_replies(self) -> None:
        """Move the replies of the batch to the output, in the order of their messages.

        Raises:
            LocalProtocolError, TypeError, CodecError: One is no message of the codec, or the codec failed at it. Those
                before it are in the output.
            ClosedError: EOF was sent before them.
        """
        replies = self._replies
        if not replies:
            return
        if self._closing or self._failure is not None:
            replies.clear()
        elif not self._can_send:
            replies.clear()
            raise self._why_not()
        elif self._records or len(replies) == 1:
            self._encode_singly(replies)
        else:
            try:
                data = guard.encode_many(self.codec, replies)
            except Exception:
                self._encode_singly(replies)
                raise
            count = len(replies)
            replies.clear()
            self._put_joined(data, count)

    def _encode_replies_before(self) -> None:
        """What the handler does itself comes after what was returned before.

        That a reply cannot be sent is no matter of the handler at work, which was called for a later message: it finds
        the connection closing. It is reported when that handler has returned, and no further one is called.
        """
        try:
            self._encode_replies()
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._failure = error
            self._close(reason_after(error))

    def _encode_singly(self, replies: list[M]) -> None:
        waiting = replies[:]
        replies.clear()
        for reply in waiting:
            self._put(self._encode(reply))

    # -- messages ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what was read and handle it."""
        self.bytes_in += len(data)
        if self._can_receive and not self._draining:
            self._idle_since = self._clock.time()
            if self._continuing or self._write_paused:
                self._inbound.feed(data)
            elif self._levels.message_step_s:  # how many may be handled is asked once there are some
                self._inbound.feed(data)
                self._process()
            else:
                self._process(data)

    def _process(self, data: bytes = b"") -> None:
        """Handle what is there, up to the budget of one turn, unless output is stalled or the connection leaves.

        Args:
            data: What was read just now, where nothing keeps it from being handled.
        """
        inbound = self._inbound
        budget = self._context.limits.batch_messages
        until = 0.0
        while not self._closing:
            if self._write_paused:
                return  # resume_writing goes on from here
            limit = self._batch_limit
            if limit > budget:  # noqa: PLR1730 - a call per read
                limit = budget
            is_limited = self._levels.message_step_s
            try:
                if is_limited and inbound.pending_bytes and not (limit := self._allowed(limit)):
                    return  # `_go_on` goes on from here
                messages = inbound.take(limit if limit > 0 else 1, data)
            except (RemoteProtocolError, CodecError) as error:
                if not self._passes_over(error):
                    self._break_off(error)
                    return
                self._call(partial(self._answer_bad_message, error))
                data = b""
                budget -= 1
                if self._continuing or self._closing:
                    return
                if budget <= 0:
                    self._continue_later()
                    return
                continue
            except BaseException as error:  # a lack of memory, or what is no `Exception`, out of the codec
                self._called(error, 0, 0)
                return
            if not messages:
                self._settle()
                return
            data = b""
            if limit < 0:
                self._close(CloseReason.MESSAGE_RATE)
                return
            # Whatever is missing after these messages, it is not one that began before them.
            self._first_since = self._partial_since = inf
            bytes_before = self.bytes_out
            count = len(messages)
            if is_limited:
                self._handle_paced(messages)
            else:
                self.messages_in += count
                self._handle(messages)
            if self._continuing:  # a signal has interrupted it
                return
            budget -= count
            if self._late:
                self._late = False
                self._batch_limit = FIRST_BATCH
                budget = 0
            written_bytes = self.bytes_out - bytes_before
            if count == self._batch_limit or written_bytes > self._levels.high:
                self._learn(count, written_bytes)
            if not inbound.pending_bytes and not self._closing:
                if self._ending or self._draining or self._idle_since == inf:
                    self._settle()
                return
            if budget > 0:
                now = monotonic()
                until = until or now + LONGEST_S
                if now > until:
                    budget = 0
            if budget <= 0:
                self._continue_later()
                return

    def _handle_paced(self, messages: list[M]) -> None:
        """As `_handle`, for a peer whose messages have a highest rate: they count by when they came."""
        before, began_at = self.messages_in, self._clock.time()
        self.messages_in += len(messages)
        self._handle(messages)
        self._spends(self.messages_in - before, began_at)  # without those that are cut again

    def _allowed(self, most: int) -> int:
        """As `_allows`; where that is none, the peer is read no further until it says otherwise."""
        allowed = self._allows(most, self._clock.time())
        if not allowed:
            self._pause_reading()
            self._idle_since = inf  # it is the peer who waits
            self._arm_next()
        return allowed

    def _go_on(self) -> None:
        self._continue()

    def _learn(self, messages: int, written_bytes: int) -> None:
        """Take as many messages at once as will not fill the output far beyond its high watermark."""
        high = self._levels.high
        if written_bytes > high:
            self._batch_limit = max(1, messages * high // written_bytes)
        elif messages == self._batch_limit:
            self._batch_limit *= 2

    def _continue_later(self) -> None:
        """Give others their turn; the transport is not read meanwhile."""
        if not self._closing:
            self._continuing = True
            self._pause_reading()
            self._idle_since = inf  # it is the peer who waits
            # What is called soon comes before what became readable meanwhile; what is called soon from there, after.
            call_soon = self._context.loop.call_soon
            call_soon(call_soon, self._continue)

    def _continue(self) -> None:
        self._continuing = False
        if self._closing or self._write_paused:
            return
        if self._handling:  # the handler itself has led here
            self._continue_later()
            return
        self._process()
        if not self._held_up() and not self._draining:
            self._resume_reading()

    def _take_rest(self) -> None:
        if not self._held_up():
            self._process()

    def _held_up(self) -> bool:
        """Whether something else will go on with the input: the loop's next turn, output that falls, a token."""
        return self._continuing or self._write_paused or self._rate_held()

    def _settle(self) -> None:
        """Nothing whole is left: wait for the peer again, and end if the end was waiting."""
        if self._ending:
            self._finish()
        elif self._draining:
            if self._callbacks is not None:
                self._call(partial(self._callbacks.on_drain, self))
            self._close(CloseReason.DRAINED)
        else:
            self._arm(self._leaves_rest(self._clock.time(), self._inbound.pending_bytes))

    # -- what a handler may do in the middle of a batch ----------------------------------------------------------------

    def post(self, message: M) -> None:
        """Queue one message; never wait."""
        if self._replies:
            self._encode_replies_before()
        super().post(message)

    def post_frame(self, frame: bytes) -> None:
        """Queue one message that is framed already."""
        if self._replies:
            self._encode_replies_before()
        super().post_frame(frame)

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark."""
        if self._replies:
            self._encode_replies_before()
        return super().try_send(message)

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one at hand."""
        if self._replies:
            self._encode_replies_before()
        self.codec = codec
        if self._handling:
            self._next_codec = codec
            self._interrupted = True
        else:
            self._inbound.switch(codec, 0, 0)
            self._watch_input()

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        if self._callbacks is None:
            super().set_handler(handler)
        self._set_callbacks(handler)
        if self._handling:
            self._next_codec = self.codec  # the messages not yet handled are given back, to be cut again
            self._interrupted = True

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        if self._replies:
            self._encode_replies_before()
        super().send_eof()

    def _close(self, reason: CloseReason) -> None:
        self._interrupted = True
        super()._close(reason)

    def _lose(self, reason: CloseReason) -> None:
        self._interrupted = True
        super()._lose(reason)

    # -- the end -------------------------------------------------------------------------------------------------------

    def _input_ended(self) -> None:
        self._ending = True
        if not self._held_up():
            self._process()

    def _finish(self) -> None:
        """Everything before the peer's EOF was handled."""
        try:
            last = self._inbound.finish()
        except (RemoteProtocolError, CodecError) as error:
            if not self._passes_over(error):
                self._break_off(error)
                return
            self._call(partial(self._answer_bad_message, error))
            last = NEED_DATA
        except BaseException as error:  # as in `_process`
            self._called(error, 0, 0)
            return
        if last is not NEED_DATA:
            self._inbound.clear()
            self.messages_in += 1
            self._handle([last])
        if self._callbacks is not None and not self._closing:
            self._call(partial(self._callbacks.on_eof, self))
        if not self._waits_for_tasks():
            self._close(CloseReason.PEER_CLOSED)

    def _input_resumed(self) -> None:
        self._continue()

    def drain(self) -> None:
        """Handle what was received whole, then close."""
        self._draining = True
        if self._attached and not self._closing:  # one that leaves still has its peer's EOF to read
            self._pause_reading()
            if not self._held_up() and not self._handling:
                self._process()

    def _asks_whether_idle_may_stay(self) -> bool:
        callbacks = self._callbacks
        if callbacks is None or not may_keep_idle(callbacks):
            return False
        answers: list[object] = []
        self._is_kept(self._clock.time())
        self._call(lambda: answers.append(callbacks.on_idle(self)))
        if not self._closing and not (answers and answers[0]):
            self._expire(IDLE)
        return True

    def _has_last_word(self) -> bool:
        return self._callbacks is not None

    def _break_off(self, error: RemoteProtocolError | CodecError) -> None:
        super()._break_off(error)
        callbacks = self._callbacks
        if callbacks is not None and isinstance(error, RemoteProtocolError) and self._has_refused():
            self._call(partial(callbacks.on_protocol_error, self, error))
            self._close(error.reason)

    def expired(self) -> None:
        """Do what is due; once its handler has returned, should that have moved a clock that is told the time."""
        if self._handling:
            self._disarm()
            self._context.loop.call_soon(self.expired)
        else:
            super().expired()

    def _timed_out(self, which: Timeout) -> bool:
        callbacks = self._callbacks
        if callbacks is not None and not (self._rare is not None and self._rare.waits_for_tasks):
            self._call(partial(callbacks.on_timeout, self, which))
        return False

    def _ended(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        self._on_message = _nothing  # and with both the cycles through this connection
        reason = self.close_reason
        if callbacks is not None and reason is not None:
            self._call(partial(callbacks.on_close, self, reason))
        self._release()


def _nothing(_message: object) -> None:
    """Handle no message any more."""
