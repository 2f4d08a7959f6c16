"""One worker as another one knows it: a pair of sockets, what waits for it, and what it has told of itself."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from .frames import AnySaid, Hello, Presence, Reply, Said, encoded, taken

# So much may wait for a worker that does not read. Publications beyond it are given up, and counted; replies, and how
# many members there are, wait beside it.
MOST_WAITING_BYTES: Final = 8 * 1024 * 1024
# Of the replies. Who has asked for one beyond it is told that it is lost.
MOST_REPLY_BYTES: Final = 8 * MOST_WAITING_BYTES
# Of what else is said, which may not be lost: beyond that the two begin anew.
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
        changed: Told that `waits` or `is_lost` has changed.

    Attributes:
        number: As above.
        slot: As above.
        hello: What it said first; None until then.
        is_known: Whether it knows this worker, and has told of all its members.
        wants_all: As of `Hello`, and until it is `Settled`.
        members: How many members it has, by group and by the codec that they speak.
        is_open: Whether it is there.
        waits: Whether something waits for room in the socket.
    """

    def __init__(self, sock: socket.socket, number: int, slot: int, changed: Callable[[Link], object]) -> None:
        self.number = number
        self.slot = slot
        self.hello: Hello | None = None
        self.is_known = self.wants_all = False
        self.members: dict[str, dict[Kind, int]] = {}
        self.is_open = True
        self.waits = False
        self._sock = sock
        self._sock.setblocking(False)
        self._changed = changed
        self._input = bytearray()
        self._output: deque[bytes | memoryview] = deque()
        self._may_drop: deque[bool] = deque()  # for each of them
        self._size = 0
        self._lasting_size = 0  # of those that may not be dropped
        self._presences: dict[tuple[str, str, bool], Presence] = {}  # which wait beside the others, and so do replies
        self._replies: deque[bytes] = deque()
        self._reply_size = 0
        self._lock = threading.RLock()  # a signal handler, or a finaliser, may publish in the middle of a call
        self._is_flushing = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    # -- saying --------------------------------------------------------------------------------------------------------

    def say(self, said: Said) -> None:
        """Say something that may not be lost, and write it now if there is room."""
        self.put(said)
        self.flush()

    def put(self, said: Said) -> None:
        """As `say`, and have it written by the next `flush`."""
        if isinstance(said, Presence):
            self._put_presence(said)
        elif isinstance(said, Reply):
            self._put_reply(said)
        else:
            self.queue(encoded(said))

    def _put_presence(self, said: Presence) -> None:
        """The latest word on each group and codec is what counts: where much waits there is one of each."""
        key = said.group, said.codec, said.records
        with self._lock:
            if key in self._presences or self._size > MOST_WAITING_BYTES:
                if self.is_open:
                    self._presences[key] = said
                return
        self.queue(encoded(said))

    def _put_reply(self, said: Reply) -> None:
        data = encoded(said)
        size = len(data)
        with self._lock:
            if not self.is_open:
                return
            if self._reply_size + size > MOST_REPLY_BYTES and self._replies:
                data = encoded(Reply(said.number, error="RequestLostError"))
                size = len(data)
            self._replies.append(data)
            self._reply_size += size

    def queue(self, data: bytes, *, may_drop: bool = False) -> bool:
        """Have something written by the next `flush`; return False where it is given up.

        Args:
            data: The message.
            may_drop: Whether it is given up where too much waits. One that is longer than may wait goes by itself.
        """
        size = len(data)
        if may_drop and self._size + size > MOST_WAITING_BYTES:
            self.flush()  # the other worker may have read since
        with self._lock:
            if not self.is_open or (may_drop and self._output and self._size + size > MOST_WAITING_BYTES):
                return False
            self._append(data, may_drop)
            is_lost = self.is_lost and not self._is_flushing  # no other lock is taken under this one
        if is_lost:
            self._changed(self)
        return True

    def _append(self, data: bytes, may_drop: bool) -> None:
        size = len(data)
        self._output.append(data)
        self._may_drop.append(may_drop)
        self._size += size
        if not may_drop:
            self._lasting_size += size

    @property
    def waiting_bytes(self) -> int:
        """How much was said and not written so far, beside what waits for that."""
        return self._size

    @property
    def is_lost(self) -> bool:
        """Whether more waits than may."""
        return self._lasting_size > MOST_BYTES

    def flush(self) -> None:
        """Write what waits, as far as there is room."""
        with self._lock:
            if self._is_flushing:  # by the call that this one interrupts, which goes on with what was queued since
                return
            self._is_flushing = True
            try:
                self._write()
            finally:
                self._is_flushing = False
            waits = bool(self._output)
            has_changed, self.waits = waits != self.waits, waits
        if has_changed:
            self._changed(self)

    def _write(self) -> None:
        while self.is_open:
            self._fill_up()
            if not self._output:
                return
            first = [self._output[at] for at in range(min(_AT_ONCE, len(self._output)))]
            try:
                written = self._sock.sendmsg(first)
            except BlockingIOError:
                return
            except OSError:  # the reader is told of the end
                self._clear()
                return
            if not self._output:  # it was closed within this call
                return
            self._size -= written
            while written:
                size = len(self._output[0])
                taken_size = min(size, written)
                if not self._may_drop[0]:
                    self._lasting_size -= taken_size
                written -= taken_size
                if taken_size < size:
                    self._output[0] = memoryview(self._output[0])[taken_size:]
                    break
                self._output.popleft()
                self._may_drop.popleft()

    def _fill_up(self) -> None:
        """Have what waits beside the others wait in their line, as far as there is room."""
        while self._presences and self._size <= MOST_WAITING_BYTES:
            key = next(iter(self._presences))
            self._append(encoded(self._presences.pop(key)), False)
        while self._replies and (self._size <= MOST_WAITING_BYTES // 2 or not self._output):
            data = self._replies.popleft()
            size = len(data)
            self._reply_size -= size
            self._append(data, True)  # it is bounded by itself

    # -- hearing -------------------------------------------------------------------------------------------------------

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
        """End this link, and close this end. May be repeated."""
        with self._lock:
            if not self.is_open:
                return
            self.is_open = self.waits = False
            with contextlib.suppress(OSError):  # a child that was forked may have a copy, which close(2) does not end
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
            self._clear()

    def _clear(self) -> None:
        for each in (self._output, self._may_drop, self._presences, self._replies):
            each.clear()
        self._size = self._lasting_size = self._reply_size = 0
