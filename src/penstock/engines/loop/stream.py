"""A connection on an asyncio transport, from its first byte to its last. How its handler is called stands elsewhere."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.contract import NO_HANDSHAKE
from ...core.deadlines import Deadline
from ...core.endings import reason_of
from ...core.events import Closed, FramingBroken, HandlerFailed
from ...core.gate import Handshake
from ...core.inbound import RecordInbound, StreamInbound
from ...core.service import Handler
from ...core.states import RECEIVABLE, Happening, State
from ...errors import (
    ConnectionEndedError,
    LocalProtocolError,
    RemoteProtocolError,
)
from ...reasons import CloseReason
from ..wire import READS_AT_ONCE, next_connection_id, reset_on_close
from .host import Host
from .sending import SendingConnection
from .transport import SocketTransport

M = TypeVar("M")

# Looked up once: on Python 3.11 a member of an enum costs a tenth of a microsecond each time it is named.
_PEER_EOF, _LOCAL_EOF, _BOTH_EOF = State.PEER_EOF, State.LOCAL_EOF, State.BOTH_EOF
_FLUSHING, _CLOSED = State.FLUSHING, State.CLOSED
_PEER_SENT_EOF, _CLOSE = Happening.PEER_EOF, Happening.CLOSE

# States in which something more may come from the peer, be it to be discarded.
_READABLE = RECEIVABLE | {State.CLOSING, State.LINGERING}


class StreamConnection(SendingConnection[M], asyncio.BufferedProtocol, asyncio.Protocol):
    """The part every connection shares. Subclasses say what happens to messages, by the methods marked abstract.

    It is both kinds of asyncio protocol. Asyncio's own transports take it for a buffered one, and then a read goes into
    the host's one buffer: for a plain one they allocate 256 KiB for every read, which the C library's allocator fetches
    from the system and gives back each time (a line echo: 22 µs of CPU that way, 7 µs without). uvloop, which has a
    buffer of its own, takes it for a plain one.
    """

    __slots__ = (
        "_begun",
        "_closed_waiters",
        "_draining",
        "_gone",
        "_held",
        "_inbound",
        "_local",
        "_peer",
        "_reading_paused",
        "bytes_in",
        "id",
        "state",
    )

    def __init__(self, host: Host, codec: Codec[M], peer: Peer, local: Address, *, records: bool = False) -> None:
        super().__init__(host, codec, records=records)
        self.id = next_connection_id()
        self.state = None
        self.bytes_in = 0
        self._peer = peer
        self._local = local
        self._inbound: StreamInbound[M] | RecordInbound[M] = RecordInbound(codec) if records else StreamInbound(codec)
        self._reading_paused = False  # by `_pause_reading`; asked before every wait, where the transport takes longer
        self._begun = False  # the handler was told
        self._gone = False  # connection_lost was called
        self._draining = False
        self._held = False  # memory is short, and what is held here must not grow
        self._closed_waiters: list[asyncio.Future[CloseReason]] = []

    def __repr__(self) -> str:
        return f"<connection {self.id} {self._peer} {self._state.value}>"

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        return self._peer

    @property
    def local(self) -> Address:
        """The address at this end."""
        return self._local

    @property
    def draining(self) -> bool:
        """Whether the server drains."""
        return self._draining

    def fileno(self) -> int:
        """Return the descriptor of the socket; -1 once it is closed."""
        sock = self._transport.get_extra_info("socket") if self._attached and not self._gone else None
        return -1 if sock is None else int(sock.fileno())

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self) -> None:
        """The connection is ready."""

    @abstractmethod
    def _input_ended(self) -> None:
        """The peer sent EOF."""

    @abstractmethod
    def _timed_out(self, which: Deadline) -> bool:
        """A deadline passed. Return whether the connection will leave by itself; else it is closed right after this."""

    @abstractmethod
    def _ended(self) -> None:
        """The transport is gone. Call `_release` once the handler has ended too."""

    @abstractmethod
    def drain(self) -> None:
        """Handle what was received whole, then close with ``drained``."""

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = transport = cast("asyncio.Transport", transport)
        self._attached = True
        self._await_notice()
        if self._state is _CLOSED:  # it was aborted between accept(2) and now
            self._reset_on_close()
            transport.abort()
            return
        self._corking = False
        self._uncork()
        if self._state is _LOCAL_EOF:  # our direction was ended before there was one
            self._write_eof()
        if self._leave_reason is not None:  # closed before its handler was told of it
            self._leave(self._leave_reason)
            return
        self._begun = True
        self._begin()
        # Last: a timer that comes earlier is there by now, as a rule, and this one need not be set.
        if (lifetime_s := self._deadlines.timeouts.lifetime_s) is not None and self._state is not _CLOSED:
            ends_at = self._deadlines.opened_at + lifetime_s
            if ends_at < self.due_at:
                self._arm(ends_at)
        if self._draining:  # since before there was a transport
            self.drain()

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Take what was read; drop it when the connection is leaving or draining."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the host's buffer: a read is copied out of it before anything else can be read."""
        return self._host.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.data_received(self._host.buffer[:nbytes].tobytes())

    def eof_received(self) -> bool:
        """Note the end of the peer's direction; ours stays open until the handler ends it."""
        if self._state is not _CLOSED:
            self._happen(_PEER_SENT_EOF)
            if self._leaving:
                self._transport.close()  # flushes what is left, if anything; connection_lost follows
            else:
                self._input_ended()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note that the transport is gone, and why if nobody knew yet."""
        if self.close_reason is None:
            self.close_reason = reason_of(exc)
        self._become(_CLOSED)
        self._gone = True
        self._disarm()
        self._corked.clear()
        self._backlog = None
        self._write_paused = False
        self._owe(0)
        self._wake_senders()
        for closed in self._closed_waiters:
            if not closed.done():
                closed.set_result(self.close_reason)
        self._closed_waiters.clear()
        if self._begun:
            self._ended()
        else:
            self._release()

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Flush what was queued, send EOF, then end the connection."""
        self._leave(CloseReason.DONE)

    def abort(self) -> None:
        """End the connection now."""
        self._lose(CloseReason.ABORTED)

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, for a reason of the server's."""
        self._lose(reason)

    def _leave(self, reason: CloseReason) -> None:
        """Close gracefully; the first reason given is the one that stays."""
        if self._leaving:
            return
        if self._handling or not self._attached:
            self._leave_reason = self._leave_reason or reason
            return
        if self._state in (_PEER_EOF, _BOTH_EOF) and reason is CloseReason.DONE:
            reason = CloseReason.PEER_CLOSED
        self.close_reason = self.close_reason or reason
        self._uncork()
        self._flush_backlog()
        eof_sent = self._state in (_LOCAL_EOF, _BOTH_EOF)
        self._happen(_CLOSE)
        self._held = False  # what still comes is dropped
        self._inbound.clear()
        self._wake_senders()
        transport = self._transport
        self._deadlines.closing(self._clock.time())
        # From here on the transport reports when nothing is left to flush, not when little is.
        transport.set_write_buffer_limits(high=0)
        if self._state is _FLUSHING:
            transport.close()  # flushes; connection_lost follows
            if transport.get_write_buffer_size():
                self._stall_began()
            return
        if not eof_sent:
            self._write_eof()
        self._resume_reading()
        if transport.get_write_buffer_size():
            self._stall_began()
        else:
            self._flushed()

    def _flushed(self) -> None:
        if self._state is State.CLOSING:
            self._happen(Happening.FLUSHED)
            now = self._clock.time()
            self._deadlines.lingering(now)
            linger_s = self._deadlines.timeouts.linger_s
            if linger_s is not None:
                self._arm(now + linger_s)

    def _lose(self, reason: CloseReason) -> None:
        """End now. The transport tells `connection_lost` a little later."""
        if self._state is _CLOSED:
            return
        self.close_reason = self.close_reason or reason
        self._happen(Happening.LOST)
        self._inbound.clear()
        self._corked.clear()
        self._backlog = None
        self._disarm()
        if self._attached:
            self._reset_on_close()
            self._transport.abort()
        self._owe(0)

    def _reset_on_close(self) -> None:
        """Tell the peer with a reset."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            reset_on_close(sock)

    def _break_off(self, error: RemoteProtocolError) -> None:
        """The peer broke the framing: what was answered before still goes out."""
        self._host.emit(FramingBroken(self, error))
        self._leave(error.reason)

    def _handler_failed(self, error: BaseException) -> None:
        """Report a handler's exception once, and end this connection alone."""
        ended = self._leaving or self.close_reason is not None
        if ended and isinstance(error, ConnectionEndedError | RemoteProtocolError):
            return  # it noticed that the connection has ended, and left it at that
        self._host.emit(HandlerFailed(self, error))
        # A close that the handler asked for would have come after its return.
        self._leave_reason = CloseReason.HANDLER_ERROR
        self._leave(CloseReason.HANDLER_ERROR)

    def _release(self) -> None:
        """Transport and handler are both gone."""
        duration_s = self._clock.time() - self._deadlines.opened_at
        self._host.emit(Closed(self, self.close_reason, self.bytes_in, self.bytes_out, duration_s))
        self._host.released(self)

    # -- input flow ----------------------------------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        self._reading_paused = True
        if not self._transport.is_closing() and self._transport.is_reading():
            self._transport.pause_reading()

    # -- when memory is short ------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """How many bytes this process holds for the connection: received and not handled, sent and not taken."""
        if not self._attached or self._gone:
            return 0
        output_bytes = self._corked_bytes + len(self._backlog or b"") + self._transport.get_write_buffer_size()
        return self._inbound.pending_bytes + output_bytes

    def hold(self) -> None:
        """Read no further until `unhold`."""
        if self._attached and not self._leaving:
            self._held = True
            self._pause_reading()

    def unhold(self) -> None:
        """Read again, unless something else keeps it from that."""
        if self._held:
            self._held = False
            if not self._leaving and not self._write_paused:
                self._output_resumed()

    def let_go_if_idle(self, share: float) -> None:
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        since, idle_s = self._deadlines.idle_since, self._deadlines.timeouts.idle_s
        if since is None or idle_s is None or self._leaving:
            return
        if self._clock.time() - since >= idle_s * share:
            self._expire(Deadline.IDLE)

    def _resume_reading(self) -> None:
        # After the peer's EOF a transport that reads again would report the same EOF once more.
        if (
            self._reading_paused
            and not self._held
            and self._state in _READABLE
            and not self._transport.is_closing()
            and not self._transport.is_reading()
        ):
            self._reading_paused = False
            self._transport.resume_reading()

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _pending_bytes(self) -> int:
        return self._inbound.pending_bytes

    def _take_handshake(self, now: float) -> Handshake:
        if self._host.gate is None:
            raise LocalProtocolError(NO_HANDSHAKE)
        return self._host.gate.begin_handshake(now)

    def _look(self) -> None:
        self._catch_up(self._decide)

    def _catch_up(self, then: Callable[[], object]) -> None:
        """Move what bytes there are, in and out, and then call ``then``: at once, or a turn of the loop later."""
        transport = self._transport
        if isinstance(transport, SocketTransport):
            transport.write_now()
            for _ in range(READS_AT_ONCE):
                before = self.bytes_in
                transport.read_now()
                if self.bytes_in == before:
                    break
            then()
        else:
            # A loop's own transport moves bytes when the loop polls: before what is called soon from there.
            call_soon = self._host.loop.call_soon
            call_soon(call_soon, then)

    def _is_woken(self) -> bool:
        return False

    def _expire(self, which: Deadline) -> None:
        if which is Deadline.LINGER:
            self._happen(Happening.LOST)
            self._transport.abort()
        elif which is Deadline.HANDSHAKE:
            self._lose(which.value)
        elif which is Deadline.WRITE:
            if self._has_progressed():
                self._stall_began()
            else:
                self._lose(which.value)
        else:
            self.close_reason = which.value
            if not self._timed_out(which):
                self._leave(which.value)
