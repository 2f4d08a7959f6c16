"""A connection as a blocking `socket.socket`, for handlers that were written for one.

What such code calls is here: it reads and writes, sets timeouts and options, makes files. The engine still reads and
writes every byte, so limits, deadlines, draining, layers and counts hold around it.
"""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from ..codecs.raw import Raw
from ..core.blocking import BlockingConnection
from ..core.contract import Connection
from ..errors import BrokenError, ClosedError, EndOfStreamError

CODEC: Final = Raw()

_FLAGS: Final = socket.MSG_PEEK | socket.MSG_WAITALL | socket.MSG_DONTWAIT
_SENDING_FLAGS: Final = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT


class LostError(BrokenError, ConnectionResetError):
    """The connection is gone, as a program of sockets expects to be told."""

    errno = errno.ECONNRESET


class NotOpenError(ClosedError, BrokenPipeError):
    """Nothing can be sent any more, as a program of sockets expects to be told."""

    errno = errno.EPIPE


class SocketFacts:
    """What the socket of a connection says of itself, and its options: nothing here moves a byte.

    Args:
        conn: The connection.

    Raises:
        OSError: The socket is closed.
    """

    def __init__(self, conn: BlockingConnection[bytes] | Connection[bytes]) -> None:
        self._conn: Any = conn
        with self._borrowed() as sock:
            self.family = sock.family
            self.type = sock.type
            self.proto = sock.proto

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return int(self._conn.fileno())

    def getpeername(self) -> Any:
        """Return the peer's address."""
        return self._conn.peer.sockname

    def getsockname(self) -> Any:
        """Return this end's address."""
        with self._borrowed() as sock:
            return sock.getsockname()

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """Ask for an option of the socket."""
        with self._borrowed() as sock:
            return sock.getsockopt(level, optname, buflen) if buflen else sock.getsockopt(level, optname)

    def setsockopt(self, level: int, optname: int, *value: Any) -> None:
        """Set an option of the socket."""
        with self._borrowed() as sock:
            sock.setsockopt(level, optname, *value)

    def get_inheritable(self) -> bool:
        """Return whether a program that is executed inherits the descriptor: never."""
        return False

    @contextmanager
    def _borrowed(self) -> Iterator[socket.socket]:
        """Lend the connection's descriptor to a socket object, to ask it something."""
        fd = self.fileno()
        if fd < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        sock = socket.socket(fileno=fd)
        try:
            yield sock
        finally:
            sock.detach()


class ConnectionSocket(SocketFacts):
    """One connection over `penstock.codecs.Raw`, with the methods of a connected stream socket.

    It is used in the thread of its connection's handler, or handed to one other thread, as sockets are. `fileno` is the
    real descriptor, to wait on or to name; reading or writing it breaks the connection. What a layer (TLS) or the
    program's own buffers hold is not seen there.

    Args:
        conn: The connection, which speaks `CODEC`.
    """

    def __init__(self, conn: BlockingConnection[bytes]) -> None:
        self._timeout_s: float | None = None
        self._rest = memoryview(b"")  # received and not read
        self._reads = True
        self._closed = False
        super().__init__(conn)

    def fileno(self) -> int:
        """Return the descriptor; -1 once the socket is closed."""
        return -1 if self._closed else super().fileno()

    # -- reading -------------------------------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return what there is, at most ``bufsize`` bytes, or wait; b"" at the peer's EOF and when the server drains.

        Args:
            bufsize: How many bytes at most.
            flags: Any of MSG_PEEK, MSG_WAITALL and MSG_DONTWAIT.

        Raises:
            LostError: The connection is gone.
            TimeoutError: The socket's timeout passed.
            BlockingIOError: Nothing is there, and the timeout is 0.
            OSError: The socket is closed, or a flag is none of these.
        """
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._check(flags, _FLAGS)
        if flags & socket.MSG_WAITALL and not flags & socket.MSG_PEEK:
            parts: list[bytes] = []
            try:
                while bufsize and (part := self._take(bufsize, flags)):
                    parts.append(part)
                    bufsize -= len(part)
            except OSError:
                if not parts:
                    raise  # else what there is is returned, as by the kernel; the next call meets the same
            return b"".join(parts)
        return self._take(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into a buffer, as `recv` does; return how many bytes."""
        target = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(target), flags)
        target[: len(data)] = data
        return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """Read as `recv` does: a stream says no sender."""
        return self.recv(bufsize, flags), None

    def _take(self, size: int, flags: int) -> bytes:
        if not self._rest and size and self._reads:
            self._rest = memoryview(self._receive(flags))
        data = bytes(self._rest[:size])
        if not flags & socket.MSG_PEEK:
            self._rest = self._rest[len(data) :]
        return data

    def _receive(self, flags: int) -> bytes:
        timeout_s = 0 if flags & socket.MSG_DONTWAIT else self._timeout_s
        try:
            data: bytes = self._conn.receive(timeout_s)
        except EndOfStreamError:
            self._reads = False
            return b""
        except TimeoutError:
            if timeout_s == 0:
                raise BlockingIOError(errno.EAGAIN, "nothing to read") from None
            raise TimeoutError("timed out") from None
        except BrokenError as error:
            raise LostError(error.reason) from error
        except ClosedError as error:
            raise OSError(errno.EBADF, "the connection was closed here") from error
        return data

    # -- writing -------------------------------------------------------------------------------------------------------

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it; return when the kernel has taken it. The connection's write timeout bounds it.

        Raises:
            NotOpenError: This side closed, or ended its direction.
            LostError: The connection is gone, or the peer did not read in time.
            OSError: The socket is closed, or a flag is none that a stream has.
        """
        self._check(flags, _SENDING_FLAGS)
        octets = bytes(memoryview(data).cast("B"))
        if not octets:
            return
        try:
            self._conn.send(octets)
        except BrokenError as error:
            raise LostError(error.reason) from error
        except ClosedError as error:
            raise NotOpenError(*error.args) from error

    def send(self, data: Any, flags: int = 0) -> int:
        """Send all of it, as `sendall` does; return how many bytes that are."""
        self.sendall(data, flags)
        return memoryview(data).nbytes

    def sendfile(self, file: io.BufferedIOBase, offset: int = 0, count: int | None = None) -> int:
        """Send a file that is open for bytes, from ``offset``; return how many bytes were sent."""
        if count is not None and count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
        if offset:
            file.seek(offset)
        sent = 0
        while data := file.read(65536 if count is None else min(65536, count - sent)):
            self.sendall(data)
            sent += len(data)
        return sent

    # -- files ---------------------------------------------------------------------------------------------------------

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Return a file over this socket, as `socket.socket.makefile` does. Closing it leaves the socket open."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        reads, writes = "r" in mode or "w" not in mode, "w" in mode
        raw = _File(self, reads=reads, writes=writes)
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        buffered: Any
        if reads and writes:
            buffered = io.BufferedRWPair(raw, raw, size)
        else:
            buffered = io.BufferedReader(raw, size) if reads else io.BufferedWriter(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    # -- how long it waits ---------------------------------------------------------------------------------------------

    def settimeout(self, value: float | None) -> None:
        """Have reading give up after ``value`` seconds; at once where it is 0; never by itself where it is None.

        The connection's own timeouts hold whatever this says.
        """
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout_s = value

    def gettimeout(self) -> float | None:
        """Return what `settimeout` was given."""
        return self._timeout_s

    @property
    def timeout(self) -> float | None:
        """What `settimeout` was given."""
        return self._timeout_s

    def setblocking(self, flag: bool) -> None:
        """Have reading wait without an end of its own, or not at all."""
        self._timeout_s = None if flag else 0.0

    def getblocking(self) -> bool:
        """Return whether reading may wait."""
        return self._timeout_s != 0

    # -- the end -------------------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """End reading, writing or both: SHUT_RD, SHUT_WR, SHUT_RDWR."""
        self._check(0, 0)
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise OSError(errno.EINVAL, "no such way to shut down")
        if how != socket.SHUT_WR:
            self._reads, self._rest = False, memoryview(b"")
        if how != socket.SHUT_RD:
            self._conn.send_eof()

    def close(self) -> None:
        """Close the connection: what was sent arrives first. May be repeated."""
        if not self._closed:
            self._closed = True
            self._conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _check(self, flags: int, known: int) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the socket is closed")
        if flags & ~known:
            raise OSError(errno.EOPNOTSUPP, "no such flag over a connection of penstock")


class _File(io.RawIOBase):
    """The raw file under `ConnectionSocket.makefile`."""

    def __init__(self, sock: ConnectionSocket, *, reads: bool, writes: bool) -> None:
        self._sock = sock
        self._reads = reads
        self._writes = writes
        self.mode = f"{'r' if reads else ''}{'w' if writes else ''}b"

    @property
    def name(self) -> int:
        """The descriptor, which is what `io` calls a file without a path."""
        return self._sock.fileno()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._sock.fileno()

    def readable(self) -> bool:
        """Whether it is open for reading."""
        return self._reads

    def writable(self) -> bool:
        """Whether it is open for writing."""
        return self._writes

    def readinto(self, buffer: Any, /) -> int:
        """Read what there is, or wait; return how much, 0 at the end."""
        return self._needs(self._reads, "readable", self._sock.recv_into)(buffer)

    def write(self, data: Any, /) -> int:
        """Send all of it."""
        return self._needs(self._writes, "writable", self._sock.send)(data)

    def _needs(self, allowed: bool, what: str, method: Callable[[Any], int]) -> Callable[[Any], int]:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not allowed:
            raise io.UnsupportedOperation(f"not {what}")
        return method
