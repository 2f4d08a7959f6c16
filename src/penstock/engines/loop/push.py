"""Connections whose handler is called at once, on the loop: ``def`` message handlers and ``def`` callbacks."""

from __future__ import annotations

from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from ...address import Address, Peer
from ...codecs.base import NEED_DATA, Codec
from ...core.handlers import CallbackHandler, Handler, MessageHandler, expects_messages, may_keep_idle
from ...core.law.deadlines import IDLE
from ...core.timeouts import Timeout
from ...core.turns import LONGEST_S
from ...errors import CodecError, RemoteProtocolError
from ...reasons import CloseReason
from ..luggage import EXCHANGED, Arrival, made_of, take_state
from .answering import AnsweringConnection
from .context import LoopContext
from .moving import MovingConnection

if TYPE_CHECKING:
    from ..handover import Mover

M = TypeVar("M")

# Messages of a connection's first batch, as long as nobody knows how long its replies are: it may be a hundred bytes in
# and a megabyte out. Doubled from batch to batch while they are short.
FIRST_BATCH = 16


class PushConnection(AnsweringConnection[M], MovingConnection[M]):
    """Messages are handled as soon as they are cut; all replies of one read leave in one write."""

    __slots__ = ("_batch_limit", "_continuing", "_ending", "_first_handler", "_gathering")

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
        super().__init__(context, handler, codec, peer, local, records=records)
        self._batch_limit = FIRST_BATCH
        self._gathering = False  # answers wait for those to what else is there
        self._continuing = False  # the rest of the input waits for the loop's next turn
        self._ending = False  # the peer's EOF waits for the input before it
        self._first_handler: Handler[Any] | None = None  # where it has another one, and might move else

    def _begin(self) -> None:
        callbacks = self._callbacks
        self._starts(self._clock.time(), callbacks is None or expects_messages(callbacks))
        self._arm_next()
        if callbacks is not None:
            self._call(partial(callbacks.on_connect, self))

    # -- messages ------------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what was read and handle it."""
        self.bytes_in += len(data)
        if self._upgrade is True:
            self._refuse_clear()
        if self._can_receive and not self._draining:
            self._idle_since = self._clock.time()
            if self._continuing or self._write_paused:
                self._inbound.feed(data)
            elif self._levels.message_step_s or not data:  # how many may be handled is asked once there are some
                self._inbound.feed(data)
                self._process()
            else:
                self._process(data)

    def _process(self, data: bytes = b"", budget: int = 0) -> None:
        """Handle what is there, up to the budget of one turn, unless output is stalled or the connection leaves.

        Args:
            data: What was read just now, where nothing keeps it from being handled.
            budget: How many messages are left to this turn; 0 for all of them.
        """
        inbound = self._inbound
        if not budget:
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
                if is_limited:
                    if inbound.pending_bytes and not (limit := self._allowed(limit)):
                        return  # `_go_on` goes on from here
                    messages = inbound.take(max(limit, 1), data)
                else:
                    messages = inbound.take(limit, data)
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
            if is_limited and limit < 0:
                self._close(CloseReason.MESSAGE_RATE)
                return
            # Whatever is missing after these messages, it is not one that began before them.
            self._first_since = self._partial_since = inf
            if self._rare is not None:
                self._has_taken()
            bytes_before, messages_before = self.bytes_out, self.messages_in
            count = len(messages)
            if is_limited:
                self._handle_paced(messages)
            else:
                self.messages_in = messages_before + count
                self._handle(messages)
            if self._corking and not is_limited:  # the codec was changed, and the rest is cut by the new one
                if not self._late:  # else it took too long, and the rest is for the next turn
                    self._handle_in_turn(budget - (self.messages_in - messages_before))
                count = self.messages_in - messages_before
            if self._continuing:  # a signal has interrupted it, or the handler has led here once more
                self._late = False
                if self._corking:
                    self._send_gathered()
                return
            written_bytes = self.bytes_out - bytes_before
            if count == self._batch_limit or written_bytes > self._levels.high:
                self._learn(count, written_bytes)
            if not inbound.pending_bytes and not self._closing:
                if self._ending or self._draining or self._idle_since == inf:
                    self._settle()
                if self._corking:
                    self._send_gathered()
                return
            budget -= count
            if self._late:  # and so the rest of them is pending
                self._late = False
                self._batch_limit = FIRST_BATCH
                budget = 0
            if budget > 0:
                now = monotonic()
                until = until or now + LONGEST_S
                if now > until:
                    budget = 0
            if budget <= 0:
                self._continue_later()
                if self._corking:
                    self._send_gathered()
                return
            if self._corking and not self._gathering:
                self._gather(budget)
                return

    def _gather(self, budget: int) -> None:
        """The codec was changed: go on with what else is there, and send the answers to all of it at once."""
        self._gathering = True
        try:
            self._process(b"", budget)
        finally:
            self._gathering = False
            if self._corking:
                self._send_gathered()

    def _send_gathered(self) -> None:
        if not (self._handling or self._gathering):
            self._corking = False
            self._uncork()

    def _gathers_on(self) -> bool:
        return not (
            self._closing or self._close_after is not None or self._failure is not None or self.is_to_be_secured
        )

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
        if self._corked:  # answers to messages before one that a signal has interrupted
            self._uncork()
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
            self._send_gathered()
        if self._callbacks is not None and not self._closing:
            self._call(partial(self._callbacks.on_eof, self))
        if not self._waits_for_tasks():
            self._close(CloseReason.PEER_CLOSED)

    def _input_resumed(self) -> None:
        self._continue()

    # -- to another process, and from one ------------------------------------------------------------------------------

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        before = self._callbacks
        super().set_handler(handler)
        if before is not None:
            self._first_handler = made_of(self, self._first_handler, before, handler)

    def _why_handler_stays(self) -> str:
        return "its handler is at work" if self._handling else "" if self._first_handler is None else EXCHANGED

    def _tell(self, mover: Mover) -> bytes:
        return self._variables.run(mover.state_of, self, self._callbacks)

    def _asks_for_more(self) -> bool:
        return self._next_codec is not None or self._first_handler is not None

    def _handler_leaves(self) -> None:
        self._callbacks = self._first_handler = None
        self._on_message = _nothing
        self._release()

    def _handler_arrives(self, arrival: Arrival) -> None:
        self._variables.run(take_state, self, self._callbacks, arrival.state, arrival.snapshot.places)

    def _handler_goes_on(self) -> None:
        """Nothing: it is called for the next message."""

    def _goes_on(self) -> None:
        self._continue()

    # -- the server's end, and deadlines -------------------------------------------------------------------------------

    def drain(self) -> None:
        """Handle what was received whole, then close."""
        self._draining = True
        self._inbound.end_requests("the server drains")
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
        self._first_handler = None
        self._on_message = _nothing  # and with these the cycles through this connection
        reason = self.close_reason
        if callbacks is not None and reason is not None:
            self._call(partial(callbacks.on_close, self, reason))
        self._release()


def _nothing(_message: object) -> None:
    """Handle no message any more."""
