"""How a worker takes its leave: what has arrived, and who has just come, is met first."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from ..address import Kind
from ..core.contract import Clock, TimerHandle
from ..engines.listener import Listener
from ..reasons import CloseReason

# Between two looks.
LOOK_S: Final = 0.01

# How long a connection on which nothing has come yet may take for its first message: its peer has only just connected,
# and cannot know better.
FIRST_MESSAGE_S: Final = 1.0

# How long the backlog is emptied at most, and at least: a handshake that has begun is finished in that time, by peers
# that are not far away.
MOST_BACKLOG_S: Final = 1.0
LEAST_BACKLOG_S: Final = 0.05

# In struct tcp_info of linux/tcp.h: of a listener, how many connections wait to be accepted.
_UNACKED_AT: Final = 24


# A classic BPF program for a listener, which drops what asks for a connection and lets pass what finishes one: load the
# flags, look at SYN and ACK, drop if SYN is alone.
_SYN_ALONE: Final = (
    (0x30, 0, 0, 13),
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFFFFFF),
)
_SO_ATTACH_FILTER: Final = 26

_NETWORK: Final = (socket.AF_INET, socket.AF_INET6)


class Departing(Protocol):
    """A connection of a server that drains."""

    messages_in: int
    close_reason: CloseReason | None

    def drain(self) -> None:
        """Handle what was received, then close."""


class Farewell:
    """What a worker does that was told to drain.

    It empties its backlogs, if no other worker will; it stops accepting; it lets its connections go, those that have
    just come not before their first message.

    Args:
        clock: Where time comes from.
        listeners: Whose backlogs are emptied first; none of them for those that other workers go on with.
        connections: Returns those that are open.
        suspend: Stops accepting.
        over: Called when each connection was told: it drains what is left.
        leaves_rest: Whether those that have said something are left to that drain, which takes its time.
        within_s: All of it takes so long at most; None for as long as it takes.
    """

    def __init__(
        self,
        clock: Clock,
        listeners: Sequence[Listener],
        connections: Callable[[], Iterable[Any]],
        *,
        suspend: Callable[[], object],
        over: Callable[[], object],
        leaves_rest: bool,
        within_s: float | None,
    ) -> None:
        self._clock = clock
        self._listeners = [each for each in listeners if each.kind is not Kind.DATAGRAM]
        self._connections = connections
        self._suspend = suspend
        self._over = over
        self._leaves_rest = leaves_rest
        self._first_message_s = FIRST_MESSAGE_S if within_s is None else min(FIRST_MESSAGE_S, within_s)
        self._timer: TimerHandle | None = None
        self._began_at = clock.time()
        self._heard: list[Departing] = []
        self._new: list[Departing] = []
        for listener in self._listeners:
            refuse_new(listener)
        self._look_at_backlogs()

    def end(self) -> None:
        """Close no more connections. May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self, look: Callable[[], object]) -> None:
        self._timer = self._clock.call_at(self._clock.time() + LOOK_S, look)

    def _look_at_backlogs(self) -> None:
        passed_s = self._clock.time() - self._began_at
        is_empty = passed_s >= LEAST_BACKLOG_S and not any(map(waiting, self._listeners))
        if self._listeners and passed_s < MOST_BACKLOG_S and not is_empty:
            self._again(self._look_at_backlogs)
            return
        self._suspend()
        for listener in self._listeners:
            if listener.sock.family in _NETWORK:
                with contextlib.suppress(OSError):
                    listener.sock.shutdown(socket.SHUT_RDWR)  # for every process that has it: who connects is refused
        self._began_at = self._clock.time()
        for conn in self._connections():
            if not conn.messages_in:
                self._new.append(conn)
            elif not self._leaves_rest:
                self._heard.append(conn)
        # Not yet: what has arrived is read in the turns that come first.
        self._again(self._look)

    def _look(self) -> None:
        waits = self._clock.time() < self._began_at + self._first_message_s
        candidates, self._heard, self._new = [*self._heard, *self._new], [], []
        for conn in candidates:
            if conn.close_reason is not None:
                continue
            if waits and not conn.messages_in:
                self._new.append(conn)
            elif not self._leaves_rest:
                conn.drain()
        if self._new:
            self._again(self._look)
        else:
            self._timer = None
            self._over()


def refuse_new(listener: Listener) -> None:
    """Drop SYNs to a listener of TCP, so that their clients try again. A handshake that has begun still completes."""
    if sys.platform != "linux" or listener.sock.family not in _NETWORK:
        return
    code = b"".join(struct.pack("=HBBI", *each) for each in _SYN_ALONE)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_SYN_ALONE), ctypes.addressof(buffer))
    with contextlib.suppress(OSError):
        listener.sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def waiting(listener: Listener) -> int:
    """Return how many connections wait to be accepted; 0 where the system does not say."""
    if sys.platform != "linux" or listener.sock.family not in _NETWORK:
        return 0
    try:
        info = listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
    except OSError:
        return 0
    return int.from_bytes(info[_UNACKED_AT : _UNACKED_AT + 4], sys.byteorder)
