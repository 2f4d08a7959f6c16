"""A connection as coroutines see it: `receive` and `send` that wait, iteration, an end that is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Final, TypeVar

from ...address import Address, Peer
from ...codecs.base import NEED_DATA, Codec
from ...codecs.delimited import MAX_DELIMITER_BYTES
from ...core.contract import Connection, refuse_frame
from ...core.cutters import exactly, no_stream, until
from ...core.deadline import Deadline
from ...core.law.closing import CLOSED
from ...core.law.deadlines import MESSAGE_AT_WORK
from ...core.requests import refuse_silence
from ...core.timeouts import Timeout
from ...core.tls import TlsInfo
from ...core.turns import LONGEST_S, MOST_IN_A_ROW, SIZE_SHIFT
from ...errors import CodecError, EndOfStreamError, LocalProtocolError, RemoteProtocolError
from ...reasons import CloseReason
from ..receiving import PREFETCH, BadMessagePassedError, ReceivingConnection
from ..requests import request_of
from .context import LoopContext
from .scopes import Departure, DrainNotice, OpenScope, tell_of_drain
from .stream import StreamConnection
from .waiter import Waiter

M = TypeVar("M")

# Turns of the loop until others that became readable have been served: what was called soon comes first in the first,
# their bytes are read in the same and wake their task, which runs in the second, after what was called soon before it.
OTHERS_TURN: Final = 3

LOOKED_AT_RECEIVED: Final = 16  # messages received in a row after which the time is looked at
OVER: Final = -1, None  # a checkpoint that does not hold
ANOTHER_RECEIVES: Final = "another task is already receiving from this connection"


class AwaitedConnection(ReceivingConnection[M], StreamConnection[M], Connection[M]):
    """Messages wait until a coroutine receives them. Whose coroutine that is, a subclass says."""

    __slots__ = (
        "_batch_size",
        "_cutter",
        "_expired",
        "_flush_scheduled",
        "_input_over",
        "_limited",
        "_mark",
        "_read_s",
        "_ready",
        "_silence_counted",
        "_streak",
        "_streak_end",
        "_streak_until",
        "_turn",
        "_waiter",
    )

    def __init__(
        self, context: LoopContext, codec: Codec[M], peer: Peer, local: Address, *, records: bool = False
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        self._begin_receiving()
        self._streak = 0  # messages received without letting the loop turn
        self._streak_end = 1  # after how many of them it is looked whether that is too many
        self._streak_until = 0.0  # the instant at which they have taken too long
        self._turn = context.turn
        self._read_s: float | None = None  # how long `receive` waits where it is not told
        self._waiter: asyncio.Future[None] | Waiter | None = None
        self._limited: asyncio.Future[None] | Waiter | None = None  # the one that had a time of its own last
        # The last checkpoint: how many messages were received, and the state. None before the first one.
        self._mark: tuple[int, Any] | None = None
        self._flush_scheduled = False

    def _begin(self) -> None:
        """The code that was given the connection begins."""

    def _expects_messages(self) -> bool:
        """Say whether there is a use for messages: a peer that sends none is late only then."""
        return True

    def _receives_itself(self) -> bool:
        """Say whether the code that was given the connection calls `receive`: nothing hands it messages."""
        return True

    def _timed_out(self, which: Timeout) -> bool:
        return False

    def _ended(self) -> None:
        self._wake()
        self._release()

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, timeout_s: float | None = None) -> Coroutine[Any, Any, M]:
        """Return the next message."""
        return self._next(timeout_s, EndOfStreamError)

    def __anext__(self) -> Coroutine[Any, Any, M]:
        return self._next(None, StopAsyncIteration)  # one coroutine for each message, not one around another

    def receive_exactly(
        self, n: int, timeout_s: float | None = None, *, max_bytes: int | None = None
    ) -> Coroutine[Any, Any, bytes]:
        """Return the next ``n`` bytes, past the codec."""
        return self._next_by(exactly, n, max_bytes, timeout_s)

    def receive_until(
        self, delimiter: bytes, max_bytes: int | None = None, timeout_s: float | None = None
    ) -> Coroutine[Any, Any, bytes]:
        """Return the bytes up to the next delimiter, past the codec."""
        return self._next_by(until, delimiter, max_bytes, timeout_s)

    async def _next_by(
        self,
        choose: Callable[[Any, Codec[Any], int | None], Codec[bytes] | None],
        what: int | bytes,
        max_bytes: int | None,
        timeout_s: float | None,
    ) -> bytes:
        self._end_mark()  # what is received so is no message that begins anew
        is_in_turn = self._waiter is None and (self._streak < self._streak_end or self._goes_on_in_a_row())
        at_once: bytes | None
        if is_in_turn and max_bytes is None and self._is_within_limits(what):
            at_once = self._take_past(what)
            if at_once is not None:
                self._streak += 1
                return at_once
            is_in_turn = False
        try:
            if self._records:
                raise no_stream()
            cutter = choose(what, self.codec, max_bytes)
            if self._waiter is not None or self._cutter is not None:
                raise LocalProtocolError(ANOTHER_RECEIVES)
        except Exception as error:
            if isinstance(error, RemoteProtocolError) and not (self._closing or self._has_refused()):
                self._break_off(error)
            await self._turn.take()
            raise
        if cutter is None:
            await self._turn.take()
            return b""
        if is_in_turn:
            at_once = self._take_past(cutter)
            if at_once is not None:
                self._streak += 1
                return at_once
        self._lend(cutter)
        try:
            taken: Any = await self._next(timeout_s, EndOfStreamError)
        finally:
            self._take_back()
        return taken  # type: ignore[no-any-return]

    def _is_within_limits(self, what: int | bytes) -> bool:
        """Whether it is a count or a delimiter that nothing is to be said about."""
        if type(what) is int:
            return 0 < what <= self.codec.max_frame_bytes
        return type(what) is bytes and 0 < len(what) <= MAX_DELIMITER_BYTES

    def _end_mark(self) -> None:
        """What the conversation does now its successor would do again: the last checkpoint holds no longer.

        While it waits for a message it does nothing: what others send meanwhile is none of its work.
        """
        if self._mark is not None and self._waiter is None:
            self._mark = OVER

    async def _next(self, timeout_s: float | None, ended: type[Exception]) -> M:
        if timeout_s is None:
            timeout_s = self._read_s
        limit: Deadline | None = None
        while True:
            if self._ready and self._expired is None:
                if self._streak >= self._streak_end and not self._goes_on_in_a_row():
                    await self._let_others()
                    continue
                self._streak += 1
                if self._levels.message_step_s and not self._takes_token():
                    if not self._closing:
                        limit = limit or Deadline.after(timeout_s, self._clock)
                        await self._wait_readable(limit, held=True)
                    continue
                self.messages_in += 1
                return self._ready.popleft()
            if self._inbound.pending_bytes or not self._can_receive or self._draining or self._expired is not None:
                # Before a message is cut: one that was gathered cannot be cut again, by another codec.
                if self._streak >= self._streak_end and self._expired is None and not self._goes_on_in_a_row():
                    await self._let_others()
                    continue
                if self._inbound.few and not (
                    self._rare is not None
                    or self._expired is not None
                    or self._ready
                    or self._cutter is not None
                    or self._closing
                    or self._levels.message_step_s
                ):  # after a change of codec, or each of a stream of them
                    try:
                        one = self._inbound.take_one(self.codec)
                    except Exception as error:
                        if isinstance(error, RemoteProtocolError | CodecError):
                            self._has_finished()
                            self._break_off(error)
                        await self._turn.take()  # as below
                        raise
                    if one is not NEED_DATA:
                        if self._whose_move != MESSAGE_AT_WORK:
                            self._has_message()
                        self._batch_size = 1
                        self.messages_in += 1
                        self._streak += 1
                        return one
                if self._levels.message_step_s and self._is_held_back():
                    limit = limit or Deadline.after(timeout_s, self._clock)
                    await self._wait_readable(limit, held=True)
                    continue
                try:
                    if self._finds_message(PREFETCH):
                        if self._levels.message_step_s or self._expired is not None or not self._ready:
                            continue
                        self._streak += 1
                        self.messages_in += 1
                        return self._ready.popleft()
                except BadMessagePassedError as passed:
                    self._answer_bad_message(passed.error)
                    if callable(self._on_bad_message):
                        await asyncio.sleep(0)  # what was asked for by who stands for a thread comes first
                    self._streak += 1
                    continue
                except Exception as error:
                    await self._turn.take()  # what raises at once counts, too
                    if ended is StopAsyncIteration and isinstance(error, EndOfStreamError):
                        raise ended from None
                    raise
            if self._corked and self._attached:
                self._uncork()
                continue  # that may have met the end
            self._streak = 0
            self._streak_end = 1
            if timeout_s is not None:
                limit = limit or Deadline.after(timeout_s, self._clock)
            await self._wait_readable(limit)

    async def wait_tls(self) -> TlsInfo:
        """Wait until the TLS handshake is done."""
        if self.is_to_be_secured:
            await self._turn.take()
            raise LocalProtocolError("TLS begins once this handler has returned: it cannot wait for that")
        while self._upgrade is not None and not self._closing:
            waiter = self._context.loop.create_future()
            self._send_waiters.append(waiter)
            await waiter
        info = self.tls
        await self._turn.take()
        if info is None:
            raise LocalProtocolError("there is no TLS") if self._can_send else self._why_not()
        return info

    def _is_held_back(self) -> bool:
        """Whether what is there has to wait for a token."""
        return bool(self._inbound.pending_bytes) and self._expired is None and not self._allows(1, self._clock.time())

    async def _let_others(self) -> None:
        """Let the loop turn: enough messages were received in a row."""
        self._streak = 0
        self._streak_end = 1
        for _ in range(OTHERS_TURN):
            await asyncio.sleep(0)

    def _goes_on_in_a_row(self) -> bool:
        """Whether more messages may be received before the loop turns, by their number and the time they have taken."""
        most, now = self._context.limits.batch_messages, monotonic()
        if self._streak >= most:
            return False
        if self._streak_end == 1:
            self._streak_until = now + LONGEST_S
        elif now > self._streak_until:
            return False
        self._streak_end = min(self._streak_end + LOOKED_AT_RECEIVED, most)
        return True

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
            raise LocalProtocolError(ANOTHER_RECEIVES)
        if limit is not None and limit.is_over:
            raise limit.error()
        if held:
            self._pause_reading()
            self._arm_next()
        else:
            is_first = self._batch_size == 0 and self._expects_messages()
            due_at = self._waits(self._clock.time(), self._inbound.pending_bytes, is_first)
            if due_at < self.due_at:
                self._arm(due_at)
        waiter = self._waiter = self._context.loop.create_future()
        timer = None
        if limit is not None:
            self._limited = waiter
            timer = self._clock.call_at(limit.at, partial(self._give_up, waiter, limit))
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
        """Take what was read, and wake the coroutine that waits for it."""
        self.bytes_in += len(data)
        if self._upgrade is True:
            self._refuse_clear()
        if not self._can_receive or self._draining:
            return
        self._inbound.feed(data)
        if self._rare is not None:  # silence passes whether or not somebody waits
            self._arm(self._hears(self._clock.time(), self._inbound.pending_bytes))
        waiter = self._waiter
        if waiter is not None:
            self._idle_since = self._clock.time()
            if not waiter.done():
                waiter.set_result(None)
            return
        if self._idle_since != inf:
            self._idle_since = self._clock.time()
        if self._is_full():
            self._pause_reading()
        if self._rare is not None:
            self._look_at_partial(len(data))

    def _look_at_partial(self, came_bytes: int) -> None:
        """A reply may be at hand that is not whole: where one is waited for, it must be in time, received or not."""
        if self._rare is not None and self._rare.asking:
            partial_bytes = 0 if self._reading_paused else self._inbound.partial_bytes
            if partial_bytes is not None:
                self._arm(self._lacks(self._clock.time(), partial_bytes, came_bytes))

    def _is_full(self) -> bool:
        """Whether so much waits to be received that no more is read until somebody does."""
        most, inbound = self._context.limits.read_bytes, self._inbound
        return inbound.pending_bytes > most and inbound.waiting_bytes > most

    def listens(self) -> None:
        """Read on, if nothing else but what waits to be received has stopped that."""
        if self._waiter is None and not self._is_full() and not self._closing and not self._draining:
            self._resume_reading_if_idle()
        self._look_at_partial(0)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _is_woken(self) -> bool:
        return self._waiter is not None and self._waiter.done()

    def _input_ended(self) -> None:
        self._input_over = True
        self._wake()
        for waiter in self._closed_waiters[:]:
            if isinstance(waiter, Departure) and waiter.at_eof and not waiter.done():
                waiter.set_result(None)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, past the codec."""
        await self._turn.take()
        refuse_frame(data)
        self._turn.left -= len(data) >> SIZE_SHIFT
        if self._write_paused:
            await self._wait_writable()
        self._require_sendable()
        self._end_mark()
        self._put(data)

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
        if self._mark is not None:
            self._end_mark()
        data = self._encode(message)
        if more := len(data) >> SIZE_SHIFT:
            turn.left -= more
        if (self._ready or self._inbound.pending_bytes) and not self._corking:
            self._gather()
        if self._corking or not self._can_send:
            StreamConnection._put(self, data)  # noqa: SLF001 - super() would cost what counting turns does
        else:  # as `_put` would
            self._messages_out += 1
            self._write(data)

    async def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the reply to it."""
        if self.codec.quiet_s is not None:
            if not self._receives_itself():
                refuse_silence(self.codec)
            if self._waiter is not None or self._cutter is not None:
                raise LocalProtocolError(ANOTHER_RECEIVES)
            await self.send(message)
            return await self.receive(timeout_s)
        await self._turn.take()
        if self._write_paused:
            await self._wait_writable()
        is_first, inbound = self._batch_size == 0 and self._expects_messages(), self._inbound
        partial_bytes = inbound.partial_bytes  # what is whole may wait for who receives
        if partial_bytes is None:
            partial_bytes = inbound.pending_bytes  # until it was looked at, in `listens`
        self._end_mark()
        due_at = self._asks(self._clock.time(), partial_bytes, is_first)
        try:
            self._arm(due_at)
            return await request_of(self, message, timeout_s)
        finally:
            self._asked(self._clock.time(), self._waiter is not None)

    async def wait_writable(self) -> None:
        """Wait until output is not over its high watermark."""
        await self._turn.take()
        await self._wait_writable()
        self._require_sendable()

    async def wait_sunk(self) -> bool:
        """Wait until output is not over its high watermark, whether or not more may be sent; or until it is gone.

        Returns:
            Whether it is there.
        """
        await self._turn.take()
        while self._write_paused and not self._gone:
            await self._room()
        return bool(self._state != CLOSED)

    async def _wait_writable(self) -> None:
        while self._write_paused and self._can_send:
            await self._room()

    async def _room(self) -> None:
        """Wait until output has fallen to the low watermark, or until that has to be asked again."""
        waiter = self._context.loop.create_future()
        self._send_waiters.append(waiter)
        await waiter
        # Reading goes on now as well. It gets its turn before more output stops it again.
        await self._turn.end()

    def _put(self, data: bytes) -> None:
        if (self._ready or self._inbound.pending_bytes) and not self._corking:
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
        if (self._waiter is not None or not self._is_full()) and not self._draining:
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

    async def wait_draining(self) -> None:
        """Wait until the server begins to drain."""
        if self.server is None:
            await super().wait_draining()
        if self._draining or self._gone:
            await self._turn.take()
        else:
            notice = DrainNotice(loop=self._context.loop)
            self._closed_waiters.append(notice)
            try:
                await notice
            finally:
                if notice in self._closed_waiters:
                    self._closed_waiters.remove(notice)
        if not self._draining:
            raise self._why_not()

    def while_open(self, *, at_eof: bool = True) -> OpenScope:
        """Return a block that is cancelled when the peer goes."""
        return OpenScope(self, at_eof=at_eof)

    def watch_departure(self, departure: Departure) -> None:
        """Have a future done when the peer goes."""
        if self._gone or (self._input_over and departure.at_eof):
            departure.set_result(None)
        else:
            self._closed_waiters.append(departure)

    def drain(self) -> None:
        """Let the handler receive what came whole; then it meets the end of the stream."""
        self._draining = True
        self._inbound.end_requests("the server drains")
        tell_of_drain(self._closed_waiters)
        if self._attached and not self._closing:  # one that leaves still has its peer's EOF to read
            self._pause_reading()
            self._wake()

    def _close(self, reason: CloseReason) -> None:
        super()._close(reason)
        self._ready.clear()
        self._wake()

    def _lose(self, reason: CloseReason) -> None:
        super()._lose(reason)
        self._ready.clear()
        self._wake()


def _fail(waiter: asyncio.Future[None] | Waiter, limit: Deadline) -> None:
    if not waiter.done():
        waiter.set_exception(limit.error())
