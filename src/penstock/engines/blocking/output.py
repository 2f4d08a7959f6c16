"""What a connection owes its peer: bytes, or records, that the kernel has not taken yet."""

from __future__ import annotations

import socket
from collections import deque

from .parking import DONT_WAIT


class StreamOutput(bytearray):
    """The bytes that are owed: the kernel takes as many of them as it likes."""

    __slots__ = ()

    def push(self, sock: socket.socket, data: bytes) -> int:
        """Send as much as the kernel takes now and keep the rest; return how many bytes it took.

        Raises:
            OSError: The connection is broken.
        """
        if self:
            self.extend(data)
            return 0
        try:
            sent = sock.send(data, DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            self.extend(memoryview(data)[sent:])
        return sent

    def flush(self, sock: socket.socket) -> int:
        """Send as much as the kernel takes now; return how many bytes it took.

        Raises:
            OSError: The connection is broken.
        """
        try:
            sent = sock.send(self, DONT_WAIT)
        except (BlockingIOError, InterruptedError):
            return 0
        del self[:sent]  # at the front, where a bytearray gives up bytes without moving the others
        return sent


class RecordOutput:
    """Records, of which the kernel takes each whole. One without a byte would be taken for EOF, so none is sent."""

    __slots__ = ("_records", "_size")

    def __init__(self) -> None:
        self._records: deque[bytes] = deque()
        self._size = 0

    def __len__(self) -> int:
        """How many bytes are owed."""
        return self._size

    def push(self, sock: socket.socket, data: bytes) -> int:
        """Send one record, or keep it; return how many bytes the kernel took.

        Raises:
            OSError: The connection is broken.
        """
        if not data:
            return 0
        self._records.append(data)
        self._size += len(data)
        return self.flush(sock) if len(self._records) == 1 else 0

    def flush(self, sock: socket.socket) -> int:
        """Send as many records as the kernel takes now; return how many bytes that were.

        Raises:
            OSError: The connection is broken.
        """
        before = self._size
        while self._records:
            try:
                sock.send(self._records[0], DONT_WAIT)
            except (BlockingIOError, InterruptedError):
                break
            self._size -= len(self._records.popleft())
        return before - self._size

    def clear(self) -> None:
        """Owe nothing any more."""
        self._records.clear()
        self._size = 0
