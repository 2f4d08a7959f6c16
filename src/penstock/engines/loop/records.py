"""A transport for Unix seqpacket sockets, which asyncio has none for: records in, records out."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Any

from ..wire import READS_AT_ONCE, receive_record
from .transport import SocketTransport

if TYPE_CHECKING:
    from .stream import StreamConnection


class RecordTransport(SocketTransport):
    """A seqpacket socket: each ``data_received`` is one record, each ``write`` sends one.

    A record of no bytes cannot be told from EOF by recv(2): none is ever sent, and one that is received ends the input.
    """

    __slots__ = ("_records", "_waiting_bytes")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, connection: StreamConnection[Any]) -> None:
        super().__init__(loop, sock, connection)
        self._records: deque[bytes] = deque()
        self._waiting_bytes = 0

    def _read(self) -> None:
        for _ in range(READS_AT_ONCE):
            if not self._reading:
                return
            try:
                data = receive_record(self._sock)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._lose(error)
                return
            if not data:
                self._read_eof()
                return
            self._connection.data_received(data)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the kernel."""
        return self._waiting_bytes

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send one record, now or when the kernel takes it."""
        if self._closing or self._eof or not data:
            return
        record = bytes(data)
        if not self._records:
            if self._takes(record):
                return
            self._write_later()
        self._records.append(record)
        self._waiting_bytes += len(record)
        self._watch_high()

    def _takes(self, record: bytes) -> bool:
        """Return whether the kernel took the record, or there is no point in trying again."""
        try:
            self._sock.send(record)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._lose(error)
        return True

    def _send_waiting(self) -> None:
        while self._records and self._takes(self._records[0]):
            if self._lost:
                return
            self._waiting_bytes -= len(self._records.popleft())

    def _drop_waiting(self) -> None:
        self._records.clear()
        self._waiting_bytes = 0
