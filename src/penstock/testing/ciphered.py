"""A peer that speaks TLS, with the methods of a plain socket: what a test does with one, it does with the other."""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import threading
from typing import Any, Self

from ..config import TlsConfig
from ..core.x509 import Certificate, certificate_of
from ..server.tls import ServerTls
from .certificates import authority, server_certificate

_RECORD_BYTES = 16384


class CipheredSocket:
    """A connected socket and TLS over it. Its ends are those of TLS: EOF is close_notify, and so is a shutdown.

    Args:
        raw: Connected. It is this object's from now on.
        context: As what it speaks.
        name: Whom it expects.

    Raises:
        OSError, ssl.SSLError: There was no handshake. The socket is closed.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext | None = None, name: str = "localhost") -> None:
        self.raw = raw
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = (context or authority().client()).wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._unsent = b""
        # One thread may send while another receives; `ssl` allows only one at a time in the same session.
        self._at_work = threading.Lock()
        self._sending = threading.Lock()
        self._plain = bytearray()  # deciphered, and not received yet
        self._ended = False
        self._notifies = True
        try:
            self._shake()
        except BaseException:
            raw.close()
            raise

    def _shake(self) -> None:
        while True:
            try:
                self._session.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            else:
                self._flush()
                return

    def _feed(self) -> None:
        data = self.raw.recv(65536)
        with self._at_work:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _flush(self) -> None:
        with self._sending:
            with self._at_work:
                self._unsent += self._outgoing.read()
            while self._unsent:
                self._unsent = self._unsent[self.raw.send(self._unsent) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)  # all that is the socket's: its options, its names, how long it waits

    @property
    def certificate(self) -> Certificate:
        """What the server has shown."""
        return certificate_of(self._session.getpeercert(binary_form=True) or b"")

    # -- in ------------------------------------------------------------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Return what was deciphered; nothing once the peer's close_notify came.

        Raises:
            OSError: As of the socket; also where its EOF came without close_notify.
        """
        while size and not self._plain and not self._ended:
            try:
                self._decipher()
            except ssl.SSLWantReadError:
                self._feed()
        data = bytes(self._plain[:size])
        del self._plain[:size]
        return data

    def _decipher(self) -> None:
        try:
            with self._at_work:
                data = self._session.read(_RECORD_BYTES)
        except ssl.SSLZeroReturnError:
            data = b""
        self._plain += data
        self._ended = not data

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """As `recv`, into a buffer."""
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    # -- out -----------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> int:
        """Encipher and send all; nothing where the socket has no room for what was sent before.

        Raises:
            OSError: As of the socket.
        """
        self._flush()
        if data:
            with self._at_work:
                self._session.write(data)
        with contextlib.suppress(BlockingIOError):
            self._flush()
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Encipher and send all."""
        view = memoryview(data)
        for at in range(0, len(data), _RECORD_BYTES):
            self.send(view[at : at + _RECORD_BYTES].tobytes())

    # -- the end -------------------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        if self._notifies:
            self._notifies = False
            with contextlib.suppress(ssl.SSLError, OSError):
                while self._incoming.pending:  # what came is to be read first: it may be what the peer sent before
                    self._decipher()
            with contextlib.suppress(ssl.SSLError, OSError), self._at_work:
                self._session.unwrap()
            with contextlib.suppress(OSError):
                self._flush()

    def shutdown(self, how: int) -> None:
        """Send close_notify, then shut the socket down."""
        self._notify()
        self.raw.shutdown(how)

    def setsockopt(self, *args: Any) -> None:
        """As of the socket. One that is to be closed with a reset sends nothing before that."""
        if args[1] == socket.SO_LINGER:
            self._notifies = False
        self.raw.setsockopt(*args)

    def close(self) -> None:
        """Send close_notify, then close the socket."""
        if self.raw.fileno() >= 0:
            self._notify()
        self.raw.close()

    def makefile(self, mode: str = "rb", **_options: Any) -> Any:
        """Return a file, as of a socket."""
        raw = _Raw(self)
        return io.BufferedRWPair(raw, raw) if "w" in mode and "r" in mode else io.BufferedReader(raw)


class _Raw(io.RawIOBase):
    def __init__(self, sock: CipheredSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sock.recv_into(memoryview(buffer).cast("B"))

    def write(self, data: Any) -> int:
        self._sock.sendall(bytes(data))
        return len(data)


def server_layer() -> Any:
    """Return what makes the layers of a server with the tests' certificate."""
    return ServerTls(TlsConfig(cert=(server_certificate(),))).layer
