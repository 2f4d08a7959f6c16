"""A connection as a blocking `socket.socket`, for handlers that were written for one.

What such code calls is here: it reads and writes, sets timeouts and options, makes files. The engine still reads and
writes every byte, so limits, deadlines, draining, layers and counts hold around it.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from ..codecs.raw import Raw
from ..core.blocking import BlockingConnection
from ..core.contract import Connection
from ..errors import BrokenError, ClosedError, EndOfStreamError

CODEC: Final = Raw()

_FLAGS: Final = socket.MSG_PEEK | socket.MSG_WAITALL | socket.MSG_DONTWAIT
_SENDING_FLAGS: Final = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT | getattr(socket, "MSG_MORE", 0)
# Of what is sent with a timeout, and of a file: so much at once.
_PIECE_BYTES: Final = 64 * 1024


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

    def _descriptor(self) -> int:
        return int(self._conn.fileno())

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._descriptor()

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
        fd = self._descriptor()
        if fd < 0:
            raise _closed()
        sock = socket.socket(fileno=fd)
        try:
            yield sock
        finally:
            sock.detach()


class TransportSocket(SocketFacts):
    """What a transport gives as its ``socket``: the methods of `asyncio.trsock.TransportSocket`."""

    def dup(self) -> socket.socket:
        """Return a socket over a duplicate of the descriptor, which its caller closes.

        Its timeout is 0 and stays that: whether it blocks is one fact of all duplicates, the engine's among them.
        """
        fd = self._conn.another_fileno()
        if fd < 0:
            raise _closed()
        try:
            sock = socket.socket(self.family, self.type, self.proto, fd)
        except BaseException:
            os.close(fd)
            raise
        sock.settimeout(0)
        return sock

    def shutdown(self, how: int) -> None:
        """End reading, writing or both of the socket itself, past what was queued."""
        with self._borrowed() as sock:
            sock.shutdown(how)

    def settimeout(self, value: float | None) -> None:
        """Take 0, which it has."""
        if value != 0:
            raise ValueError("settimeout(): only 0 timeout is allowed on transport sockets")

    def gettimeout(self) -> float:
        """Return 0."""
        return 0

    def setblocking(self, flag: bool) -> None:
        """Take False, which it has."""
        if flag:
            raise ValueError("setblocking(): transport sockets cannot be blocking")


class ConnectionSocket(SocketFacts):
    """One connection over `penstock.codecs.Raw`, with the methods of a connected stream socket.

    It is used in the thread of its connection's handler, or handed to one other thread, as sockets are. `fileno` is
    another number of the connection's descriptor, to wait on or to name; reading or writing it breaks the connection.
    What a layer (TLS) or the program's own buffers hold is not seen there. Nothing can take the connection away from
    the engine: `detach` and `dup` are refused, and with them `ssl.SSLContext.wrap_socket`.

    Args:
        conn: The connection, which speaks `CODEC`.
    """

    def __init__(self, conn: BlockingConnection[bytes]) -> None:
        self._timeout_s: float | None = None
        self._rest = memoryview(b"")  # received and not read
        self._reads = True
        self._closed = False
        self._number = -1  # that `fileno` has given
        self._named: tuple[int, int] | None = None  # which file that was
        self._files = 0  # that are open over it: the connection closes with the last one
        super().__init__(conn)

    def _descriptor(self) -> int:
        return -1 if self._is_over else super()._descriptor()

    @property
    def _is_over(self) -> bool:
        return self._closed and self._files <= 0

    def fileno(self) -> int:
        """Return a descriptor; -1 once the socket is closed.

        It is a duplicate: what takes the number for its own, and closes it, does not close the engine's, whose number
        could be another connection's by then.
        """
        if self._number < 0 and not self._is_over:
            self._number = self._conn.another_fileno()
            self._named = _file_of(self._number)
        return self._number

    def getpeername(self) -> Any:
        """Return the peer's address."""
        self._check(0, 0)
        return super().getpeername()

    def detach(self) -> int:
        """Refuse. What asks has made an object of the number before, as `ssl` does: that is left to it.

        Raises:
            OSError: Always.
        """
        self._number = -1
        raise _refused("the descriptor cannot be taken from it; TLS is spoken at tls://")

    def dup(self) -> Any:
        """Refuse.

        Raises:
            OSError: Always.
        """
        raise _refused("the socket cannot be duplicated")

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
        return self._read(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Read into a buffer, as `recv` does; return how many bytes."""
        return self._read_into("recv_into", buffer, nbytes, flags)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """Read as `recv` does: a stream says no sender."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, None]:
        """Read into a buffer, as `recv_into` does: a stream says no sender."""
        return self._read_into("recvfrom_into", buffer, nbytes, flags), None

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, None]:
        """Read as `recv` does: there is no ancillary data, for the engine has received it."""
        if bufsize < 0:
            raise ValueError("negative buffer size in recvmsg()")
        return self.recv(bufsize, flags), [], 0, None

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[Any], int, None]:
        """Read into several buffers, as `recv` does."""
        targets = [_writable(buffer, "recvmsg_into() argument 1 must be an iterable of buffers") for buffer in buffers]
        data = memoryview(self.recv(sum(map(len, targets)), flags))
        rest = data
        for target in targets:
            part, rest = rest[: len(target)], rest[len(target) :]
            target[: len(part)] = part
        return len(data), [], 0, None

    def _read_into(self, name: str, buffer: Any, nbytes: int, flags: int) -> int:
        target = _writable(buffer, f"{name}() argument 1 must be read-write bytes-like object")
        if nbytes < 0:
            raise ValueError(f"negative buffersize in {name}")
        if nbytes > len(target):
            known = "buffer too small for requested bytes", "nbytes is greater than the length of the buffer"
            raise ValueError(known[name == "recvfrom_into"])
        data = self.recv(nbytes or len(target), flags)
        target[: len(data)] = data
        return len(data)

    def _read(self, size: int, flags: int) -> bytes:
        if not flags & socket.MSG_WAITALL:
            return self._take(size, flags)
        until = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        parts, have_bytes = [bytes(self._rest)], len(self._rest)
        try:
            while have_bytes < size and (part := self._receive(flags, until)):
                parts.append(part)
                have_bytes += len(part)
        except OSError:
            if not have_bytes:
                raise  # else what there is is returned, as by the kernel; the next call meets the same
        finally:
            self._rest = memoryview(b"".join(parts))
        return self._take(min(size, have_bytes), flags)

    def _take(self, size: int, flags: int) -> bytes:
        if not self._rest and size:
            self._rest = memoryview(self._receive(flags))
        data = bytes(self._rest[:size])
        if not flags & socket.MSG_PEEK:
            self._rest = self._rest[len(data) :]
        return data

    def _receive(self, flags: int, until: float | None = None) -> bytes:
        # After SHUT_RD what has come is read, and no more waited for: tcp(7).
        waits = self._timeout_s != 0 and self._reads and not flags & socket.MSG_DONTWAIT
        timeout_s = self._timeout_s if waits else 0
        if waits and until is not None:
            timeout_s = max(0, until - time.monotonic())
        try:
            data: bytes = self._conn.receive(timeout_s)
        except EndOfStreamError:
            self._reads = False
            return b""
        except TimeoutError:
            if not self._reads:
                return b""
            if not waits:
                raise BlockingIOError(errno.EAGAIN, "nothing to read") from None
            raise TimeoutError("timed out") from None
        except BrokenError as error:
            raise LostError(error.reason) from error
        except ClosedError as error:
            raise OSError(errno.EBADF, "the connection was closed here") from error
        return data

    # -- writing -------------------------------------------------------------------------------------------------------

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of it; return when the kernel has taken it. The socket's timeout and the connection's bound it.

        Raises:
            NotOpenError: This side closed, or ended its direction.
            LostError: The connection is gone, or the peer did not read in time.
            TimeoutError: The socket's timeout passed: how much was sent is not known.
            BlockingIOError: The kernel takes no more, and the timeout is 0: likewise.
            OSError: The socket is closed, or a flag is none that a stream has.
        """
        self._check(flags, _SENDING_FLAGS)
        octets = memoryview(data).cast("B")
        timeout_s = self._waits_s(flags)
        if not octets:
            return
        if timeout_s is None:
            with _as_socket():
                self._conn.send(bytes(octets))
            return
        until = time.monotonic() + timeout_s
        while octets:
            left_s = max(0, until - time.monotonic()) if timeout_s else 0
            octets = octets[self._send_some(octets, left_s) :]
        with _as_socket(waits=timeout_s > 0):
            self._conn.await_taken(max(0, until - time.monotonic()) if timeout_s else 0)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send what the kernel takes; return how many bytes that are. Without a timeout it is all, as of `sendall`.

        TLS has all of a piece taken: what the kernel does not take of that goes out with the next call.
        """
        self._check(flags, _SENDING_FLAGS)
        timeout_s = self._waits_s(flags)
        if timeout_s is None:
            self.sendall(data, flags)
            return memoryview(data).nbytes
        return self._send_some(memoryview(data).cast("B"), timeout_s)

    def _send_some(self, octets: memoryview, timeout_s: float) -> int:
        if not octets:
            return 0
        with _as_socket(waits=timeout_s > 0):
            return int(self._conn.send_some(bytes(octets[:_PIECE_BYTES]), timeout_s))

    def sendmsg(self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None) -> int:
        """Send several pieces as one, as `send` does.

        Raises:
            OSError: There is ancillary data, or an address; or as of `send`.
        """
        if list(ancdata):
            raise _refused("no ancillary data can be sent")
        if address is not None:
            raise OSError(errno.EISCONN, "the socket is connected")
        return self.send(b"".join(memoryview(buffer).cast("B") for buffer in buffers), flags)

    def _waits_s(self, flags: int) -> float | None:
        return 0 if flags & socket.MSG_DONTWAIT else self._timeout_s

    def sendfile(self, file: io.BufferedIOBase, offset: int = 0, count: int | None = None) -> int:
        """Send a file that is open for bytes, from ``offset``; return how many bytes were sent.

        One that is not on a disk is sent from where it stands, if ``offset`` is 0. Afterwards a file that can be
        positioned stands at ``offset`` plus what was sent, by then if sending raises.
        """
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("file should be opened in binary mode")
        if count is not None and count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
        if self._timeout_s == 0:
            raise ValueError("non-blocking sockets are not supported")
        if offset or _is_on_disk(file):
            file.seek(offset)
        sent = 0
        try:
            while data := file.read(_PIECE_BYTES if count is None else min(_PIECE_BYTES, count - sent)):
                self.sendall(data)
                sent += len(data)
        finally:
            if sent and hasattr(file, "seek"):
                file.seek(offset + sent)
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
        """Return a file over this socket, as `socket.socket.makefile` does.

        Closing it leaves the socket open; when the socket is closed first, the connection closes with its last file.
        """
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        reads, writes = "r" in mode or "w" not in mode, "w" in mode
        binary = "b" in mode
        if buffering == 0 and not binary:
            raise ValueError("unbuffered streams must be binary")
        raw: Any = socket.SocketIO(self, ("r" if reads else "") + ("w" if writes else ""))  # type: ignore[arg-type]
        self._files += 1
        if buffering == 0:
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        buffered: Any
        if reads and writes:
            buffered = io.BufferedRWPair(raw, raw, size)
        else:
            buffered = io.BufferedReader(raw, size) if reads else io.BufferedWriter(raw, size)
        if binary:
            return buffered
        text = io.TextIOWrapper(buffered, encoding, errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    def _decref_socketios(self) -> None:
        """Take note that a file is closed: `socket.SocketIO` calls it."""
        self._files -= 1
        if self._closed:
            self.close()

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
        """End reading, writing or both: SHUT_RD, SHUT_WR, SHUT_RDWR. May be repeated.

        Raises:
            OSError: The connection is gone, the socket is closed, or it is another way.
        """
        self._check(0, 0)
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise OSError(errno.EINVAL, "no such way to shut down")
        if how != socket.SHUT_WR:
            self._reads = False
        if how != socket.SHUT_RD:
            try:
                self._conn.send_eof()
            except BrokenError as error:
                raise OSError(errno.ENOTCONN, "the connection is gone") from error

    def close(self) -> None:
        """Close the connection, once its files are closed: what was sent arrives first. May be repeated."""
        self._closed = True
        if self._is_over:
            self._release()
            self._conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        number, self._number = self._number, -1
        # Who took it for its own has closed it, and it may be another connection's by now.
        if number >= 0 and self._named is not None and _file_of(number) == self._named:
            os.close(number)

    def _check(self, flags: int, known: int) -> None:
        if self._is_over:
            raise _closed()
        if flags & ~known:
            raise _refused("no such flag")


@contextmanager
def _as_socket(*, waits: bool = True) -> Iterator[None]:
    """Have what sending raises be what a program of sockets expects to be told."""
    try:
        yield
    except TimeoutError:
        if waits:
            raise TimeoutError("timed out") from None
        raise BlockingIOError(errno.EAGAIN, "the peer has not read what it was sent before") from None
    except BrokenError as error:
        raise LostError(error.reason) from error
    except ClosedError as error:
        raise NotOpenError(*error.args) from error


def _closed() -> OSError:
    return OSError(errno.EBADF, "the socket is closed")


def _refused(what: str) -> OSError:
    return OSError(errno.EOPNOTSUPP, f"{what} over a connection of penstock")


def _writable(buffer: Any, otherwise: str) -> memoryview:
    target = memoryview(buffer).cast("B")
    if target.readonly:
        raise TypeError(otherwise)
    return target


def _file_of(fd: int) -> tuple[int, int] | None:
    """Return which file a descriptor is of: a socket has a number of its own. None where it is of none."""
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_on_disk(file: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        return False
