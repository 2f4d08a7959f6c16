"""A client's stream connection: the engine's own, with what only a client asks of it."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from ...core.deadline import Deadline
from ...core.law.closing import CLOSED, OPEN
from ...core.turns import MOST_IN_A_ROW
from ...errors import TimedOutError
from ...reasons import CloseReason
from ..client import ClientConnection, ClientPlan
from ..client_end import ClientEnd
from ..receiving import PREFETCH
from .awaited import AwaitedConnection
from .context import LoopContext
from .waiter import Waiter

M = TypeVar("M")


class LoopClientConnection(ClientEnd[M], AwaitedConnection[M], ClientConnection[M]):
    """A stream or seqpacket connection that was made by `connect`. It has no handler and is in nobody's list.

    Args:
        context: As for every connection.
        plan: What the client said.
        records: Whether the transport keeps records apart.
    """

    __slots__ = ("_blames", "_lost_by", "_total", "_unread_bytes", "_waits_for_ever", "on_change")

    _reads_on = True

    def __init__(self, context: LoopContext, plan: ClientPlan, *, records: bool = False) -> None:
        super().__init__(context, plan.codec, plan.peer, plan.local, records=records)
        self._total = plan.total
        self._read_s = plan.read_s
        self._blames = False  # the peer is held to deadlines for what it sends: somebody set one
        self._waits_for_ever = plan.read_s is None  # and it is not, and neither is a call that does not say
        self._lost_by: BaseException | None = None
        self._unread_bytes = 0  # as of `BrokenError`
        self.on_change: Callable[[], object] | None = None

    # -- waiting no longer than the user does --------------------------------------------------------------------------

    async def request(self, message: M, timeout_s: float | None = None) -> M:
        """Send one message; return the next one that comes."""
        if self._state != OPEN or not self._can_send or self._ready or self._corking or self._write_paused:
            await self.send(message)
            return await self.receive(timeout_s)
        data = self._encode(message)
        self._messages_out += 1
        self._write(data)
        if timeout_s is None and self._waits_for_ever and self._waiter is None and not self._inbound.pending_bytes:
            # Nothing came that nobody asked for: `receive` would do nothing but this.
            waiter = self._next_input()
            try:
                await waiter
            finally:
                self._turn.left = MOST_IN_A_ROW
                self._forget(waiter)
            if self._ready:
                self.messages_in += 1
                return self._ready.popleft()
        return await self.receive(timeout_s)

    def _next_input(self) -> Waiter:
        waiter = self._waiter = Waiter(self._context.loop)
        if self._reading_paused:
            self._resume_reading_if_idle()
        return waiter

    def _forget(self, waiter: Waiter) -> None:
        if self._waiter is waiter:  # else others may have begun to wait since
            self._waiter = None

    async def _wait_readable(self, limit: Deadline | None, *, held: bool = False) -> None:
        if held or self._blames or self._waiter is not None or (limit is not None and limit.is_over):
            await super()._wait_readable(limit, held=held)
            return
        if self._rare is not None:
            self._hear()
        waiter = self._next_input()
        timer = None if limit is None else self._clock.call_at(limit.at, partial(self._give_up, waiter, limit))
        try:
            await waiter
        finally:
            self._turn.left = MOST_IN_A_ROW
            self._forget(waiter)
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what was read, and resume the coroutine that waits for it."""
        waiter = self._waiter
        if type(waiter) is not Waiter or not self._can_receive:
            super().data_received(data)
            return
        self.bytes_in += len(data)
        self._inbound.feed(data)
        if self._rare is not None:
            self._hear()
        if self._inbound.is_gathering:  # what is cut of that cannot be cut again, should its receiver be cancelled
            self._waiter = None
            waiter.wake()
            return
        try:
            messages = self._inbound.take(PREFETCH)
        except Exception:  # noqa: S110  # the next receive raises it again
            pass
        else:
            if not messages:
                return
            if self._rare is not None:
                self._has_taken()
                self._arm(self._leaves_behind(self._clock.time(), self._inbound.pending_bytes))
            self._ready.extend(messages)
            self._batch_size = len(messages)
        self._waiter = None
        waiter.wake()

    def _hear(self) -> None:
        self._arm(self._hears(self._clock.time(), self._inbound.pending_bytes))

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        super().set_timeouts(**timeouts)
        self._waits_for_ever = self._read_s is None and not self._blames

    def _is_not_received(self) -> bool:
        return bool(self._reading_paused)

    def _why_not(self) -> Exception:
        error = super()._why_not()
        if not isinstance(error, TimedOutError):
            error.__cause__ = self._lost_by
        return error

    def connection_broke(self, error: BaseException) -> None:
        """Send nothing more, and keep what the system said."""
        if self.close_reason is None:
            self._lost_by = error
        super().connection_broke(error)

    def connection_lost(self, error: BaseException | None) -> None:
        """Note that the link is gone, and keep what the system said for those who still use the connection."""
        if self.close_reason is None:
            self._lost_by = error
        self._note_unread()
        super().connection_lost(error)
        self._changed()

    # -- for those who keep connections --------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether messages may go both ways, as far as was heard."""
        return self._state == OPEN and self._can_send

    @property
    def is_gone(self) -> bool:
        """Whether its socket is closed."""
        return bool(self._gone)

    @property
    def can_write(self) -> bool:
        """Whether `put_frames` would not go over the high watermark further than it is."""
        return bool(self._can_send) and not self._write_paused

    @property
    def is_unused(self) -> bool:
        """Whether it is open and nothing at all came that nobody asked for: no message, no part of one, no EOF.

        Asks the kernel too: what came since the loop last looked counts.
        """
        if self._state != OPEN or self._ready or self._inbound.pending_bytes:
            return False
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return not poll.poll(0)

    def close_unused(self) -> None:
        """Close at once, with EOF and not with a reset. It must be owed nothing, and have sent all it was given."""
        if self._state != CLOSED:
            self._lost(CloseReason.DONE)
            self._disarm()
            self._link.close()

    def put_frames(self, frames: Sequence[bytes]) -> None:
        """Hand messages that were encoded to the transport, in one write. It must be open.

        Raises:
            SlowPeerError: The peer is owed more than ``limits.write_max_bytes``. The connection is aborted.
        """
        if self._records:
            for frame in frames:
                self._put(frame)
        else:
            self._put(frames[0] if len(frames) == 1 else b"".join(frames))

    def _input_resumed(self) -> None:
        super()._input_resumed()
        self._changed()

    def _input_ended(self) -> None:
        super()._input_ended()
        self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
