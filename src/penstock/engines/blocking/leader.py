"""A connection that several threads wait for, with whichever of them waits first doing the work, and its clock.

One lock guards a connection. No thread waits while it holds the lock: the one thread that polls (the leader) lets go
of it meanwhile, and every other thread that waits for something on this connection waits for the leader. When the
leader has what it wanted, one of the others takes over. So a connection needs no thread of its own to be correct, and
several threads may send, receive and close at once.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Final, TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.endings import reason_of
from ...core.law.closing import CLOSED, FLUSHING
from ...core.timeouts import Timeout
from ...reasons import CloseReason
from ..forked import end
from ..link import Layer, LayerMaker, Link
from ..wire import READS_AT_ONCE, receive_record
from .guarding import GuardedConnection, ThreadContext
from .link import SocketLink
from .parking import DONT_WAIT, prepare
from .poller import READ, WRITE, Poller

M = TypeVar("M")

# What a read asks for at first, and at most: one that fills its room doubles it. Python allocates the room before each
# read, and from 128 KiB on the C library fetches it from the system, and gives it back, each time.
FIRST_READ_BYTES: Final = 8 * 1024
MOST_READ_BYTES: Final = 64 * 1024


class LedConnection(GuardedConnection[M]):
    """The part of a connection that waits: for its socket, for time, for what other threads do.

    All its methods are called with its lock held; `SharedConnection` has those that take it.

    Args:
        context: Who made it. The clock's timers may be called on any thread.
        sock: Connected. It is the connection's from now on, which sets how it blocks, and closes it.
        poller: Its own from now on.
        codec: What cuts its stream into messages.
        peer: Who is at the other end.
        local: The address at this end.
        records: The socket carries records, not bytes.
        layer: Over the socket's link; None for nothing.
    """

    __slots__ = (
        "_changed",
        "_due_while_parked",
        "_error",
        "_fd",
        "_has_leader",
        "_input_over",
        "_layer",
        "_news",
        "_parked",
        "_poller",
        "_read_bytes",
        "_receiving",
        "_senders",
        "_sock",
        "_socket_link",
        "_waiting",
    )

    def __init__(
        self,
        context: ThreadContext,
        sock: socket.socket,
        poller: Poller,
        codec: Codec[M],
        *,
        peer: Peer,
        local: Address,
        records: bool = False,
        layer: LayerMaker | None = None,
    ) -> None:
        super().__init__(context, codec, peer, local, records=records)
        prepare(sock)
        self._sock = sock
        self._fd = sock.fileno()
        self._poller = poller
        # A layer over the socket's link is what the connection uses then, and what is read goes there first.
        self._layer: Layer | None = None if layer is None else layer(self)
        self._socket_link = self._new_link(sock, records=records)
        self._attached = True
        self._corking = False
        self._error: BaseException | None = None  # that it was lost by
        self._changed = threading.Condition(self._lock)
        self._waiting = 0  # threads that wait for the leader
        self._has_leader = False  # a thread waits for the socket; it does not hold the lock
        self._parked = False  # it does so in recv(2), where it cannot be woken
        self._due_while_parked = False  # a deadline passed meanwhile: what recv(2) returns comes first
        self._read_bytes = min(FIRST_READ_BYTES, context.limits.read_bytes)
        self._input_over = False  # the peer's EOF came
        self._receiving = False  # a thread waits for messages
        self._news = False  # something came that it wants to know
        self._senders = 0  # threads that wait until their frame has gone out
        self._link = self._layer or self._socket_link
        self._opening = self._layer is not None

    def _new_link(self, sock: socket.socket, *, records: bool) -> SocketLink:
        """Return the link over its socket."""
        return SocketLink(sock, self._layer or self, records=records)

    def begin_layer(self) -> None:
        """Have the layer begin, where there is one: once, and before anything is asked of the connection."""
        if self._layer is not None:
            with self._lock:
                self._layer.connection_made(self._socket_link)
            self._tell()

    def await_layer(self) -> None:
        """Wait until the layer has what it needs, or there is nothing to wait for. The lock is held."""
        self._lead(lambda: not self._opening or bool(self._closing))

    # -- the socket, the lock held -------------------------------------------------------------------------------------

    def _interest(self) -> int:
        """Return what the socket is polled for: `READ`, `WRITE`, both or 0."""
        return (READ if self._wants_input() else 0) | (WRITE if self._link.queued_bytes else 0)

    def _act(self, events: int) -> None:
        """Read or write: the socket is ready for ``events``."""
        if events & WRITE:
            self._socket_link.send_now()
        if events & READ:
            self._read_wanted()

    def _wants_input(self) -> bool:
        if self._closing:
            return bool(self._state != FLUSHING)  # read and discarded until the peer's EOF
        if self._opening:
            return True
        if not self._can_receive or self._draining or (self._write_paused and not self._reads_on):
            return False
        if self._reading_suspended or self._rate_held():
            return False
        return self._receiving or self._inbound.waiting_bytes <= self._context.limits.read_bytes

    def _read_wanted(self) -> None:
        """Read, unless that was done or given up since the socket was polled."""
        if self._state != CLOSED and self._wants_input():
            self._read()

    def _read(self) -> None:
        try:
            data = self._receive_now(DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._read_failed(error)
            return
        self._take(data)

    def _receive_now(self, flags: int) -> bytes:
        """Return what recv(2) does with these flags."""
        if self._records:
            return receive_record(self._sock, flags)
        return self._sock.recv(self._read_bytes, flags)

    def _read_failed(self, error: OSError) -> None:
        self._socket_link.lose(error)

    def _take(self, data: bytes) -> None:
        """Take what was received: bytes, or a record; none for EOF."""
        layer = self._layer
        if not data:
            self.eof_received() if layer is None else layer.eof_received()
            return
        size = len(data)
        if size == self._read_bytes:
            self._read_bytes = min(2 * size, MOST_READ_BYTES, self._context.limits.read_bytes)
        if layer is None:
            self.data_received(data)
        else:
            layer.data_received(data)

    # -- what the link tells -------------------------------------------------------------------------------------------

    def connection_made(self, link: Link) -> None:
        """Use a layer in place of the socket's link."""
        self._link = link
        self._opening = False
        if self._upgrade is not None:
            self._is_secured()

    def _put_on(self, link: Link, layer: Layer) -> None:
        super()._put_on(link, layer)
        if link is self._socket_link:
            self._layer = layer
        self._wake()

    def _turn_away(self, reason: CloseReason) -> None:
        self._close(reason)

    def data_received(self, data: bytes) -> None:
        """Take what was read; drop it when the connection is closing or draining."""
        self.bytes_in += len(data)
        if self._can_receive and not self._draining:
            if self._idle_since != inf:
                self._idle_since = self._clock.time()
            self._inbound.feed(data)
            if self._rare is not None:  # silence passes whether or not somebody waits
                self._arm(self._hears(self._clock.time(), self._inbound.pending_bytes))
            self._news = True

    def _input_ended(self) -> None:
        self._input_over = True
        self._news = True

    def connection_lost(self, error: BaseException | None) -> None:
        """Note that the link is gone, and why if nobody knew yet."""
        self._error = error
        self._lost(reason_of(error))
        self._drop_output()
        self._news = True
        self._let_go()

    def interest_changed(self) -> None:
        """The socket is to be polled for something else."""
        self._wake()

    # -- what it is asked for, the lock held ---------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        self._stops_listening(self._clock.time())
        self._wake()

    def _resume_reading(self) -> None:
        self._reads_again()
        self._wake()

    def _output_resumed(self) -> None:
        self._reads_again()
        self._wake()

    def _reads_again(self) -> None:
        if self._is_read():
            self._arm(self._listens_again(self._clock.time()))

    def _is_read(self) -> bool:
        return self._wants_input()

    def listens(self) -> None:
        """Read on, if nothing else but what waits to be received has stopped that."""
        self._resume_reading()

    def _take_rest(self) -> None:
        self._news = True
        self._wake()
        self._changed.notify_all()

    def _wake_senders(self) -> None:
        self._news = True
        self._wake()
        self._changed.notify_all()

    def _go_on(self) -> None:
        self._wake_senders()

    def _waits_for_last_byte(self) -> bool:
        return self._senders > 0

    def _put(self, data: bytes) -> None:
        super()._put(data)
        if self._state == CLOSED:  # as the kernel says now
            raise self._why_not()

    def _why_not(self) -> Exception:
        error = super()._why_not()
        error.__cause__ = self._error
        return error

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _lead(self, done: Callable[[], bool]) -> None:
        """Move bytes until ``done()``, or wait for the thread that does. The lock is held, except while waiting."""
        while not done():
            if self._has_leader:
                self._waiting += 1
                try:
                    self._changed.wait()
                finally:
                    self._waiting -= 1
            else:
                self._turn()

    def _turn(self) -> None:
        """Wait once for the socket, a deadline or another thread, and do what it asks for."""
        if self._is_disposed_of():  # what should have let go of the socket has failed
            return
        events = self._interest()
        timers = self._context.timers
        self._has_leader = True
        self._lock.release()
        try:
            if self._events:
                self._context.report(self._events)
            ready = self._ready_for(events, None if timers is None else timers.timeout_s())
            if timers is not None:
                timers.run_due()
        finally:
            self._lock.acquire()
            self._led()
        if self._is_disposed_of():  # closed meanwhile, by another thread, which left the socket to this one
            return
        for _, happened in ready:
            self._act(happened)

    def _ready_for(self, events: int, timeout_s: float | None) -> list[tuple[int, int]]:
        """Wait until the socket is ready; return for what. Called without the lock."""
        self._poller.set(self._fd, events)
        return self._poller.wait(timeout_s)

    def _park(self) -> None:
        """Wait in recv(2), for `PARK_S` at most, and take what it returns. As `_turn`, but nobody can wake it."""
        data: bytes | None = None
        broken: OSError | None = None
        self._has_leader = self._parked = True
        self._lock.release()
        try:
            if self._events:
                self._context.report(self._events)
            data = self._receive_now(0)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            broken = error
        finally:
            self._lock.acquire()
            self._parked = False
            self._led()
        if self._state == CLOSED:
            self._dispose()
        elif broken is not None:
            self._read_failed(broken)
        elif data is not None:
            self._take(data)
        if self._due_while_parked:
            self._due_while_parked = False
            super().expired()

    def _led(self) -> None:
        """This thread has waited; the lock is held again."""
        self._has_leader = False
        if self._waiting:
            self._changed.notify_all()

    def _wake(self) -> None:
        """Have the leader look again at what is to be done."""
        if self._has_leader:
            self._poller.wake()

    def _let_go(self) -> None:
        """The state is closed: close the socket, or have the thread that polls it do so."""
        self._disarm()
        if not self._has_leader:
            self._dispose()
            return
        self._poller.wake()
        if self._parked:
            with suppress(OSError):  # ENOTCONN: what broke it has woken the thread, too
                self._sock.shutdown(socket.SHUT_RD)

    def _is_disposed_of(self) -> bool:
        """Say whether the state is closed; if it is, so is the socket from now on."""
        if self._state != CLOSED:
            return False
        self._news = True  # a waiting thread looks again, even if the end was not carried out
        self._dispose()
        return True

    def _dispose(self) -> None:
        if not self._gone:
            self._poller.close()
            end(self._sock.fileno())
            self._sock.close()
            self._socket_link.forget_user()
            self._gone = True  # last but one: until then it may be repeated
            self._outlive()
            self._changed.notify_all()

    def _outlive(self) -> None:
        """The socket is closed; of a server's connection, the handler may be at work still."""

    def peer_gone(self) -> None:
        """The kernel says that the peer is gone, or that both directions are over: see to it, unless a thread polls."""
        with self._lock:
            if not self._has_leader and self._state != CLOSED:
                self._catch_up()
                if self._state != CLOSED and (number := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    self._socket_link.lose(OSError(number, os.strerror(number)))
        self._tell()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._catch_up()
        self._decide()

    def _catch_up(self) -> None:
        """Read what has come and send what waits."""
        self._socket_link.send_now()
        for _ in range(READS_AT_ONCE):
            before = self.bytes_in + self._link.heard_bytes
            self._read_wanted()
            if self.bytes_in + self._link.heard_bytes == before:
                break
        self._wake()  # the polling thread may have nothing left to be told of
        self._changed.notify_all()

    def _is_woken(self) -> bool:
        return self._receiving and self._news

    def _timed_out(self, which: Timeout) -> bool:
        return False
