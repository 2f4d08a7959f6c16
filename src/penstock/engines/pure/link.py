"""The links of the pure engine: its own on a socket, and one over the transport that a loop brings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, cast

from ..forked import end
from ..link import Link, LinkUser
from ..loop.link import SocketLink
from ..wire import SocketOptions


class StreamLink(SocketLink):
    """A stream socket: what is read is handed over at once; what the kernel does not take waits in one buffer."""

    __slots__ = ("_buffer", "_unsent")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        user: LinkUser,
        buffer: memoryview,
    ) -> None:
        super().__init__(loop, sock, user)
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
            self._user.data_received(self._buffer[:size].tobytes())
        else:
            self._read_eof()

    @property
    def queued_bytes(self) -> int:
        """Return how many bytes wait for the kernel."""
        return len(self._unsent)

    def send(self, data: bytes) -> int:
        """Send, now or when the kernel takes it."""
        if self._closing or self._eof:
            return len(self._unsent)
        if not self._unsent:
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lose(error)
                return 0
            if sent == len(data):
                return 0
            self._unsent = bytearray(memoryview(data)[sent:])
        else:
            self._unsent += data
        if not self._writing:
            try:  # noqa: SIM105 - what suppresses is called, and may be refused as well
                self._send_later()
            except (RecursionError, MemoryError):
                pass  # it was taken all the same; whatever is called next asks again
        return len(self._unsent)

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

    @property
    def may_move(self) -> bool:
        """Whether it is open, and nothing of it is at work."""
        return not (self._closing or self._lost or self._entered or self._read_over)

    def hold(self) -> bytes:
        """Leave the loop's set; return what the kernel has not taken, which is kept as well."""
        self.pause_reading()
        self._send_no_more()
        return bytes(self._unsent)


# Nothing is ever added to it: one for all connections whose peers read.
_NOTHING = bytearray()


class TransportLink(asyncio.BufferedProtocol, asyncio.Protocol, Link):
    """A connection on a transport of the loop's own: uvloop's, and those of loops without ``add_reader``.

    It is both kinds of asyncio protocol. Asyncio's own transports take it for a buffered one, and then a read goes into
    one buffer for all: for a plain one they allocate 256 KiB for every read, which the C library's allocator fetches
    from the system and gives back each time (a line echo: 22 µs of CPU that way, 7 µs without). uvloop, which has a
    buffer of its own, takes it for a plain one.

    What it sends goes to the socket at once, as long as nothing waits for the kernel: uvloop's transports write in the
    loop's next turn, and would take all that is sent until then to a peer that is gone.

    Args:
        user: Told of everything.
        begun: Called with the link when it has its transport.
        buffer: What every read goes into, on loops that let it.
    """

    __slots__ = ("_begun", "_buffer", "_fd", "_is_noticed", "_transport", "_user", "data_received")

    _transport: asyncio.Transport

    def __init__(self, user: LinkUser, begun: Callable[[Link], object], buffer: memoryview) -> None:
        self._user: Any = user  # None once the connection is another process's
        self._begun = begun
        self._buffer = buffer
        self._is_noticed = False  # so much waits for the kernel that it counts
        self._fd = -1  # that is written to; -1 where only the transport may
        # Not a method of its own: one call less for each read.
        self.data_received = user.data_received  # type: ignore[method-assign, assignment]

    @property
    def queued_bytes(self) -> int:
        """How many bytes it was given and the kernel has not taken."""
        return self._transport.get_write_buffer_size()

    @property
    def socket(self) -> SocketOptions | None:
        """What the loop gives as the transport's socket."""
        return cast("SocketOptions | None", self._transport.get_extra_info("socket"))

    # -- what the loop calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # Not isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._fd = _writable(self.socket)
        self._begun(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the buffer: a read is copied out of it before anything else can be read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self._user.data_received(self._buffer[:nbytes].tobytes())

    def eof_received(self) -> bool:
        """Tell; our direction stays open."""
        self._user.eof_received()
        return True

    def pause_writing(self) -> None:
        """Note that what waits for the kernel is beyond the high watermark."""
        self._is_noticed = True

    def resume_writing(self) -> None:
        """No more waits than was said to be little."""
        self._is_noticed = False
        self._user.output_sank()

    # -- to another process --------------------------------------------------------------------------------------------

    @property
    def may_move(self) -> bool:
        """Whether it is open and nothing waits for the kernel: a loop does not say what does."""
        return not self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def hold(self) -> bytes:
        """Read no further."""
        self.pause_reading()
        return b""

    def take_back(self) -> None:
        """Nothing: nothing waits for the kernel."""

    def depart(self) -> None:
        """Close this copy of the descriptor: the loop closes without shutdown(2) or a reset."""
        self._user = None
        self._transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell."""
        if self._user is None:  # it is another process's
            del self.data_received, self._begun
            return
        end(self._transport.get_extra_info("socket").fileno())  # the loop closes it after this
        user = self._user
        del self._user, self.data_received, self._begun  # and with them the cycle through it
        user.connection_lost(exc)

    def hand_to(self, user: LinkUser) -> None:
        """Tell another user; uvloop has the methods of the one before in a cache."""
        self._user = user
        self.data_received = user.data_received  # type: ignore[method-assign, assignment]
        self._transport.set_protocol(self)

    # -- what its user calls -------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> int:
        """Send, now or when the kernel takes it."""
        transport = self._transport
        if self._fd >= 0 and not transport.get_write_buffer_size() and not transport.is_closing():
            try:
                sent = os.write(self._fd, data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._fd = -1
                self._user.connection_broke(error)
                transport.abort()
                return 0
            if sent == len(data):
                return 0
            data = data[sent:]
        transport.write(data)
        try:
            return transport.get_write_buffer_size() if self._is_noticed else 0
        except (RecursionError, MemoryError):
            return 0  # it was taken all the same

    def watch(self, high: int, low: int) -> None:
        """Have the transport say so when it holds more than ``high`` bytes, and when no more than ``low``."""
        transport = self._transport
        transport.set_write_buffer_limits(high=high, low=low)
        if high == low and 0 < transport.get_write_buffer_size() <= low:
            transport.set_write_buffer_limits(high=0, low=0)  # it is below already, and would say nothing

    def pause_reading(self) -> None:
        """Leave what comes with the kernel."""
        transport = self._transport
        if not transport.is_closing() and transport.is_reading():
            transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        transport = self._transport
        if not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()

    def send_eof(self) -> None:
        """End our direction after what was sent."""
        self._fd = -1
        # ENOTCONN: the peer's reset has arrived and was not read yet. Reading it ends the connection.
        with contextlib.suppress(OSError):
            self._transport.write_eof()

    def close(self) -> None:
        """Send what waits, then close."""
        self._transport.close()

    def abort(self) -> None:
        """Close without sending what waits."""
        self._transport.abort()


def _writable(sock: SocketOptions | None) -> int:
    """Return the descriptor that may be written to beside a loop's transport; -1 where none may."""
    descriptor = -1 if sock is None or os.name != "posix" else sock.fileno()
    return -1 if descriptor < 0 or os.get_blocking(descriptor) else descriptor


def has_our_links(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether our links are used in a loop, and not its own transports.

    Those of asyncio cost more. uvloop's cost no more than ours there, and its polling keeps resets from ours.
    """
    return isinstance(loop, asyncio.SelectorEventLoop)
