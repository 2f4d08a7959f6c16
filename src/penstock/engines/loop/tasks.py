"""Connections whose handler is a coroutine: one task for each connection, from its first byte to its last."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.contract import Connection
from ...core.deadline import Deadline
from ...core.endings import last_message
from ...core.handlers import (
    AnyHandler,
    Handler,
    expects_messages,
    settled,
)
from ...core.interrupts import is_interrupt
from ...core.law.closing import CLOSED
from ...core.timeouts import Timeout
from ...core.turns import MOST_IN_A_ROW, SIZE_SHIFT
from ...errors import CodecError, EndOfStreamError, LocalProtocolError, RemoteProtocolError
from ...reasons import CloseReason
from .context import LoopContext
from .stream import StreamConnection
from .waiter import Waiter

M = TypeVar("M")

# Messages cut from the input ahead of `receive`. More would save little, and a codec switch cuts them all again.
PREFETCH = 64

# Turns of the loop until others that became readable have been served: what was called soon comes first in the first,
# their bytes are read in the same and wake their task, which runs in the second, after what was called soon before it.
OTHERS_TURN = 3


class TaskConnection(StreamConnection[M], Connection[M]):
    """Messages wait until a coroutine receives them. Without a handler it is a client's connection."""

    __slots__ = (
        "_batch_size",
        "_callbacks",
        "_expired",
        "_flush_scheduled",
        "_handler",
        "_input_over",
        "_read_s",
        "_ready",
        "_streak",
        "_task",
        "_turn",
        "_variables",
        "_waiter",
    )

    def __init__(
        self,
        context: LoopContext,
        handler: AnyHandler | None,
        codec: Codec[M],
        peer: Peer,
        local: Address,
        *,
        records: bool = False,
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        self._handler = handler
        self._callbacks: Handler[M] | None = None if handler is None else handler.callbacks()
        self._ready: deque[M] = deque()
        self._batch_size = 0  # of the batch that `_ready` is the rest of
        self._streak = 0  # messages received without letting the loop turn
        self._turn = context.turn
        self._input_over = False  # the peer's EOF came
        self._expired: Timeout | None = None  # for on_timeout
        self._read_s: float | None = None  # how long `receive` waits where it is not told
        self._waiter: asyncio.Future[None] | Waiter | None = None
        self._flush_scheduled = False
        self._task: asyncio.Task[None] | None = None
        self._variables: contextvars.Context | None = None  # of this connection alone, for all its tasks

    def _begin(self) -> None:
        if self._handler is not None:
            self._start(self._run(self._handler), self._run_ended)

    def _start(self, coroutine: Coroutine[Any, Any, None], ended: Callable[[asyncio.Task[None]], None]) -> None:
        # Not a ``finally`` in the coroutine: a task that is cancelled before its first step never enters it.
        if self._variables is None:
            self._variables = self._context.variables.copy()
        self._task = self._context.loop.create_task(coroutine, context=self._variables)
        self._task.add_done_callback(ended)

    # -- the task ------------------------------------------------------------------------------------------------------

    async def _run(self, handler: AnyHandler) -> None:
        try:
            if handler.converses:
                await handler.function(self)
            elif self._callbacks is None:
                await self._answer(handler.for_messages(self, None))
            else:
                await self._converse()
        except asyncio.CancelledError as cancelled:
            # The server cancels only after it has cut the connection; any other cancellation is the handler's own.
            if self._state != CLOSED or not self._is_cancelled():
                self._handler_failed(cancelled)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._handler_failed(error)

    def _is_cancelled(self) -> bool:
        """Whether the task was told to end."""
        return self._task is not None and self._task.cancelling() > 0

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._handling = False
        if not task.cancelled():
            task.exception()  # a signal's, if there is one: the loop has had it, and need not say that nobody has
        if self._gone:
            self._part()
        else:
            self._close_surely(self._close_after or (CloseReason.DRAINED if self._draining else CloseReason.DONE))

    async def _answer(self, function: Callable[[M], Any]) -> None:
        async for message in self:
            self._handling = True
            reply = await function(message)
            if self._write_paused and reply is not None:
                await self._wait_writable()
            self._handled(reply)

    async def _converse(self) -> None:
        assert self._callbacks is not None
        await self._call(self._callbacks.on_connect)
        while True:
            try:
                message = await self.receive()
            except EndOfStreamError:
                return
            except _DeadlinePassed as passed:
                await self._call(self._callbacks.on_timeout, passed.which)
                self._close(passed.which.value)
                return
            await self._call(self._callbacks.on_message, message)

    async def _call(self, callback: Callable[..., Any], *args: Any) -> None:
        self._handling = True
        reply = await settled(callback(self, *args))
        if self._write_paused and reply is not None:
            await self._wait_writable()
        self._handled(reply)

    def _handled(self, reply: M | None) -> None:
        """Send the reply of the message that was handled, then close if its handler, or a deadline, asked to."""
        if reply is not None:
            if not self._can_send:
                self._close_after = None
                raise self._why_not()
            self._put(self._encode(reply))
        self._handling = False
        if self._close_after is not None:
            reason, self._close_after = self._close_after, None
            self._close(reason)

    def _ended(self) -> None:
        self._wake()
        if self._task is None:
            self._conclude()

    def _conclude(self) -> None:
        """Transport and handler are both gone."""
        if self._callbacks is None:
            self._release()
        else:
            self._start(self._conclude_callbacks(self._callbacks), self._conclude_ended)

    async def _conclude_callbacks(self, callbacks: Handler[M]) -> None:
        assert self.close_reason is not None
        try:
            await settled(callbacks.on_close(self, self.close_reason))
        except asyncio.CancelledError as cancelled:
            if not self._is_cancelled():
                self._handler_failed(cancelled)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._handler_failed(error)

    def _conclude_ended(self, task: asyncio.Task[None]) -> None:
        self._task = self._callbacks = None
        if not task.cancelled():
            task.exception()  # as above
        self._part()

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, timeout_s: float | None = None) -> Coroutine[Any, Any, M]:
        """Return the next message."""
        return self._next(timeout_s, EndOfStreamError)

    def __anext__(self) -> Coroutine[Any, Any, M]:
        return self._next(None, StopAsyncIteration)  # one coroutine for each message, not one around another

    async def _next(self, timeout_s: float | None, ended: type[Exception]) -> M:
        if timeout_s is None:
            timeout_s = self._read_s
        limit: Deadline | None = None
        while True:
            if self._expired is not None:
                which, self._expired = self._expired, None
                raise _DeadlinePassed(which)
            if self._ready:
                if self._streak >= self._context.limits.batch_messages:
                    self._streak = 0
                    for _ in range(OTHERS_TURN):
                        await asyncio.sleep(0)
                    continue
                self._streak += 1
                if self._levels.message_step_s and not self._takes_token():
                    if not self._closing:
                        await self._wait_readable(self._limit_of(limit, timeout_s), held=True)
                    continue
                return self._ready.popleft()
            if self._closing and self._state != CLOSED:
                await self._turn.take()
                raise self._why_not()
            if self._corked:
                self._uncork()
            try:
                messages = self._inbound.take(PREFETCH)
            except (RemoteProtocolError, CodecError) as error:
                self._break_off(error)
                raise
            if messages:
                self._ready.extend(messages)
                self._batch_size = count = len(messages)
                self.messages_in += count
                # Whatever is missing after these messages, it is not one that began before them.
                self._first_since = self._partial_since = inf
                continue
            if self._input_over or self._draining or self._state == CLOSED:
                turn = self._turn
                if turn.left <= 0:
                    await turn.end()
                turn.left -= 1
                try:
                    return self._last()
                except EndOfStreamError:
                    if ended is StopAsyncIteration:
                        raise ended from None
                    raise
            self._streak = 0
            if timeout_s is not None:
                limit = self._limit_of(limit, timeout_s)
            await self._wait_readable(limit)

    def _last(self) -> M:
        if self._state == CLOSED and not self._input_over:
            raise self._why_not()
        try:
            message = last_message(self._inbound, peer_ended=self._input_over)
        except (RemoteProtocolError, CodecError) as error:
            self._break_off(error)
            raise
        self.messages_in += 1
        return message

    def _limit_of(self, limit: Deadline | None, timeout_s: float | None) -> Deadline | None:
        if timeout_s is None or limit is not None:
            return limit
        return Deadline(self._clock.time() + timeout_s, timeout_s)

    def _takes_token(self) -> bool:
        """Whether the next message may be handed out at the rate its peer may send at. Close if it must not wait."""
        now = self._clock.time()
        allowed = self._allows(1, now)
        if allowed > 0:
            self._spends(1, now)
        elif allowed < 0:
            self._close(CloseReason.MESSAGE_RATE)
        return allowed > 0

    def _go_on(self) -> None:
        self._wake()

    def _take_rest(self) -> None:
        self._wake()

    async def _wait_readable(self, limit: Deadline | None, *, held: bool = False) -> None:
        """Wait for bytes, EOF or the end; start the clocks that count while somebody waits.

        Args:
            limit: When to give up.
            held: Messages are there, and held back: it is the peer who waits.

        Raises:
            TimeoutError: The limit passed.
            LocalProtocolError: Somebody waits already.
        """
        if self._waiter is not None:
            await self._turn.take()
            raise LocalProtocolError("another task is already receiving from this connection")
        if limit is not None and limit.is_over:
            raise limit.error()
        if held:
            self._pause_reading()
            self._arm_next()
        else:
            callbacks = self._callbacks
            is_first = self._batch_size == 0 and (callbacks is None or expects_messages(callbacks))
            due_at = self._waits(self._clock.time(), self._inbound.pending_bytes, is_first)
            if due_at < self.due_at:
                self._arm(due_at)
        waiter = self._waiter = self._context.loop.create_future()
        timer = None if limit is None else self._clock.call_at(limit.at, partial(self._give_up, waiter, limit))
        if not held and self._reading_paused:
            self._resume_reading_if_idle()
        if self._overdue:
            self._decide()
        try:
            await waiter
        finally:
            self._turn.left = MOST_IN_A_ROW
            self._waiter = None
            self._works(self._clock.time())
            if timer is not None:
                timer.cancel()

    def _give_up(self, waiter: asyncio.Future[None] | Waiter, limit: Deadline) -> None:
        """The time for a message is over. What has come within it is read first: law 11."""
        if not waiter.done():
            limit.is_over = True
            self._catch_up(partial(_fail, waiter, limit))

    def _resume_reading_if_idle(self) -> None:
        if self._reads_on or not self._write_paused:
            self._resume_reading()

    def data_received(self, data: bytes) -> None:
        """Take what was read, and wake whoever waits for it."""
        self.bytes_in += len(data)
        if not self._can_receive or self._draining:
            return
        self._inbound.feed(data)
        waiter = self._waiter
        if waiter is not None:
            self._idle_since = self._clock.time()
            if not waiter.done():
                waiter.set_result(None)
            return
        pending_bytes = self._inbound.pending_bytes
        if self._rare is not None:  # silence passes while nobody waits, too
            self._arm(self._hears(self._clock.time(), pending_bytes))
        if pending_bytes > self._context.limits.read_bytes:
            self._pause_reading()

    @property
    def held_bytes(self) -> int:
        """As of every connection, with the messages that were cut ahead and wait for their turn."""
        return super().held_bytes + (self._inbound.batch_bytes if self._ready else 0)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _is_woken(self) -> bool:
        return self._waiter is not None and self._waiter.done()

    def _input_ended(self) -> None:
        self._input_over = True
        self._wake()

    def set_codec(self, codec: Codec[Any]) -> None:
        """Speak another codec, from the message after the one received last."""
        self.codec = codec
        unhandled = len(self._ready)
        self.messages_in -= unhandled  # they are cut again
        self._ready.clear()
        self._inbound.switch(codec, self._batch_size - unhandled, unhandled)
        self._watch_input()

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        if self._callbacks is None:
            super().set_handler(handler)
        self._callbacks = handler

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, message: M) -> None:
        """Queue one message, once the write buffer is no longer over its high watermark."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        if self._write_paused:
            await self._wait_writable()
        if not self._can_send or self._close_after is not None:
            raise self._why_not()
        data = self._encode(message)
        if more := len(data) >> SIZE_SHIFT:
            turn.left -= more
        if self._ready and not self._corking:
            self._gather()
        if self._corking or not self._can_send:
            StreamConnection._put(self, data)  # noqa: SLF001 - super() would cost what counting turns does
        else:  # as `_put` would
            self._messages_out += 1
            self._write(data)

    async def _wait_writable(self) -> None:
        while self._write_paused and self._can_send:
            waiter = self._context.loop.create_future()
            self._send_waiters.append(waiter)
            await waiter
            # Reading goes on now as well. It gets its turn before more output stops it again.
            await self._turn.end()

    def _put(self, data: bytes) -> None:
        if self._ready and not self._corking:
            self._gather()
        super()._put(data)

    def _gather(self) -> None:
        """Gather what is sent while messages that were read together are being answered.

        It leaves when the next message is waited for, or at the loop's next turn if the handler awaits something else.
        """
        self._corking = True
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._context.loop.call_soon(self._flush_gathered)

    def _uncork(self) -> None:
        self._corking = False
        super()._uncork()

    def _flush_gathered(self) -> None:
        self._flush_scheduled = False
        self._uncork()

    def _input_resumed(self) -> None:
        wanted = self._waiter is not None or self._inbound.pending_bytes <= self._context.limits.read_bytes
        if wanted and not self._draining:
            self._resume_reading()

    # -- the end -------------------------------------------------------------------------------------------------------

    async def wait_closed(self) -> CloseReason:
        """Wait until the transport is gone; return why."""
        if self._gone:
            await self._turn.take()
            assert self.close_reason is not None
            return self.close_reason
        waiter: asyncio.Future[CloseReason] = self._context.loop.create_future()
        self._closed_waiters.append(waiter)
        return await waiter

    def drain(self) -> None:
        """Let the handler receive what came whole; then it meets the end of the stream."""
        self._draining = True
        if self._attached and not self._closing:  # one that leaves still has its peer's EOF to read
            self._pause_reading()
            self._wake()

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, and its handler with it."""
        super().cut(reason)
        if self._task is not None:
            self._task.cancel()

    def _close(self, reason: CloseReason) -> None:
        super()._close(reason)
        self._ready.clear()
        self._wake()

    def _lose(self, reason: CloseReason) -> None:
        super()._lose(reason)
        self._ready.clear()
        self._wake()

    def _timed_out(self, which: Timeout) -> bool:
        if self._callbacks is None or self._waiter is None:
            return False
        self._expired = which  # the task calls on_timeout, so that its callbacks never overlap, and leaves
        self._wake()
        return True


class _DeadlinePassed(Exception):  # noqa: N818 - it never leaves this module
    """Raised by `receive` into the task that calls the callbacks."""

    def __init__(self, which: Timeout) -> None:
        self.which = which


def _fail(waiter: asyncio.Future[None] | Waiter, limit: Deadline) -> None:
    if not waiter.done():
        waiter.set_exception(limit.error())
