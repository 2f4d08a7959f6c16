"""One worker as another one knows it: a pair of sockets, what waits for it, and what it has told of itself."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from .frames import AnySaid, Hello, Said, encoded, taken

# So much may wait for a worker that does not read. Publications beyond it are given up, and counted.
MOST_WAITING_BYTES: Final = 8 * 1024 * 1024
# What else is said, of members and keys, may not be lost: beyond that the two know nothing of each other any more.
MOST_BYTES: Final = 4 * MOST_WAITING_BYTES

_READ_BYTES: Final = 256 * 1024
_AT_ONCE: Final = 64  # messages in one call of the system

Kind = tuple[str, bool]


class Link:
    """This worker's end. Safe from every thread, but for `read`, which the mesh calls under its lock.

    Args:
        sock: The socket, of which this is the owner.
        number: Of the other worker.
        slot: Its slot.
        wants_writing: Told whether the socket is to be watched for room.

    Attributes:
        number: As above.
        slot: As above.
        hello: What it said first; None until then.
        is_known: Whether it knows this worker, and has told of all its members.
        wants_all: As of `Hello`, and until it is `Settled`.
        members: How many members it has, by group and by the codec that they speak.
        is_open: Whether it is there.
    """

    def __init__(
        self, sock: socket.socket, number: int, slot: int, wants_writing: Callable[[Link, bool], object]
    ) -> None:
        self.number = number
        self.slot = slot
        self.hello: Hello | None = None
        self.is_known = self.wants_all = False
        self.members: dict[str, dict[Kind, int]] = {}
        self.is_open = True
        self._sock = sock
        self._sock.setblocking(False)
        self._wants_writing = wants_writing
        self._input = bytearray()
        self._output: deque[bytes | memoryview] = deque()
        self._size = 0
        self._lock = threading.RLock()  # a signal handler, or a finaliser, may publish in the middle of a call
        self._is_writing = False
        self._waits = False  # for room

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    @property
    def waiting_bytes(self) -> int:
        """How much was said and not written so far."""
        return self._size

    def say(self, said: Said) -> None:
        """Say something that may not be lost, and write it now if there is room."""
        self.queue(encoded(said))
        self.flush()

    def queue(self, data: bytes, *, may_drop: bool = False) -> bool:
        """Have something written by the next `flush`; return False where it is given up.

        Args:
            data: The message.
            may_drop: Whether it is given up where too much waits.
        """
        size = len(data)
        with self._lock:
            if not self.is_open or (may_drop and self._size + size > MOST_WAITING_BYTES):
                return False
            self._output.append(data)
            self._size += size
        return True

    @property
    def is_lost(self) -> bool:
        """Whether more waits than may."""
        return self._size > MOST_BYTES

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        with self._lock:
            if self._is_writing:  # by the call that this one interrupts, which goes on with what was queued since
                return
            self._is_writing = True
            try:
                self._write()
            finally:
                self._is_writing = False
            waits = bool(self._output)
            changed, self._waits = waits != self._waits, waits
        if changed:
            self._wants_writing(self, waits)

    def _write(self) -> None:
        while self._output and self.is_open:
            try:
                first = [self._output[at] for at in range(min(_AT_ONCE, len(self._output)))]
                written = self._sock.sendmsg(first)
            except BlockingIOError:
                break
            except OSError:  # the reader is told of the end
                self._output.clear()
                self._size = 0
                break
            self._size -= written
            while written and self._output:  # none after a `close` within this call
                size = len(self._output[0])
                if written < size:
                    self._output[0] = memoryview(self._output[0])[written:]
                    break
                written -= size
                self._output.popleft()

    def read(self) -> tuple[list[AnySaid], bool]:
        """Return what has come, and whether the other end is still there."""
        found: list[AnySaid] = []
        while True:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                return found, True
            except OSError:
                return found, False
            if not data:
                return found, False
            self._input += data
            try:
                found += taken(self._input)
            except msgspec.DecodeError:
                return found, False
            if len(data) < _READ_BYTES:
                return found, True

    def close(self) -> None:
        """Close this end. May be repeated."""
        with self._lock:
            self.is_open = False
            self._sock.close()
            self._output.clear()
            self._size = 0
