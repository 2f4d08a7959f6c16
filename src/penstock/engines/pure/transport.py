"""The pure engine's own transport of bytes, on any loop that has ``add_reader``."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ..loop.stream import StreamConnection
from ..loop.transport import SocketTransport


class StreamTransport(SocketTransport):
    """A stream socket: what is read is handed over at once; what the kernel does not take waits in one buffer."""

    __slots__ = ("_buffer", "_unsent")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        connection: StreamConnection[Any],
        buffer: memoryview,
    ) -> None:
        super().__init__(loop, sock, connection)
        self._buffer = buffer  # shared: a read is copied out of it before the next one
        self._unsent = _NOTHING

    def _read(self) -> None:
        try:
            size = self._sock.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if size:
            self._connection.data_received(self._buffer[:size].tobytes())
        else:
            self._read_eof()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the kernel."""
        return len(self._unsent)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send, now or when the kernel takes it."""
        if self._closing or self._eof:
            return
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lose(error)
                return
            if sent == len(data):
                return
            self._unsent = bytearray()
            self._unsent += memoryview(data)[sent:]
            self._write_later()
        else:
            self._unsent += data
        self._watch_high()

    def _send_waiting(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if sent == len(self._unsent):
            self._unsent = _NOTHING
        else:
            del self._unsent[:sent]

    def _drop_waiting(self) -> None:
        self._unsent = _NOTHING


# Nothing is ever added to it: one for all connections whose peers read.
_NOTHING = bytearray()
