"""An asyncio transport for Unix seqpacket sockets, which asyncio has none for: records in, records out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Any

from ..wire import receive_record

# Records read before other connections get their turn.
READS_PER_TURN = 16


class RecordTransport(asyncio.Transport):
    """A connected seqpacket socket as a transport: each ``data_received`` is one record, each ``write`` sends one.

    A record of no bytes cannot be told from EOF by recv(2): none is ever sent, and one that is received ends the input.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": sock})
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._records: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._high = 64 * 1024
        self._low = 16 * 1024
        self._reading = False
        self._read_over = False
        self._eof = False
        self._closing = False
        self._lost = False
        self._paused_protocol = False
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        if not self._closing:
            self.resume_reading()

    # -- reading -------------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether records are being read."""
        return self._reading

    def pause_reading(self) -> None:
        """Leave records with the kernel."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read records again."""
        if not self._reading and not self._read_over and not self._closing:
            self._reading = True
            self._loop.add_reader(self._fd, self._read)

    def _read(self) -> None:
        for _ in range(READS_PER_TURN):
            if not self._reading:
                return
            try:
                data = receive_record(self._sock)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._force_close(error)
                return
            if not data:
                self.pause_reading()
                self._read_over = True
                if not self._protocol.eof_received():
                    self.close()
                return
            self._protocol.data_received(data)

    # -- writing -------------------------------------------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the watermarks, in bytes."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._watch_high()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the kernel."""
        return self._buffered_bytes

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send one record, now or when the kernel takes it."""
        if self._eof or self._closing or not data:
            return
        if not self._records and self._send(bytes(data)):
            return
        if self._lost:
            return
        if not self._records:
            self._loop.add_writer(self._fd, self._write_more)
        self._records.append(bytes(data))
        self._buffered_bytes += len(data)
        self._watch_high()

    def _send(self, record: bytes) -> bool:
        """Return whether the kernel took the record, or there is no point in trying again."""
        try:
            self._sock.send(record)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._force_close(error)
        return True

    def _write_more(self) -> None:
        while self._records:
            if not self._send(self._records[0]):
                return
            if self._lost:
                return
            self._buffered_bytes -= len(self._records.popleft())
            if self._paused_protocol and self._buffered_bytes <= self._low:
                self._paused_protocol = False
                self._protocol.resume_writing()
        self._loop.remove_writer(self._fd)
        if self._closing:
            self._finish(None)
        elif self._eof:
            self._shut_down()

    def _watch_high(self) -> None:
        if self._buffered_bytes > self._high and not self._paused_protocol:
            self._paused_protocol = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Always."""
        return True

    def write_eof(self) -> None:
        """End our direction after what was written."""
        if not self._eof and not self._closing:
            self._eof = True
            if not self._records:
                self._shut_down()

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError):  # the peer was faster; reading finds out
            self._sock.shutdown(socket.SHUT_WR)

    # -- the end -------------------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether `close` or `abort` was called, or the connection was lost."""
        return self._closing

    def close(self) -> None:
        """Send what was written, then close."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if not self._records:
                self._finish(None)

    def abort(self) -> None:
        """Close without sending what was written."""
        self._force_close(None)

    def _force_close(self, error: OSError | None) -> None:
        if self._lost:
            return
        self.pause_reading()
        self._closing = True
        if self._records:
            self._records.clear()
            self._buffered_bytes = 0
            self._loop.remove_writer(self._fd)
        self._finish(error)

    def _finish(self, error: OSError | None) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._report_lost, error)

    def _report_lost(self, error: OSError | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Report to another protocol from now on."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol
