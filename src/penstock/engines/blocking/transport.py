"""A connection on a socket of its own: states, output and deadlines, with whichever thread waits doing the work.

One lock guards a connection. Nobody waits while holding it: the one thread that polls (the driver) lets go of it
meanwhile, and every other thread that waits for something on this connection waits for the driver. When the driver has
what it wanted, one of the others takes over. So a connection needs no thread of its own to be correct, and several
threads may send, receive and close at once.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...config import Limits, Timeouts
from ...core.deadlines import Deadline, Deadlines
from ...core.endings import reason_of, why_not
from ...core.events import Event, EventName
from ...core.inbound import RecordInbound, StreamInbound
from ...core.memory import OutputBudget
from ...core.service import Handler
from ...core.states import LEAVING, RECEIVABLE, SENDABLE, Happening, State, after
from ...errors import ConnectionEndedError, LocalProtocolError, RemoteProtocolError, SlowPeerError
from ...reasons import CloseReason
from ..base import Clock, ConnectionBase, TimerHandle
from ..wire import next_connection_id, receive_record, reset_on_close
from .output import RecordOutput, StreamOutput
from .poller import READ, WRITE, Poller
from .timers import Timers

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Host:
    """What a connection needs of whoever made it: a server, or a client.

    Attributes:
        clock: Where time comes from. Its timers may be called on any thread.
        timeouts: At first.
        limits: Of its buffers.
        report: Takes the events out of the queue it is given, in order, and tells them.
        timers: The clock, when it is one that the waiting thread itself has to run: a client without a thread.
        budget: What all peers together are owed beyond their high watermarks; guarded by ``budget_lock``.
    """

    clock: Clock
    timeouts: Timeouts
    limits: Limits
    report: Callable[[deque[Event]], None]
    timers: Timers | None = None
    budget: OutputBudget = field(default_factory=OutputBudget)
    budget_lock: threading.Lock = field(default_factory=threading.Lock)


class SocketConnection(ConnectionBase[M]):
    """The part of a connection that does not know what its messages are for.

    Args:
        host: Who made it.
        sock: Connected and non-blocking. It is the connection's from now on, which closes it.
        poller: Its own from now on.
        codec: What cuts its stream into messages.
        peer: Who is at the other end.
        local: The address at this end.
        records: The socket carries records, not bytes.
    """

    __slots__ = (
        "_armed_at",
        "_changed",
        "_clock",
        "_deadlines",
        "_draining",
        "_driving",
        "_eof_sent",
        "_error",
        "_events",
        "_fd",
        "_gone",
        "_handling",
        "_held",
        "_host",
        "_inbound",
        "_input_over",
        "_leave_reason",
        "_local",
        "_lock",
        "_news",
        "_output",
        "_owed_bytes",
        "_peer",
        "_poller",
        "_receiving",
        "_records",
        "_senders",
        "_sock",
        "_state",
        "_timer",
        "_write_paused",
        "bytes_in",
        "bytes_out",
        "close_reason",
        "codec",
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
        self.id = next_connection_id()
        self.codec = codec
        self.state = None
        self.bytes_in = self.bytes_out = 0
        self.close_reason: CloseReason | None = None
        self._host = host
        self._clock = host.clock
        self._sock = sock
        self._fd = sock.fileno()
        self._poller = poller
        self._peer = peer
        self._local = local
        self._records = records
        self._inbound: StreamInbound[M] | RecordInbound[M] = RecordInbound(codec) if records else StreamInbound(codec)
        self._output = RecordOutput() if records else StreamOutput()
        # Reentrant, for a signal handler or a finaliser may call in while this thread holds it.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._driving = False  # a thread polls; it does not hold the lock
        self._events: deque[Event] = deque()  # told once the lock is free, for an observer may call in
        self._state = State.OPEN
        self._gone = False  # the socket is closed
        self._error: OSError | None = None
        self._draining = False
        # While a callback or a message handler runs, closing waits for its return: its reply is still sent.
        self._handling = False
        self._leave_reason: CloseReason | None = None
        self._input_over = False  # the peer's EOF came
        self._eof_sent = False
        self._receiving = False  # a thread waits for messages
        self._news = False  # something came that it wants to know
        self._write_paused = False
        self._owed_bytes = 0  # while output is over the high watermark, as `Host.budget` has it too
        self._held = False  # memory is short, and what is held here must not grow
        self._senders = 0  # threads that wait until their frame has gone out
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

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _drive(self, done: Callable[[], bool]) -> None:
        """Move bytes until ``done()``, or wait for the thread that does. The lock is held, except while waiting."""
        while not done():
            if self._driving:
                self._changed.wait()
            else:
                self._turn()

    def _turn(self) -> None:
        """Wait once for the socket, a deadline or another thread, and do what it asks for."""
        events = (READ if self._wants_input() else 0) | (WRITE if self._output else 0)
        timers = self._host.timers
        self._driving = True
        self._lock.release()
        try:
            if self._events:
                self._host.report(self._events)
            self._poller.set(self._fd, events)
            ready = self._poller.wait(None if timers is None else timers.timeout_s())
            if timers is not None:
                timers.run_due()
        finally:
            self._lock.acquire()
            self._driving = False
            self._changed.notify_all()
        if self._state is State.CLOSED:  # meanwhile, by another thread, which left the socket to this one
            self._dispose()
            return
        for _, happened in ready:
            if happened & WRITE:
                self._flush()
            if happened & READ and not self._gone:
                self._read()

    def _wake(self) -> None:
        """Have the driver look again at what is to be done."""
        if self._driving:
            self._poller.wake()

    def _tell(self) -> None:
        """Report what happened while the lock was held. Called without it."""
        if self._events:
            self._host.report(self._events)

    # -- input ---------------------------------------------------------------------------------------------------------

    def _wants_input(self) -> bool:
        if self._state in LEAVING:
            return self._state is not State.FLUSHING  # read and discarded until the peer's EOF
        if self._state not in RECEIVABLE or self._draining or self._write_paused or self._held:
            return False
        return self._receiving or self._inbound.pending_bytes <= self._host.limits.read_bytes

    def _read(self) -> None:
        try:
            data = receive_record(self._sock) if self._records else self._sock.recv(self._host.limits.read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        if not data:
            self._peer_ended()
            return
        self.bytes_in += len(data)
        if self._state in RECEIVABLE and not self._draining:
            if self._deadlines.idle_since is not None:
                self._deadlines.idle_since = self._clock.time()
            self._inbound.feed(data)
            self._news = True

    def _peer_ended(self) -> None:
        self._happen(Happening.PEER_EOF)
        if self._state is State.CLOSED:  # it was all that was waited for
            self._end()
        elif self._state not in LEAVING:
            self._input_over = True
            self._news = True

    # -- output --------------------------------------------------------------------------------------------------------

    def post(self, message: M) -> None:
        """Queue one message; never wait. Safe from every thread."""
        with self._lock:
            self._require_sendable()
            self._put(self._encode(message))
        self._tell()

    def _require_sendable(self) -> None:
        if self._state not in SENDABLE or self._leave_reason is not None:
            raise self._why_not()

    def _encode(self, message: M) -> bytes:
        return self.codec.encode_datagram(message) if self._records else self.codec.encode(message)

    def _put(self, data: bytes) -> None:
        """Send one frame, or several; the driver sends what the kernel does not take now.

        Raises:
            SlowPeerError: The peer is owed too much. The connection is gone.
            BrokenError: As the kernel says now.
        """
        output = self._output
        limits = self._host.limits
        if self._write_paused:
            limit = limits.write_high_bytes if self._host.budget.exceeded else limits.write_max_bytes
            if len(output) + len(data) > limit:
                self._lose(CloseReason.SLOW_CONSUMER)
                raise SlowPeerError(CloseReason.SLOW_CONSUMER)
        try:
            sent = output.push(self._sock, data)
        except OSError as error:
            self._lost(error)
            raise self._why_not() from error
        self._count_sent(sent)
        if output:
            if len(output) > limits.write_high_bytes:
                self._pause()
            if self._write_paused:
                self._owe(len(output))
            self._wake()

    def _pause(self) -> None:
        """Read no further until the peer has read what it is owed."""
        if not self._write_paused:
            self._write_paused = True
            self._events.append(Event(EventName.READING_PAUSED, self))
            self._stall_begins()

    def _owe(self, size: int) -> None:
        with self._host.budget_lock:
            self._host.budget.used_bytes += size - self._owed_bytes
        self._owed_bytes = size

    def _send(self, data: bytes) -> None:
        """Send one frame or several; return when the kernel has taken all of it.

        Raises:
            SlowPeerError, BrokenError: The connection ended before.
        """
        self._put(data)
        if not self._output:
            return
        mark = self.bytes_out + len(self._output)
        self._senders += 1
        self._pause()  # a thread that waits here is held up, however little it waits for
        try:
            self._drive(lambda: self.bytes_out >= mark or self._state is State.CLOSED)
        finally:
            self._senders -= 1
        if self.bytes_out < mark:
            raise self._why_not()

    def _wait_for_room(self) -> None:
        """Wait until output is no longer over its high watermark, or the connection is leaving."""
        self._drive(lambda: not self._write_paused or self._state in LEAVING)

    def _count_sent(self, sent: int) -> None:
        if sent:
            self.bytes_out += sent
            if self._deadlines.idle_since is not None:
                self._deadlines.idle_since = self._clock.time()

    def _flush(self) -> bool:
        """Send what the kernel takes now; return whether it took anything."""
        try:
            sent = self._output.flush(self._sock)
        except OSError as error:
            self._lost(error)
            return False
        if sent:
            self._count_sent(sent)
            self._output_sank()
        return sent > 0

    def _output_sank(self) -> None:
        """The peer reads: go on with what waited for that."""
        owed = len(self._output)
        leaving = self._state in LEAVING
        # Who waits in `send` waits for the last byte; otherwise the low watermark is enough.
        enough = 0 if leaving or self._senders else self._host.limits.write_low_bytes
        if owed <= enough:
            self._deadlines.stalled_since = None
        elif self._deadlines.stalled_since is not None:
            self._deadlines.stalled_since = self._clock.time()
        paused = self._write_paused and owed > enough
        if self._owed_bytes:
            self._owe(owed if paused else 0)
        if leaving:
            if not owed:
                self._flushed()
            return
        if self._write_paused and not paused:
            self._write_paused = False
            self._events.append(Event(EventName.READING_RESUMED, self))
        if not owed and self._state in (State.LOCAL_EOF, State.BOTH_EOF):
            self._send_fin()

    def send_eof(self) -> None:
        """End our direction after what was queued; go on receiving."""
        with self._lock:
            if self._state in SENDABLE:
                self._happen(Happening.SEND_EOF)
                if not self._output:
                    self._send_fin()

    def _send_fin(self) -> None:
        if not self._eof_sent:
            self._eof_sent = True
            with suppress(OSError):  # ENOTCONN: the peer was faster; reading finds out
                self._sock.shutdown(socket.SHUT_WR)

    def _why_not(self) -> Exception:
        """Return the error for whoever uses a connection that is no longer there."""
        error = why_not(self._state, self.close_reason, leaving=self._leave_reason is not None)
        error.__cause__ = self._error
        return error

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
        if self._state in LEAVING:
            return
        if self._handling:
            self._leave_reason = self._leave_reason or reason
            return
        if self._state in (State.PEER_EOF, State.BOTH_EOF) and reason is CloseReason.DONE:
            reason = CloseReason.PEER_CLOSED
        self.close_reason = self.close_reason or reason
        self._happen(Happening.CLOSE)
        self._inbound.clear()
        self._deadlines.closing(self._clock.time())
        self._news = True
        if self._output:
            self._arm_next()
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
        """The state is closed: let go of the socket, or have the thread that polls it do so."""
        self._disarm()
        self._output.clear()
        self._write_paused = False
        self._owe(0)
        self._news = True
        if self._driving:
            self._poller.wake()
        else:
            self._dispose()

    def _dispose(self) -> None:
        if not self._gone:
            self._gone = True
            self._poller.close()
            self._sock.close()
            self._changed.notify_all()

    def _break_off(self, error: RemoteProtocolError) -> None:
        """The peer broke the framing: what was answered before still goes out."""
        self._events.append(Event(EventName.PROTOCOL_ERROR, self, {"error": error}))
        self._leave(error.reason)

    def _handler_failed(self, error: BaseException) -> None:
        """Report a handler's exception once, and end this connection alone."""
        if isinstance(error, ConnectionEndedError | RemoteProtocolError) and self._state in LEAVING:
            return  # it noticed that the connection has ended, and left it at that
        self._events.append(Event(EventName.HANDLER_FAILED, self, {"error": error}))
        self._leave(CloseReason.HANDLER_ERROR)

    def _happen(self, happening: Happening) -> None:
        self._state = after(self._state, happening)

    def closed_event(self) -> Event:
        """Return the event that tells of its end."""
        return Event(
            EventName.CLOSED,
            self,
            {
                "reason": self.close_reason,
                "bytes_in": self.bytes_in,
                "bytes_out": self.bytes_out,
                "duration_s": self._clock.time() - self._deadlines.opened_at,
            },
        )

    def set_handler(self, handler: Handler[Any]) -> None:
        """Refuse: only callbacks can be exchanged."""
        raise LocalProtocolError("the handler of this connection is a function: it decides itself what to call next")

    # -- when memory is short ------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """How many bytes this process holds for the connection: received and not handled, sent and not taken."""
        return self._inbound.pending_bytes + len(self._output)

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
            is_waiting = since is not None and idle_s is not None and self._state not in LEAVING
            if is_waiting and self._clock.time() - (since or 0.0) >= (idle_s or 0.0) * share:
                self._expire(Deadline.IDLE)
        self._tell()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        with self._lock:
            self._deadlines.timeouts = self._deadlines.timeouts.merged(**timeouts)
            self._arm_next()

    def _stall_begins(self) -> None:
        self._deadlines.stalled_since = self._clock.time()
        self._arm_next()

    def _arm_next(self) -> None:
        """Have `_tick` called when the next deadline is due. A timer that comes earlier is left: it sets the next."""
        entry = self._deadlines.next()
        if entry is None or entry[0] >= self._armed_at or self._state is State.CLOSED:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_at = entry[0]
        self._timer = self._clock.call_at(entry[0], self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed_at = inf

    def _tick(self) -> None:
        """Do what is due. Called by the clock, on whatever thread it has; nobody need be waiting."""
        with self._lock:
            self._timer = None
            self._armed_at = inf
            if self._state is not State.CLOSED:
                self._deadlines.partial_bytes = self._inbound.pending_bytes
                which = self._deadlines.due(self._clock.time())
                if which is None or (which is Deadline.WRITE and not self._driving and self._flush()):
                    # Nothing, or nobody had tried to send for a while: the peer is not to blame.
                    self._arm_next()
                else:
                    self._expire(which)
        self._tell()

    def _expire(self, which: Deadline) -> None:
        if self._state is State.CLOSED:
            return
        if which is Deadline.LINGER:
            self._happen(Happening.LOST)
            self._end()
        elif which is Deadline.WRITE:
            self._lose(which.value)
        else:
            self.close_reason = self.close_reason or which.value
            if not self._timed_out(which):
                self._leave(which.value)

    def _timed_out(self, which: Deadline) -> bool:
        """A deadline passed. Return whether the connection will leave by itself; else it is closed right after this."""
        return False
