"""A link on a socket that threads wait for: what the kernel does not take now, the next thread that waits sends."""

from __future__ import annotations

import socket
from collections import deque
from contextlib import suppress
from typing import Protocol, cast

from ..link import Link, LinkUser
from .parking import DONT_WAIT


class ThreadedUser(LinkUser, Protocol):
    """What a link tells of what happened, and what polls its socket."""

    def interest_changed(self) -> None:
        """The link wants the socket to be polled for something else than before."""


class SocketLink(Link):
    """A connected socket. It has no lock: its user calls it under its own, and tells it when the socket is ready.

    Args:
        sock: Connected. Its user closes it, once no thread polls it any more.
        user: Told of everything.
        records: It carries records, not bytes.

    Attributes:
        dropped_bytes: Bytes it was given and the kernel had not taken at the end.
    """

    __slots__ = ("_closing", "_eof", "_eof_sent", "_lost", "_output", "_reading", "_sock", "_user", "dropped_bytes")

    def __init__(self, sock: socket.socket, user: ThreadedUser, *, records: bool) -> None:
        self._sock = sock
        self._user: ThreadedUser | None = user
        self._output = RecordOutput() if records else StreamOutput()
        self._reading = True
        self._eof = False  # our direction ends after what was sent
        self._eof_sent = False
        self._closing = False  # closed once all was sent
        self._lost = False
        self.dropped_bytes = 0  # that the kernel had not taken at the end

    @property
    def socket(self) -> socket.socket:
        """The socket."""
        return self._sock

    @property
    def queued_bytes(self) -> int:
        """How many bytes it was given and the kernel has not taken."""
        return len(self._output)

    def pause_reading(self) -> None:
        """Its user asks for itself what it polls the socket for."""

    def resume_reading(self) -> None:
        """Have its user ask again."""
        self._changed()

    def _changed(self) -> None:
        if self._user is not None:
            self._user.interest_changed()

    def hand_to(self, user: LinkUser) -> None:
        """Tell another user."""
        self._user = cast("ThreadedUser", user)

    def forget_user(self) -> None:
        """Tell nobody any more: it is gone, and so is the cycle through it."""
        self._user = None

    def send(self, data: bytes) -> int:
        """Send, now or when the kernel takes it."""
        if self._lost or self._closing or self._eof:
            return len(self._output)
        had = len(self._output)
        try:
            self._output.push(self._sock, data)
        except OSError as error:
            self._lose(error)
            self.dropped_bytes += len(data)
            return 0
        if not had and self._output:
            self._changed()
        return len(self._output)

    def send_now(self) -> None:
        """Send as much of what waits for the kernel as it takes."""
        if not self._output or self._lost:
            return
        try:
            sent = self._output.flush(self._sock)
        except OSError as error:
            self._lose(error)
            return
        if sent:
            if self._user is not None:
                self._user.output_sank()
            self._after_last_byte()

    def reclaim(self) -> int:
        """Keep nothing of what was given to it last, unless it ends after that; return how many bytes that were."""
        if self._lost or self._closing or self._eof:
            return 0
        size = len(self._output)
        self._output.clear()
        if size and self._user is not None:
            self._user.output_sank()
        return size

    def _after_last_byte(self) -> None:
        if self._output or self._lost:
            return
        if self._eof and not self._eof_sent:
            self._eof_sent = True
            with suppress(OSError):  # ENOTCONN: the peer was faster; reading finds out
                self._sock.shutdown(socket.SHUT_WR)
        if self._closing:
            self._lose(None)

    def send_eof(self) -> None:
        """End our direction after what was sent."""
        self._eof = True
        self._after_last_byte()

    def close(self) -> None:
        """Close once all was sent."""
        self._closing = True
        self._after_last_byte()

    def abort(self) -> None:
        """Close, and drop what was not sent."""
        self._lose(None)

    def lose(self, error: OSError) -> None:
        """Reading met an error."""
        self._lose(error)

    def _lose(self, error: OSError | None) -> None:
        if not self._lost:
            self._lost = True
            try:
                self.dropped_bytes = len(self._output)
                self._output.clear()
                if self._user is not None:
                    self._user.connection_lost(error)
            except BaseException:
                self._lost = False  # the next call that ends it does this
                raise


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
