"""A connection on a socket of its own: its states, its input, its output. What its messages are for is elsewhere."""

from __future__ import annotations

import socket
from typing import Any, Final, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.deadlines import Deadline
from ...core.endings import reason_of
from ...core.events import Closed, Event, FramingBroken, HandlerFailed
from ...core.inbound import RecordInbound, StreamInbound
from ...core.service import Handler
from ...core.states import Happening, State
from ...errors import ConnectionEndedError, LocalProtocolError, RemoteProtocolError
from ...reasons import CloseReason
from ..wire import READS_AT_ONCE, next_connection_id, receive_record, reset_on_close
from .driving import Host
from .parking import DONT_WAIT
from .poller import READ, WRITE, Poller
from .sending import SendingSocket

M = TypeVar("M")

# What a read asks for at first, and at most: one that fills its room doubles it. Python allocates the room before each
# read, and from 128 KiB on the C library fetches it from the system, and gives it back, each time.
FIRST_READ_BYTES: Final = 8 * 1024
MOST_READ_BYTES: Final = 64 * 1024


class SocketConnection(SendingSocket[M]):
    """The part of a connection that does not know what its messages are for.

    Args:
        host: Who made it.
        sock: As for `DrivenSocket`.
        poller: Its own from now on.
        codec: What cuts its stream into messages.
        peer: Who is at the other end.
        local: The address at this end.
        records: The socket carries records, not bytes.
    """

    __slots__ = (
        "_draining",
        "_handling",
        "_held",
        "_inbound",
        "_input_over",
        "_local",
        "_news",
        "_peer",
        "_read_bytes",
        "_receiving",
        "bytes_in",
        "id",
        "state",
    )

    def __init__(
        self,
        host: Host,
        sock: socket.socket,
        poller: Poller,
        codec: Codec[M],
        *,
        peer: Peer,
        local: Address,
        records: bool = False,
    ) -> None:
        super().__init__(host, sock, poller, codec, records=records)
        self.id = next_connection_id()
        self.state = None
        self.bytes_in = 0
        self._peer = peer
        self._local = local
        self._inbound: StreamInbound[M] | RecordInbound[M] = RecordInbound(codec) if records else StreamInbound(codec)
        self._read_bytes = min(FIRST_READ_BYTES, host.limits.read_bytes)
        self._draining = False
        # While a callback or a message handler runs, closing waits for its return: its reply is still sent.
        self._handling = False
        self._input_over = False  # the peer's EOF came
        self._receiving = False  # a thread waits for messages
        self._news = False  # something came that it wants to know
        self._held = False  # memory is short, and what is held here must not grow

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

    # -- input ---------------------------------------------------------------------------------------------------------

    def _interest(self) -> int:
        return (READ if self._wants_input() else 0) | (WRITE if self._output else 0)

    def _act(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ:
            self._read_wanted()

    def _pending_bytes(self) -> int:
        return self._inbound.pending_bytes

    def _wants_input(self) -> bool:
        if self._leaving:
            return self._state is not State.FLUSHING  # read and discarded until the peer's EOF
        if not self._can_receive or self._draining or self._write_paused or self._held:
            return False
        return self._receiving or self._inbound.pending_bytes <= self._host.limits.read_bytes

    def _read_wanted(self) -> None:
        """Read, unless that was done or given up since the socket was polled."""
        if self._state is not State.CLOSED and self._wants_input():
            self._read()

    def _read(self) -> None:
        try:
            data = self._receive_now(DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        self._take(data)

    def _receive_now(self, flags: int) -> bytes:
        if self._records:
            return receive_record(self._sock, flags)
        return self._sock.recv(self._read_bytes, flags)

    def _take(self, data: bytes) -> None:
        if not data:
            self._peer_ended()
            return
        size = len(data)
        self.bytes_in += size
        if size == self._read_bytes:
            self._read_bytes = min(2 * size, MOST_READ_BYTES, self._host.limits.read_bytes)
        if self._can_receive and not self._draining:
            if self._deadlines.idle_since is not None:
                self._deadlines.idle_since = self._clock.time()
            self._inbound.feed(data)
            self._news = True

    def _peer_ended(self) -> None:
        self._happen(Happening.PEER_EOF)
        if self._state is State.CLOSED:  # it was all that was waited for
            self._end()
        elif not self._leaving:
            self._input_over = True
            self._news = True

    # -- ending our direction ------------------------------------------------------------------------------------------

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        with self._lock:
            if self._can_send:
                self._happen(Happening.SEND_EOF)
                self._flush_backlog()
                if not self._output:
                    self._send_fin()

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Flush what was queued, send EOF, then end the connection."""
        with self._lock:
            self._leave(CloseReason.DONE)
        self._tell()

    def abort(self) -> None:
        """End the connection now."""
        self.cut(CloseReason.ABORTED)

    def cut(self, reason: CloseReason) -> None:
        """End the connection now, for a reason of the server's. What its threads wait for ends with it."""
        with self._lock:
            self._lose(reason)
        self._tell()

    def drain(self) -> None:
        """Read no more. What was received whole is still delivered; then the input ends."""
        with self._lock:
            self._draining = True
            self._news = True
            self._wake()

    def _leave(self, reason: CloseReason) -> None:
        """Close gracefully; the first reason given is the one that stays."""
        if self._leaving:
            return
        if self._handling:
            self._leave_reason = self._leave_reason or reason
            return
        if self._state in (State.PEER_EOF, State.BOTH_EOF) and reason is CloseReason.DONE:
            reason = CloseReason.PEER_CLOSED
        self.close_reason = self.close_reason or reason
        self._flush_backlog()
        if self._state is State.CLOSED:  # the kernel said just now that nobody is there
            return
        self._happen(Happening.CLOSE)
        self._inbound.clear()
        self._deadlines.closing(self._clock.time())
        self._news = True
        if self._output:
            self._stall_begins()
        else:
            self._flushed()
        self._wake()
        self._changed.notify_all()

    def _flushed(self) -> None:
        """The kernel took the last byte of output, and we are leaving."""
        self._happen(Happening.FLUSHED)
        if self._state is State.CLOSED:
            self._end()
            return
        self._send_fin()
        self._deadlines.lingering(self._clock.time())
        self._arm_next()

    def _lost(self, error: OSError) -> None:
        """The transport broke. What was received before is still delivered."""
        self._error = error
        self.close_reason = self.close_reason or reason_of(error)
        self._happen(Happening.LOST)
        self._end()

    def _lose(self, reason: CloseReason) -> None:
        """End now, by our own will."""
        if self._state is State.CLOSED:
            return
        self.close_reason = self.close_reason or reason
        self._happen(Happening.LOST)
        self._inbound.clear()
        reset_on_close(self._sock)
        self._end()

    def _end(self) -> None:
        """The state is closed."""
        self._output.clear()
        self._backlog = None
        self._write_paused = False
        self._owe(0)
        self._news = True
        self._let_go()

    def _break_off(self, error: RemoteProtocolError) -> None:
        """The peer broke the framing: what was answered before still goes out."""
        self._events.append(FramingBroken(self, error))
        self._leave(error.reason)

    def _handler_failed(self, error: BaseException) -> None:
        """Report a handler's exception once, and end this connection alone."""
        if isinstance(error, ConnectionEndedError | RemoteProtocolError) and self._leaving:
            return  # it noticed that the connection has ended, and left it at that
        self._events.append(HandlerFailed(self, error))
        self._leave(CloseReason.HANDLER_ERROR)

    def closed_event(self) -> Event:
        """Return the event that tells of its end."""
        duration_s = self._clock.time() - self._deadlines.opened_at
        return Closed(self, self.close_reason, self.bytes_in, self.bytes_out, duration_s)

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    # -- when memory is short ------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """How many bytes this process holds for the connection: received and not handled, sent and not taken."""
        return self._inbound.pending_bytes + self._owed_with(b"")

    def hold(self, held: bool) -> None:
        """Read no further, or read again."""
        with self._lock:
            if held != self._held:
                self._held = held
                self._wake()

    def let_go_if_idle(self, share: float) -> None:
        """Close as at the idle deadline, when that ``share`` of the idle timeout has passed."""
        with self._lock:
            since, idle_s = self._deadlines.idle_since, self._deadlines.timeouts.idle_s
            is_waiting = since is not None and idle_s is not None and not self._leaving
            if is_waiting and self._clock.time() - (since or 0.0) >= (idle_s or 0.0) * share:
                self._expire(Deadline.IDLE)
        self._tell()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._catch_up()
        self._decide()

    def _catch_up(self) -> None:
        """Read what has come and send what waits."""
        if self._output:
            self._flush()
        for _ in range(READS_AT_ONCE):
            before = self.bytes_in
            self._read_wanted()
            if self.bytes_in == before:
                break
        self._wake()  # whoever polls may have nothing left to be told of
        self._changed.notify_all()

    def _is_woken(self) -> bool:
        return self._news

    def _expire(self, which: Deadline) -> None:
        if self._state is State.CLOSED:
            return
        if which is Deadline.LINGER:
            self._happen(Happening.LOST)
            self._end()
        elif which is Deadline.HANDSHAKE:
            self._lose(which.value)
        elif which is Deadline.WRITE:
            if self._has_progressed():
                self._stall_begins()
            else:
                self._lose(which.value)
        else:
            self.close_reason = self.close_reason or which.value
            if not self._timed_out(which):
                self._leave(which.value)

    def _timed_out(self, which: Deadline) -> bool:
        """A deadline passed. Return whether the connection will leave by itself; else it is closed right after this."""
        return False
