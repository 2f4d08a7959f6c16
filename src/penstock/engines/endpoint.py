"""A datagram listener at work, whatever reads it: what is handled, what is dropped and why."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

from ..address import Peer, Scheme
from ..codecs import guard
from ..codecs.base import Codec
from ..core.contract import Clock
from ..core.events import (
    CodecFailed,
    DatagramDropped,
    DatagramHandled,
    Event,
    HandlerFailed,
    ReceiveFailed,
    not_handled,
)
from ..core.gate import Gate
from ..core.handlers import CallbackHandler, MessageHandler
from ..core.interrupts import is_interrupt
from ..errors import CodecError, RemoteProtocolError
from ..reasons import CloseReason
from .accept import ACCEPT_BACKOFF_S, errno_name
from .datagram import DatagramConnection, OneDatagram, handle
from .destination import ANCILLARY_BYTES, ask_for_destinations, source_of
from .listener import Listener
from .own import OwnAddresses
from .wire import MAX_DATAGRAM_BYTES

# Datagrams read before others get their turn.
READS_PER_TURN: Final = 32

# Of services that answer whatever comes: echo, daytime, qotd, chargen, time. Only they send from there, and two
# of them, once one forged datagram has begun it, would answer each other for ever; inetd drops these too.
ANSWERING_PORTS: Final = frozenset({7, 13, 17, 19, 37})

# More than the kernel holds of one socket, unless somebody sends faster than they are counted.
_MOST_LEFT: Final = 65536

# Why a datagram is dropped that came while the kernel held as many as it may.
KERNEL_QUEUE_FULL: Final = "kernel_queue_full"

# From linux/socket.h and linux/sock_diag.h: nine 32-bit numbers, of which the last counts the datagrams that the kernel
# dropped because nobody read in time: what SO_RXQ_OVFL says, without its cost for every datagram.
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")


class DatagramEndpoint(ABC):
    """One datagram listener at work. It has no connections: a datagram's handler is given a `OneDatagram`.

    Args:
        listener: Which.
        handler: Called for each datagram; None where they belong to sessions.
        codec: What decodes and encodes them.
        gate: Decides whose datagrams are handled.
        clock: Where time comes from.
        emit: Told of every event.
        gate_lock: Guards the gate, where several threads ask it.
        own: Where the server receives datagrams.

    Attributes:
        codec: What decodes and encodes them.
        gate: Decides whose datagrams are handled.
        server: As of the plan; set by the engine.
        answers: How many datagrams were sent, or kept until the kernel has room.
        own: Where the server receives datagrams.
        is_sourced: Whether answers say which address they are from.
        variables: The context variables that each datagram begins with, in a copy of its own.
    """

    server: Any = None
    answers: int = 0

    def __init__(
        self,
        listener: Listener,
        handler: MessageHandler | CallbackHandler | None,
        codec: Codec[Any],
        *,
        gate: Gate,
        clock: Clock,
        emit: Callable[[Event], None],
        own: OwnAddresses,
        gate_lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.codec = codec
        self.gate = gate
        self._listener = listener
        self._socket = listener.sock
        self._is_unix = listener.sock.family == socket.AF_UNIX
        self.own = own
        self.is_sourced = ask_for_destinations(listener.sock)
        self._handler: Any = handler
        self._gate_lock = gate_lock or contextlib.nullcontext()
        self._clock = clock
        self._emit = emit
        self._reading = False
        self._resting = False  # after failures
        self.variables = contextvars.copy_context()
        self._failures = 0  # of reading, in a row
        self._is_inherited = listener.requested.scheme is Scheme.FD
        self._kernel_drops = (kernel_drops(listener.sock) or 0) if self._is_inherited else 0

    def now(self) -> float:
        """Tell seconds on the engine's clock."""
        return self._clock.time()

    @abstractmethod
    def send(self, data: bytes, to: Any) -> bool:
        """Send one datagram, now or when the kernel takes it; drop it, counted, and return False when it cannot.

        Args:
            data: The datagram.
            to: A name as recvfrom(2) has it, or a `Sourced`.
        """

    @abstractmethod
    def serve(self, conn: OneDatagram[Any], message: Any) -> None:
        """Have a datagram's message handled."""

    def read(self) -> int:
        """Read and serve what is there, as much as one turn may. Return how many datagrams were met."""
        for count in range(READS_PER_TURN):
            if not self._reading:
                return count
            source = None
            try:
                if self.is_sourced:
                    data, ancillary, _, name = self._socket.recvmsg(MAX_DATAGRAM_BYTES + 1, ANCILLARY_BYTES)
                    source = source_of(ancillary)
                else:
                    data, name = self._socket.recvfrom(MAX_DATAGRAM_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return count
            except OSError as error:
                # A reply that an earlier peer refused comes back as an error of this socket (udp(7), ECONNREFUSED).
                self.drop(type(error).__name__)
                if self.has_failed(error):
                    return count
                continue
            self._failures = 0
            if len(data) > MAX_DATAGRAM_BYTES:  # there is more of it than this (recv(2)), and half of it is nothing
                self.drop("too_large")
            elif self.admits(name):
                try:
                    self._received(data, name, source)
                except BaseException as error:
                    if is_interrupt(error):
                        raise
                    self.lost(error)
        return READS_PER_TURN

    def has_failed(self, error: OSError) -> bool:
        """Count a failure of reading; say whether it is one that lasts. Then nothing is read for a moment."""
        self._failures += 1
        if self._failures < READS_PER_TURN:
            return False
        first = self._failures == READS_PER_TURN
        self._emit(ReceiveFailed(errno_name(error), self._listener, first))
        self._rest()
        return True

    def _rest(self) -> None:
        """Read nothing for a moment."""
        self._clock.call_at(self._clock.time() + ACCEPT_BACKOFF_S, self._rested)  # first: without memory it reads on
        self._resting = True
        self._read_if_allowed()

    def recovered(self) -> None:
        """Reading has not failed."""
        self._failures = 0

    def _rested(self) -> None:
        self._resting = False
        self._read_if_allowed()

    @abstractmethod
    def _read_if_allowed(self) -> None:
        """Begin to poll for datagrams, or cease to."""

    def admits(self, name: Any) -> bool:
        """Say whether a datagram of this sender is to be handled; drop it, counted, if not."""
        # From port 0, to which nobody can be answered, or from the server itself, which would answer for ever.
        if isinstance(name, tuple) and (name[1] == 0 or name in self.own):
            self.drop("forged")
            return False
        if isinstance(name, tuple) and name[1] in ANSWERING_PORTS:
            self.drop("reflector")
            return False
        if self.gate.judges_datagrams:
            with self._gate_lock:
                refusal = self.gate.admit_datagram(Peer(name, self._socket.family), self._clock.time())
            if refusal is not None:
                self.drop(refusal)
                return False
        return True

    def _received(self, data: bytes, name: Any, source: bytes | None) -> None:
        try:
            message = guard.decode_datagram(self.codec, data)
        except (RemoteProtocolError, CodecError) as error:
            self.refused(error)
            return
        self.serve(DatagramConnection(self, name, self._listener, len(data), self.gate, source=source), message)

    def call(self, conn: OneDatagram[Any], message: Any) -> None:
        """Call a ``def`` handler, which may fail."""
        try:
            self.variables.copy().run(handle, self._handler, conn, message)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.failed(conn, error)
        self.handled(conn)

    def handled(self, conn: OneDatagram[Any]) -> None:
        """Say that a datagram was handled."""
        self._emit(DatagramHandled(conn, self._listener))

    def failed(self, conn: OneDatagram[Any], error: BaseException) -> None:
        """Say that a handler failed."""
        self._emit(not_handled(conn, error))

    def refused(self, error: RemoteProtocolError | CodecError) -> None:
        """Say that a datagram was dropped because it cannot be decoded."""
        if isinstance(error, CodecError):
            self._emit(CodecFailed(None, error))
        self.drop(str(error.reason))

    def lost(self, error: BaseException) -> None:
        """Say that a datagram was dropped for want of memory, or by what is no `Exception`, out of a codec say."""
        self._emit(HandlerFailed(None, error))
        self.drop(str(CloseReason.HANDLER_ERROR))

    def drop(self, reason: str, count: int = 1) -> None:
        """Say that datagrams were dropped, on their way in or out."""
        self._emit(DatagramDropped(reason, self._listener, count))

    def count_kernel_drops(self) -> None:
        """Ask the kernel what it dropped since it was asked last."""
        drops = kernel_drops(self._socket)
        if drops is None:
            return
        since = (drops - self._kernel_drops) % 2**32
        self._kernel_drops = drops
        if since:
            self.drop(KERNEL_QUEUE_FULL, since)

    def count_left(self) -> None:
        """The server ends: count what lies in the kernel, which nobody will answer, and what that dropped.

        An inherited socket is left as it is: another process that has it reads on.
        """
        if not self._is_inherited and (left := _discard(self._socket)):
            self.drop("stopped", left)
        self.count_kernel_drops()


def _discard(sock: socket.socket) -> int:
    """Read all datagrams that there are; return how many."""
    count = failures = 0
    for _ in range(_MOST_LEFT if sock.fileno() >= 0 else 0):
        try:
            sock.recv(1)
            count += 1
        except (BlockingIOError, InterruptedError):
            break
        except OSError:  # of an earlier reply, or one that lasts
            failures += 1
            if failures == READS_PER_TURN:
                break
    return count


def kernel_drops(sock: socket.socket) -> int | None:
    """Return how many datagrams the kernel has dropped for a socket, modulo 2**32; None where it does not say."""
    if sys.platform != "linux":
        return None
    try:
        drops: int = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))[8]
    except (OSError, struct.error):  # before Linux 4.12
        return None
    return drops
