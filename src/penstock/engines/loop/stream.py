"""A connection on a loop, from its first byte to its last. How its handler is called stands elsewhere."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.contract import TimerHandle
from ...core.deadline import Deadline
from ...core.endings import reason_of
from ...core.events import Event
from ...core.interrupts import is_interrupt
from ...core.law.closing import CLOSED, FLUSHING, LOCAL_EOF
from ...core.requests import Reply
from ...core.texts import detail_of
from ...reasons import CloseReason
from ..connection import LinkedConnection
from ..forked import duplicate
from ..link import Link
from ..requests import give_up
from ..timing import AGAIN_S
from ..wire import READS_AT_ONCE
from .context import LoopContext
from .surely import Surely

M = TypeVar("M")


class StreamConnection(LinkedConnection[M]):
    """The part every connection on a loop shares. Subclasses say what happens to messages, by the abstract methods."""

    __slots__ = (
        "_begun",
        "_closed_waiters",
        "_reading_paused",
        "_send_waiters",
        "_told",
        "is_orphan",
    )

    _context: LoopContext

    def __init__(
        self, context: LoopContext, codec: Codec[M], peer: Peer, local: Address, *, records: bool = False
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        self._reading_paused = False  # asked before every wait, where a link takes longer
        self._begun = False  # the handler was told
        self._told = False  # that it has ended
        self.is_orphan = False  # its handler outlives its link
        self._send_waiters: deque[asyncio.Future[None]] = deque()
        self._closed_waiters: list[asyncio.Future[CloseReason]] = []

    @property
    def is_attached(self) -> bool:
        """Whether it has a link, or had one."""
        return bool(self._attached or self._opening)

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 once it is closed."""
        sock = self._link.socket if self._attached and not self._gone else None
        return -1 if sock is None else int(sock.fileno())

    def another_fileno(self) -> int:
        """Return a duplicate of the descriptor, which its caller closes; -1 once the socket is closed."""
        return duplicate(self.fileno())

    def _turn_away(self, reason: CloseReason) -> None:
        self._close_after = self._close_after or reason
        self.connection_made(self._link)

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self) -> None:
        """The connection is ready."""

    @abstractmethod
    def _ended(self) -> None:
        """The link is gone. Call `_release` once the handler has ended too. May be repeated, should it fail."""

    @abstractmethod
    def drain(self) -> None:
        """Handle what was received whole, then close with ``drained``."""

    # -- what the link tells -------------------------------------------------------------------------------------------

    def connection_made(self, link: Link) -> None:
        """Begin, or go on over TLS."""
        self._link = link
        if self._upgrade is not None and self._begun:
            self._is_secured()
            if self._reading_paused:
                link.pause_reading()
            return
        self._attached = True
        self._opening = False
        try:
            self._made(link)
        except BaseException:
            link.abort()  # nobody would ever read from it
            raise

    def _made(self, link: Link) -> None:
        self._await_notice()
        if self._state == CLOSED:  # it was aborted between accept(2) and now
            self._reset()
            return
        self._corking = False
        self._uncork()
        if self._state == LOCAL_EOF:  # our direction was ended before there was a link
            link.send_eof()
        if self._close_after is not None:  # closed before its handler was told of it
            self._close(self._close_after)
            return
        self._begun = True
        self._begin()
        # Last: a timer that comes earlier is there by now, as a rule, and this one need not be set.
        self._arm(self._opened_at + self._durations.lifetime_s)
        if self._draining:  # since before there was a link
            self.drain()

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Take what was read; drop it when the connection is closing or draining."""

    def connection_lost(self, error: BaseException | None) -> None:
        """Note that the link is gone, and why if nobody knew yet."""
        self._lost(reason_of(error))
        self._gone = True
        self._part()

    def _part(self) -> None:
        """The link is gone: carry the end out, or what is left of it. What fails is tried again."""
        try:
            self._drop_output()
            self._wake_senders()
            assert self.close_reason is not None
            for closed in self._closed_waiters:
                if not closed.done():
                    closed.set_result(self.close_reason)
            self._closed_waiters.clear()
            if self._begun:
                self._ended()
                if not self._told:
                    self._outlive()
            else:
                self._release()
        except BaseException as error:
            self._context.loop.call_later(AGAIN_S, self._part)
            if is_interrupt(error):
                raise
            self._context.blame(error)

    def _outlive(self) -> None:
        """The link is gone, and the handler is not: its place is another's. May be repeated."""
        if not self.is_orphan:
            self._context.orphaned(self)
            self.is_orphan = True

    def _release(self) -> None:
        """Link and handler are both gone. May be repeated, should a part of it fail."""
        if not self._told:
            self._unwatch_input()
            event = self.closed_event()
            self._told = True
            self._emit(event)
        self._context.released(self)

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self, *, detail: str = "") -> None:
        """Flush what was queued, send EOF, then end the connection."""
        if detail:
            self._closes_because(detail_of(detail))
        self._close_surely(CloseReason.DONE)

    def abort(self) -> None:
        """End the connection now."""
        self._lose_surely(CloseReason.ABORTED)

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, for a reason of the server's."""
        self._lose_surely(reason)

    def _close_surely(self, reason: CloseReason) -> None:
        """Close gracefully; or at once, should that fail: half closed the connection would stay for ever."""
        if self._closing or self._handling or not self._attached:
            self._close(reason)
        else:
            with Surely(self._context.loop, self._end_at_once):
                self._close(reason)

    def _lose_surely(self, reason: CloseReason) -> None:
        if self._state != CLOSED:
            with Surely(self._context.loop, self._end_at_once):
                self._lose(reason)

    def _end_at_once(self) -> None:
        """Break the link off, which tells the end, wherever an end has stopped half-way."""
        if (self._attached or self._opening) and not self._gone:
            self._lost(CloseReason.ABORTED)
            self._link.abort()

    def _emit(self, event: Event) -> None:
        self._context.emit(event)

    def _wake_senders(self) -> None:
        while self._send_waiters:
            waiter = self._send_waiters[0]
            if not waiter.done():
                waiter.set_result(None)
            self._send_waiters.popleft()  # now: one that could not be woken is woken another time

    def _output_resumed(self) -> None:
        self._wake_senders()
        self._input_resumed()

    @abstractmethod
    def _input_resumed(self) -> None:
        """Output fell to the low watermark, or memory is no longer short: go on with the input."""

    # -- input flow ----------------------------------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        if self._rare is not None and not self._reading_paused:
            self._stops_listening(self._clock.time())
        self._reading_paused = True
        self._link.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._reading_suspended and self._may_be_read():
            self._reading_paused = False
            self._link.resume_reading()
            if self._rare is not None:
                self._arm(self._listens_again(self._clock.time()))

    def _is_read(self) -> bool:
        return not self._reading_paused

    def _may_be_read(self) -> bool:
        """Whether something more may come from the peer, be it to be discarded."""
        # After the peer's EOF some transports would report the same EOF once more.
        return bool(self._can_receive) or (bool(self._closing) and self._state not in (FLUSHING, CLOSED))

    def suspend_reading(self) -> None:
        """Read no further until `unsuspend_reading`: memory is short."""
        if self._attached and not self._closing:
            self._reading_suspended = True
            self._pause_reading()

    def unsuspend_reading(self) -> None:
        """Read again, unless something else keeps it from that."""
        if self._reading_suspended:
            self._reading_suspended = False
            if not self._closing and not self._write_paused:
                self._input_resumed()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def expired(self) -> None:
        """Do what is due. If that fails, nothing would ever be due again: the connection ends."""
        try:
            super().expired()
        except BaseException as error:
            self._end_at_once()
            if is_interrupt(error):
                raise
            self._context.blame(error)

    def _look(self) -> None:
        self._catch_up(self._decide)

    def new_reply(self) -> asyncio.Future[Any]:
        """Return what waits for a reply: a future of whoever awaits it."""
        return self._context.loop.create_future()

    def time_reply(self, reply: Reply, timeout_s: float | None) -> TimerHandle | None:
        """Have the reply given up after that time, when what has come by then was read: law 11."""
        limit = Deadline.after(timeout_s, self._clock)
        if limit is None:
            return None
        return self._clock.call_at(limit.at, partial(self._catch_up, partial(give_up, reply, limit)))

    def _catch_up(self, then: Callable[[], object]) -> None:
        """Read what has come and send what waits, as far as the kernel lets; then go on, perhaps a little later."""
        link = self._link if self._attached or self._opening else None
        if link is None:
            then()
        elif link.acts_now:
            link.send_now()
            for _ in range(READS_AT_ONCE):
                before = self.bytes_in + link.heard_bytes
                link.read_now()
                if self.bytes_in + link.heard_bytes == before:
                    break
            then()
        else:
            # A loop's own transport moves bytes when the loop polls: before what is called soon from there.
            call_soon = self._context.loop.call_soon
            call_soon(call_soon, then)
