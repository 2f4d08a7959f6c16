"""Transports of our own, on any loop that has ``add_reader``: what those of bytes and those of records have in common.

Asyncio's cost an accepted connection a task, a future and two turns of the loop before its first byte is read, and one
more turn at its end; of seqpacket sockets it has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stream import StreamConnection


class SocketTransport(asyncio.Transport):
    """A connected socket: reading that pauses, watermarks, half-close, and an end that is reported once.

    It tells its connection what asyncio's transports tell a protocol, in the same order. The end they report in a later
    turn of the loop is reported here as soon as what the loop called has returned.

    Args:
        loop: Tells when the socket is ready.
        sock: Connected and non-blocking. It is the transport's from now on, which closes it.
        connection: Told of everything, from `begin` on.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_entered",
        "_eof",
        "_error",
        "_fd",
        "_high",
        "_loop",
        "_lost",
        "_low",
        "_over_high",
        "_read_over",
        "_reading",
        "_sock",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, connection: StreamConnection[Any]) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._connection = connection
        self._high = self._low = 0  # the connection sets them first of all
        self._reading = False
        self._read_over = False  # the peer's EOF was read
        self._eof = False  # our direction ends after what was written
        self._closing = False
        self._lost = False  # nothing more will be sent; the connection was told, or is about to be
        self._error: BaseException | None = None  # that it was lost by
        self._over_high = False  # `pause_writing` was called last
        self._entered = False  # `_enter` is at work

    def begin(self) -> None:
        """Tell the connection, then read. Not to be called by anything that the connection has called."""
        self._enter(self._begin)

    def _begin(self) -> None:
        self._connection.connection_made(self)
        self.resume_reading()

    def _enter(self, step: Callable[[], object]) -> None:
        """Do what the loop calls for; report the end if it came to that."""
        self._entered = True
        try:
            step()
        except Exception as error:  # a codec's bug, or ours: handlers' are caught where they are called
            self._lose(error)
            report = {"message": "a connection failed", "exception": error, "transport": self}
            self._loop.call_exception_handler(report)
        finally:  # for the report may fail too, where memory is out
            self._entered = False
            if self._lost:
                self._report_lost()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket, of the name ``socket``; nothing else is known here."""
        return self._sock if name == "socket" else default

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _read(self) -> None:
        """The socket is readable."""

    @abstractmethod
    def _send_waiting(self) -> None:
        """Send as much of what waits for the kernel as it takes."""

    @abstractmethod
    def _drop_waiting(self) -> None:
        """Forget what waits for the kernel."""

    # -- reading -------------------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether the socket is read."""
        return self._reading

    def pause_reading(self) -> None:
        """Leave what comes with the kernel."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and not self._read_over and not self._closing:
            self._reading = True
            self._loop.add_reader(self._fd, self._enter, self._read)

    def _read_eof(self) -> None:
        self.pause_reading()
        self._read_over = True
        self._connection.eof_received()

    def read_now(self) -> None:
        """Read, though nobody said that there is anything; nothing while reading is paused."""
        if self._reading and not self._entered:
            self._enter(self._read)

    # -- writing -------------------------------------------------------------------------------------------------------

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the watermarks, in bytes."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._watch_high()

    def _watch_high(self) -> None:
        if not self._over_high and self.get_write_buffer_size() > self._high:
            self._over_high = True
            self._connection.pause_writing()

    def _write_later(self) -> None:
        """Something begins to wait for the kernel."""
        self._loop.add_writer(self._fd, self._enter, self._write_more)

    def _write_more(self) -> None:
        self._send_waiting()
        if self._lost:
            return
        if not self.get_write_buffer_size():
            self._loop.remove_writer(self._fd)
        if self._over_high and self.get_write_buffer_size() <= self._low:
            self._over_high = False
            self._connection.resume_writing()
        if not self.get_write_buffer_size():  # the connection may have written
            if self._closing:
                self._finish(None)
            elif self._eof:
                self._shut_down()

    def write_now(self) -> None:
        """Send what waits for the kernel, though nobody said that there is room."""
        if self.get_write_buffer_size() and not self._entered:
            self._enter(self._write_more)

    def can_write_eof(self) -> bool:
        """Always."""
        return True

    def write_eof(self) -> None:
        """End our direction after what was written."""
        if not self._eof and not self._closing:
            self._eof = True
            if not self.get_write_buffer_size():
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
            if not self.get_write_buffer_size():
                self._finish(None)

    def abort(self) -> None:
        """Close without sending what was written."""
        self._lose(None)

    def _lose(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self.pause_reading()
        self._closing = True
        if self.get_write_buffer_size():
            self._drop_waiting()
            self._loop.remove_writer(self._fd)
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        if not self._lost:
            self._lost = True
            self._error = error
            if not self._entered:  # whoever closes may be in the middle of a call of this connection, or of another
                self._loop.call_soon(self._report_lost)

    def _report_lost(self) -> None:
        error, self._error = self._error, None
        try:
            self._connection.connection_lost(error)
        finally:
            del self._connection  # and with it the cycle through it
            self._sock.close()
