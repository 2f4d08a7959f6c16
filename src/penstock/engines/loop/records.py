"""A link for Unix seqpacket sockets: records in, records out."""

from __future__ import annotations

import asyncio
import socket
from collections import deque

from ..link import LinkUser
from ..wire import READS_AT_ONCE, receive_record
from .link import SocketLink


class RecordLink(SocketLink):
    """A seqpacket socket: each ``data_received`` is one record, each ``send`` sends one.

    A record of no bytes cannot be told from EOF by recv(2): none is ever sent, and one that is received ends the input.
    """

    __slots__ = ("_records", "_waiting_bytes")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, user: LinkUser) -> None:
        super().__init__(loop, sock, user)
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
            self._user.data_received(data)

    @property
    def queued_bytes(self) -> int:
        """Return how many bytes wait for the kernel."""
        return self._waiting_bytes

    def send(self, data: bytes) -> int:
        """Send one record, now or when the kernel takes it."""
        if self._closing or self._eof or not data:
            return self._waiting_bytes
        if not self._records and self._takes(data):
            return 0
        self._records.append(data)
        self._waiting_bytes += len(data)
        if not self._writing:
            try:  # noqa: SIM105 - what suppresses is called, and may be refused as well
                self._send_later()
            except (RecursionError, MemoryError):
                pass  # it was taken all the same; whatever is called next asks again
        return self._waiting_bytes

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
