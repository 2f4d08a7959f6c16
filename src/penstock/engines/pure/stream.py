"""A connection on an asyncio transport: states, output, deadlines. How its handler is called stands elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections import deque
from math import inf
from typing import Any, TypeVar, cast

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.deadlines import Deadline, Deadlines
from ...core.endings import reason_of, why_not
from ...core.events import Event, EventName
from ...core.inbound import RecordInbound, StreamInbound
from ...core.output import Backlog
from ...core.service import Handler
from ...core.states import LEAVING, RECEIVABLE, SENDABLE, Happening, State, after
from ...errors import (
    ConnectionEndedError,
    LocalProtocolError,
    RemoteProtocolError,
    SlowPeerError,
)
from ...reasons import CloseReason
from ..base import ConnectionBase, TimerHandle
from ..wire import next_connection_id, reset_on_close
from .host import Host

M = TypeVar("M")


# States in which something more may come from the peer, be it to be discarded.
_READABLE = RECEIVABLE | {State.CLOSING, State.LINGERING}


class StreamConnection(ConnectionBase[M], asyncio.BufferedProtocol, asyncio.Protocol):
    """The part every connection shares. Subclasses say what happens to messages, by the methods marked abstract.

    It is both kinds of asyncio protocol. Asyncio's own transports take it for a buffered one, and then a read goes into
    the host's one buffer: for a plain one they allocate 256 KiB for every read, which the C library's allocator fetches
    from the system and gives back each time (a line echo: 22 µs of CPU that way, 7 µs without). uvloop, which has a
    buffer of its own, takes it for a plain one.
    """

    __slots__ = (
        "_armed_at",
        "_attached",
        "_backlog",
        "_begun",
        "_can_receive",
        "_can_send",
        "_clock",
        "_closed_waiters",
        "_corked",
        "_corked_bytes",
        "_corking",
        "_deadlines",
        "_draining",
        "_gone",
        "_handling",
        "_held",
        "_host",
        "_inbound",
        "_leave_reason",
        "_leaving",
        "_limits",
        "_local",
        "_owed_bytes",
        "_peer",
        "_reading_paused",
        "_records",
        "_send_waiters",
        "_stalled_bytes",
        "_state",
        "_timer",
        "_transport",
        "_write_paused",
        "bytes_in",
        "bytes_out",
        "close_reason",
        "codec",
        "id",
        "state",
    )

    _transport: asyncio.Transport

    def __init__(self, host: Host, codec: Codec[M], peer: Peer, local: Address, *, records: bool = False) -> None:
        self.id = next_connection_id()
        self.codec = codec
        self.state = None
        self.bytes_in = self.bytes_out = 0
        self.close_reason: CloseReason | None = None
        self._host = host
        self._limits = host.limits
        self._clock = host.clock
        self._peer = peer
        self._local = local
        self._records = records
        self._reading_paused = False  # by `_pause_reading`; asked before every wait, where the transport takes longer
        self._inbound: StreamInbound[M] | RecordInbound[M] = RecordInbound(codec) if records else StreamInbound(codec)
        self._become(State.OPEN)
        self._attached = False  # connection_made was called
        self._begun = False  # the handler was told
        self._gone = False  # connection_lost was called
        self._draining = False
        # While a callback or a message handler runs, closing waits for its return: its reply is still sent.
        self._handling = False
        self._leave_reason: CloseReason | None = None
        # Output gathered while a batch of messages is handled, to leave in one write; and before there is a transport.
        self._corking = True
        self._corked: list[bytes] = []
        self._corked_bytes = 0
        self._write_paused = False
        self._backlog: Backlog | None = None  # what was posted since, where not all that is owed has to leave
        self._held = False  # memory is short, and what is held here must not grow
        self._owed_bytes = 0  # while output is over the high watermark, as `Host.budget` has it too
        self._stalled_bytes = 0  # what the kernel had taken when the peer's patience for reading began to count
        self._send_waiters: deque[asyncio.Future[None]] = deque()
        self._closed_waiters: list[asyncio.Future[CloseReason]] = []
        self._deadlines = Deadlines(host.timeouts, host.clock.time())
        self._timer: TimerHandle | None = None
        self._armed_at = inf

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
    def _output_resumed(self) -> None:
        """Output fell to the low watermark."""

    @abstractmethod
    def drain(self) -> None:
        """Handle what was received whole, then close with ``drained``."""

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = transport = cast("asyncio.Transport", transport)
        self._attached = True
        limits = self._limits
        transport.set_write_buffer_limits(high=limits.write_high_bytes, low=limits.write_low_bytes)
        if self._state is State.CLOSED:  # it was aborted between accept(2) and now
            self._reset_on_close()
            transport.abort()
            return
        if (lifetime_s := self._deadlines.timeouts.lifetime_s) is not None:
            self._arm(self._deadlines.opened_at + lifetime_s)
        self._corking = False
        self._uncork()
        if self._leave_reason is not None:  # closed before its handler was told of it
            self._leave(self._leave_reason)
            return
        self._begun = True
        self._begin()
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
        if self._state is not State.CLOSED:
            self._happen(Happening.PEER_EOF)
            if self._leaving:
                self._transport.close()  # flushes what is left, if anything; connection_lost follows
            else:
                self._input_ended()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note that the transport is gone, and why if nobody knew yet."""
        if self.close_reason is None:
            self.close_reason = reason_of(exc)
        self._become(State.CLOSED)
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

    def pause_writing(self) -> None:
        """Output went over the high watermark, or some is left to flush at the close."""
        was_paused, self._write_paused = self._write_paused, True
        self._owe(self._transport.get_write_buffer_size() + len(self._backlog or b""))
        if self._leaving or was_paused:
            return
        self._host.emit(Event(EventName.READING_PAUSED, self))
        self._stall_began()
        self._pause_reading()

    def resume_writing(self) -> None:
        """Output fell to the low watermark; after a close, to nothing."""
        if self._backlog and self._refill():
            return
        self._write_paused = False
        self._owe(0)
        self._deadlines.stalled_since = None
        if self._leaving:
            self._flushed()
            return
        self._host.emit(Event(EventName.READING_RESUMED, self))
        self._wake_senders()
        self._output_resumed()

    def _wake_senders(self) -> None:
        while self._send_waiters:
            waiter = self._send_waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    # -- output --------------------------------------------------------------------------------------------------------

    def post(self, message: M) -> None:
        """Queue one message; never wait."""
        if not self._can_send or self._leave_reason is not None:
            raise self._why_not()
        data = self._encode(message)
        if self._write_paused and self._limits.slow_consumer != "disconnect":
            self._post_late(data)
        else:
            self._put(data)

    def try_send(self, message: M) -> bool:
        """Queue one message if output is not over its high watermark."""
        if not self._can_send or self._leave_reason is not None:
            raise self._why_not()
        if self._write_paused:
            return False
        self._put(self._encode(message))
        return True

    @property
    def raises_when_full(self) -> bool:
        """Whether `post` says to its caller that there is no room."""
        return self._limits.slow_consumer == "raise"

    def refusal(self) -> Exception | None:
        """Return what `post` would raise whatever the message, or None."""
        return None if self._can_send and self._leave_reason is None else self._why_not()

    def _encode(self, message: M) -> bytes:
        return self.codec.encode_datagram(message) if self._records else self.codec.encode(message)

    def _put(self, data: bytes) -> None:
        """Send one frame, or the frames of one batch, in the order of the calls."""
        if self._write_paused:
            self._charge(len(data))
            if self._backlog:
                self._backlog.keep(data)
                return
        if self._corking:
            self._corked.append(data)
            self._corked_bytes += len(data)
            if self._corked_bytes > self._limits.write_high_bytes:
                self._uncork()
        else:
            if self._corked:
                self._uncork()
            self._write(data)

    def _write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        deadlines = self._deadlines
        if not self._handling and deadlines.idle_since is not None:
            deadlines.idle_since = self._clock.time()
        self._transport.write(data)

    def _uncork(self) -> None:
        corked = self._corked
        if not corked or not self._attached:
            return
        self._corked = []
        self._corked_bytes = 0
        if self._state is State.CLOSED:
            return
        if self._records:
            for record in corked:
                self._write(record)
        else:
            self._write(corked[0] if len(corked) == 1 else b"".join(corked))

    def _charge(self, size: int) -> None:
        """Hold what a peer that does not read is owed to the hard limit."""
        limit = self._most_bytes()
        self._owe(self._owed_bytes + size)
        if self._owed_bytes > limit:
            # The sum forgets what the transport has sent since; asking the transport is O(its chunks), so only now.
            held_bytes = self._corked_bytes + len(self._backlog or b"")
            self._owe(self._transport.get_write_buffer_size() + held_bytes + size)
            if self._owed_bytes > limit:
                self._lose(CloseReason.SLOW_CONSUMER)
                raise SlowPeerError(CloseReason.SLOW_CONSUMER)

    def _most_bytes(self) -> int:
        """Return what the peer may be owed while it is over its high watermark."""
        return self._limits.write_high_bytes if self._host.budget.exceeded else self._limits.write_max_bytes

    def _post_late(self, data: bytes) -> None:
        """Queue a posted frame behind a full transport, or have something give way, as the policy has it."""
        backlog = self._backlog = self._backlog or Backlog()
        before = len(backlog)
        dropped = backlog.admit(data, self._limits.slow_consumer, self._owed_bytes + len(data) - self._most_bytes())
        self._owe(self._owed_bytes + len(backlog) - before)
        if dropped is not None:
            self._host.emit(Event(EventName.MESSAGE_DROPPED, self, dropped))

    def _refill(self) -> bool:
        """Hand the transport what waits behind it, up to the high watermark; return whether it is over that again."""
        backlog, high, transport = self._backlog, self._limits.write_high_bytes, self._transport
        while backlog and (left := high - transport.get_write_buffer_size()) >= 0:
            self._write(backlog.take(1 if self._records else left + 1))
        if transport.get_write_buffer_size() <= high:
            return False
        self._stall_began()
        return True

    def _flush_backlog(self) -> None:
        """Our direction ends: hand the transport all that waits behind it."""
        while self._backlog:
            self._write(self._backlog.take(1 if self._records else len(self._backlog)))

    def _owe(self, size: int) -> None:
        self._host.budget.used_bytes += size - self._owed_bytes
        self._owed_bytes = size

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        if self._can_send:
            self._happen(Happening.SEND_EOF)
            self._uncork()
            self._flush_backlog()
            self._write_eof()

    def _write_eof(self) -> None:
        # ENOTCONN: the peer's reset has arrived and was not read yet. Reading it ends the connection.
        with contextlib.suppress(OSError):
            self._transport.write_eof()

    def _why_not(self) -> Exception:
        """Return the error for whoever uses a connection that is no longer there."""
        return why_not(self._state, self.close_reason, leaving=self._leave_reason is not None)

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
        if self._state in (State.PEER_EOF, State.BOTH_EOF) and reason is CloseReason.DONE:
            reason = CloseReason.PEER_CLOSED
        self.close_reason = self.close_reason or reason
        self._uncork()
        self._flush_backlog()
        eof_sent = self._state in (State.LOCAL_EOF, State.BOTH_EOF)
        self._happen(Happening.CLOSE)
        self._held = False  # what still comes is dropped
        self._inbound.clear()
        self._wake_senders()
        transport = self._transport
        self._deadlines.closing(self._clock.time())
        # From here on the transport reports when nothing is left to flush, not when little is.
        transport.set_write_buffer_limits(high=0)
        if self._state is State.FLUSHING:
            transport.close()  # flushes; connection_lost follows
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
        if self._state is State.CLOSED:
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

    def _reset_on_close(self) -> None:
        """Tell the peer with a reset."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            reset_on_close(sock)

    def _break_off(self, error: RemoteProtocolError) -> None:
        """The peer broke the framing: what was answered before still goes out."""
        self._host.emit(Event(EventName.PROTOCOL_ERROR, self, {"error": error}))
        self._leave(error.reason)

    def _handler_failed(self, error: BaseException) -> None:
        """Report a handler's exception once, and end this connection alone."""
        ended = self._leaving or self.close_reason is not None
        if ended and isinstance(error, ConnectionEndedError | RemoteProtocolError):
            return  # it noticed that the connection has ended, and left it at that
        self._host.emit(Event(EventName.HANDLER_FAILED, self, {"error": error}))
        # A close that the handler asked for would have come after its return.
        self._leave_reason = CloseReason.HANDLER_ERROR
        self._leave(CloseReason.HANDLER_ERROR)

    def _release(self) -> None:
        """Transport and handler are both gone."""
        self._host.emit(
            Event(
                EventName.CLOSED,
                self,
                {
                    "reason": self.close_reason,
                    "bytes_in": self.bytes_in,
                    "bytes_out": self.bytes_out,
                    "duration_s": self._clock.time() - self._deadlines.opened_at,
                },
            )
        )
        self._host.released(self)

    def _happen(self, happening: Happening) -> None:
        self._become(after(self._state, happening))

    def _become(self, state: State) -> None:
        self._state = state
        # Asked for every read and every message: a look-up in a set of enum members hashes in Python.
        self._can_send = state in SENDABLE
        self._can_receive = state in RECEIVABLE
        self._leaving = state in LEAVING

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

    def set_limits(self, **limits: int | str) -> None:
        """Change this connection's watermarks, hard limit or policy."""
        self._limits = self._limits.merged(**limits)
        if self._attached and not self._leaving:
            high, low = self._limits.write_high_bytes, self._limits.write_low_bytes
            self._transport.set_write_buffer_limits(high=high, low=low)

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        self._deadlines.timeouts = self._deadlines.timeouts.merged(**timeouts)
        entry = self._deadlines.next()
        if entry is not None and self._state is not State.CLOSED:
            self._arm(entry[0])

    def _stall_began(self) -> None:
        now = self._clock.time()
        self._deadlines.stalled_since = now
        self._stalled_bytes = self._taken_bytes()
        if (write_s := self._deadlines.timeouts.write_s) is not None:
            self._arm(now + write_s)

    def _taken_bytes(self) -> int:
        return self.bytes_out - self._transport.get_write_buffer_size()

    def _has_progressed(self) -> bool:
        """Whether the peer read as much as has to be read for reading it to go on, though not all that was owed.

        Less does not count: a peer that reads a byte now and then would hold its output for ever.
        """
        limits = self._limits
        step = max(1, limits.write_high_bytes - limits.write_low_bytes)
        return self._taken_bytes() - self._stalled_bytes >= step

    def _arm(self, when: float) -> None:
        """Have `_tick` called no later than ``when``. An earlier timer is left alone: it sets the next one."""
        if when < self._armed_at:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_at = when
            self._timer = self._clock.call_at(when, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_at = inf

    def _tick(self) -> None:
        self._timer = None
        self._armed_at = inf
        if self._state is State.CLOSED:
            return  # the peer's EOF was faster than the end of the wait for it; the transport is about to say so
        self._deadlines.partial_bytes = self._inbound.pending_bytes
        which = self._deadlines.due(self._clock.time())
        if which is None:
            entry = self._deadlines.next()
            if entry is not None:
                self._arm(entry[0])
        elif which is Deadline.LINGER:
            self._happen(Happening.LOST)
            self._transport.abort()
        elif which is Deadline.WRITE:
            if self._has_progressed():
                self._stall_began()
            else:
                self._lose(which.value)
        else:
            self._expire(which)

    def _expire(self, which: Deadline) -> None:
        self.close_reason = which.value
        if not self._timed_out(which):
            self._leave(which.value)
