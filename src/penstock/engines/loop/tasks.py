"""Connections whose handler is a coroutine: one task for each connection, from its first byte to its last."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.contract import NO_CHECKPOINT
from ...core.handlers import (
    AnyHandler,
    Handler,
    answer_to_bad_messages,
    expects_messages,
    settled,
)
from ...core.handover import law as moving
from ...core.interrupts import is_interrupt
from ...core.law.closing import CLOSED
from ...core.law.deadlines import IDLE
from ...core.timeouts import Timeout
from ...errors import EndOfStreamError, LocalProtocolError, RemoteProtocolError
from ...reasons import CloseReason
from ..in_turn import InTurnConnection
from ..luggage import Arrival, take_state
from ..receiving import TimeoutPassedError
from ..whereabouts import place_of_task
from .awaited import AwaitedConnection
from .context import LoopContext
from .moving import MovingConnection

if TYPE_CHECKING:
    from ..handover import Mover

M = TypeVar("M")


class TaskConnection(InTurnConnection[M], MovingConnection[M], AwaitedConnection[M]):
    """A connection with a handler and its task."""

    __slots__ = ("_callbacks", "_connected", "_handler", "_task", "_variables")

    def __init__(
        self,
        context: LoopContext,
        handler: AnyHandler,
        codec: Codec[M],
        peer: Peer,
        local: Address,
        *,
        records: bool = False,
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        self._handler = handler
        self._callbacks: Handler[M] | None = (callbacks := handler.callbacks())
        self._survives_bad_messages(answer_to_bad_messages(handler, callbacks))
        self._connected = False  # on_connect was called: on_close is owed
        self._task: asyncio.Task[None] | None = None
        self._variables: contextvars.Context | None = None  # of this connection alone, for all its tasks

    def _begin(self) -> None:
        self._starts(self._clock.time(), False)
        self._arm_next()
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

    def _may_wait_for_tasks(self) -> bool:
        """Whether it has ended because its peer has, and is no conversation, which decides itself when it returns."""
        return (
            self._input_over and not self._handler.converses and self._close_after is None and self.close_reason is None
        )

    def _is_cancelled(self) -> bool:
        """Whether the task was told to end."""
        return self._task is not None and self._task.cancelling() > 0

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._handling = False
        if not task.cancelled():
            task.exception()  # a signal's, if there is one: the loop has had it, and need not say that nobody has
        elif (
            self._state != CLOSED
        ):  # its own doing, and it returned before it could meet that; or before its first step
            self._handler_failed(asyncio.CancelledError())
        if self._gone:
            self._part()
        elif not (self._may_wait_for_tasks() and self._waits_for_tasks()):
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
        self._connected = True
        await self._call(self._callbacks.on_connect)
        while True:
            try:
                message = await self.receive()
            except EndOfStreamError:
                callbacks = self._callbacks
                await self._call(callbacks.on_eof if self._input_over else callbacks.on_drain)
                return
            except TimeoutPassedError as passed:
                if passed.which is Timeout.IDLE and self.close_reason is None:
                    if await self._may_stay(self._callbacks):
                        continue
                    self._expires(IDLE, False)
                await self._call(self._callbacks.on_timeout, passed.which)
                self._close(passed.which.value)
                return
            except RemoteProtocolError as error:
                await self._call(self._callbacks.on_protocol_error, error)
                self._close(error.reason)
                return
            await self._call(self._callbacks.on_message, message)

    async def _call(self, callback: Callable[..., Any], *args: Any) -> None:
        self._handling = True
        reply = await settled(callback(self, *args))
        if self._write_paused and reply is not None:
            await self._wait_writable()
        self._handled(reply)

    async def _may_stay(self, callbacks: Handler[M]) -> bool:
        """Ask about the connection, which is idle; one that has closed meanwhile meets that when it receives."""
        self._handling = True
        answer = await settled(callbacks.on_idle(self))
        self._handled(None)
        return bool(answer) or self._closing != 0

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
        elif self._upgrade is not None and self.is_to_be_secured:
            self._secure()

    def _ended(self) -> None:
        self._wake()
        if self._task is None:
            self._conclude()
        elif self._handler.cancel_on_close:
            self._task.cancel()

    def _input_ended(self) -> None:
        wants_more = self._waiter is not None or bool(self._ready or self._inbound.pending_bytes)
        super()._input_ended()
        if self._handler.converses and self._handler.cancel_on_close and not wants_more:
            self._close(CloseReason.PEER_CLOSED)  # it is cancelled when the link is gone

    # -- outliving its peer --------------------------------------------------------------------------------------------

    @property
    def handler_ended(self) -> bool:
        """Whether its handler has ended, or is about to without being told."""
        return self._task is None or self._task.done()

    def handler_place(self) -> str:
        """Say where its handler waits."""
        return place_of_task(self._task)

    def cancel_handler(self) -> bool:
        """Cancel its handler. Return False where that cannot be done: it is in a thread."""
        if self._task is None or self._handler.is_threaded:
            return False
        self._task.cancel()
        return True

    def _conclude(self) -> None:
        """Transport and handler are both gone."""
        if self._callbacks is None or not self._connected:
            self._release()
        else:
            self._start(self._conclude_callbacks(), self._conclude_ended)

    async def _conclude_callbacks(self) -> None:
        callbacks, self._callbacks = self._callbacks, None  # a task that is cancelled before this begins anew
        assert callbacks is not None
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
        self._task = None
        if not task.cancelled():
            task.exception()  # as above
        self._part()

    # -- what its handler is asked, and may ask ------------------------------------------------------------------------

    def _receives_itself(self) -> bool:
        return bool(self._handler.converses)

    def _expects_messages(self) -> bool:
        # Those of a process before count, too.
        return not self.messages_in and (self._callbacks is None or expects_messages(self._callbacks))

    def _timed_out(self, which: Timeout) -> bool:
        if self._callbacks is None or self._task is None or not self._connected:
            return False
        self._expired = which  # the task calls on_timeout once it receives: its callbacks never overlap
        self._wake()
        return True

    def set_handler(self, handler: Handler[Any]) -> None:
        """Hand the messages after the one at hand to another handler."""
        if self._callbacks is None:
            super().set_handler(handler)
        self._callbacks = handler

    # -- to another process, and from one ------------------------------------------------------------------------------

    def checkpoint(self, state: Any) -> None:
        """Say that the conversation can begin anew here."""
        if not self._handler.handover:
            raise LocalProtocolError(NO_CHECKPOINT)
        self._mark = self.messages_in, state

    def _why_handler_stays(self) -> str:
        if self._mark is None or self._mark[0] != self.messages_in:
            return "it has made no checkpoint since its last message"
        waiter, task = self._waiter, self._task
        if waiter is None or waiter.done() or waiter is self._limited or self._cutter is not None or self._handling:
            return "it does not wait for a message alone"
        return "" if getattr(task, "_fut_waiter", None) is waiter else "another task of it receives"

    def is_at_work(self) -> bool:
        """Say whether it has made a checkpoint and may come to another one: nothing else keeps it for good."""
        waiter = self._waiter
        if self._mark is None or not (waiter is None or waiter.done() or moving.has_message_at_work(self)):
            return False
        return not self._why_link_stays() and not moving.why_it_ends_here(self)

    def _tell(self, mover: Mover) -> bytes:
        assert self._mark is not None
        return mover.told_by(self._mark[1])

    def _asks_for_more(self) -> bool:
        """Say whether it goes on here: it was cancelled, or another task has it wake."""
        waiter = self._waiter
        return waiter is None or waiter.done() or self._mark is None or self._mark[0] != self.messages_in

    def _called(self, error: BaseException | None, _handled: int, _unhandled: int) -> None:
        self._corking = self._handling = False
        self._uncork()
        if error is not None:
            raise error
        if self._close_after is not None:
            reason, self._close_after = self._close_after, None
            self._close(reason)

    def _handler_leaves(self) -> None:
        if self._task is None:
            self._release()
        else:
            self._task.cancel()
            self._part()

    def _handler_arrives(self, arrival: Arrival) -> None:
        take_state(self, None, arrival.state, arrival.snapshot.places)
        self._mark = self.messages_in, arrival.state

    def _handler_goes_on(self) -> None:
        since, before = self._idle_since, self.messages_in
        self._start(self._run(self._handler), self._run_ended)
        self._context.loop.call_soon(self._is_idle_since, since, before)

    def _is_idle_since(self, since: float, before: int) -> None:
        """It has begun anew: where it waits for a message, it has waited since before it moved."""
        if self._waiter is not None and self.messages_in == before and self._idle_since != inf:
            self._idle_since = since
            self._arm_next()

    def _goes_on(self) -> None:
        """Nothing: it reads when it receives."""

    def drain(self) -> None:
        """Let the handler receive what came whole; then it meets the end of the stream."""
        if self._held() is None:
            super().drain()
        else:
            self._draining = True  # here it drains when it is taken back, and elsewhere it goes on

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, and its handler with it."""
        super().cut(reason)
        if self._task is not None:
            self._task.cancel()
