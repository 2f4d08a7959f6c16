"""A socket of the load of ``penstock bench`` over TLS, by Python's `ssl`."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from typing import TYPE_CHECKING

from ...engines.tls.failures import TRUNCATED, failure_of

if TYPE_CHECKING:
    from ...client.tls import Handshake


class CipherError(OSError):
    """The cipher has failed; the words say how."""


class Ciphered:
    """As much of a non-blocking socket as the load uses.

    Args:
        handshake: How it is done.
        sock: Connected; it goes over to this object.

    Raises:
        OSError: It is not connected any more, or its peer has spoken first.
    """

    def __init__(self, handshake: Handshake, sock: socket.socket) -> None:
        self._handshake = handshake
        try:
            self._sock = handshake.wrap_socket(sock)
        except ssl.SSLError as error:
            raise CipherError(f"tls: {failure_of(error, shaking=True).problem}") from error

    def shake(self) -> int:
        """Go on with the handshake.

        Returns:
            What to wait for, as of `selectors`; 0 when it is done.

        Raises:
            OSError: There will be no connection.
        """
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            return selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            return selectors.EVENT_WRITE
        except ssl.SSLError as error:
            raise CipherError(f"tls: {failure_of(error, shaking=True).problem}") from error
        if (refusal := self._handshake.refuses(self._sock)) is not None:
            raise CipherError(f"tls: {refusal.problem}")
        return 0

    @property
    def has_more(self) -> bool:
        """Whether something was deciphered that was not received yet."""
        return self._sock.pending() > 0

    def recv(self, size: int) -> bytes:
        """As of a socket. ``b""`` is the peer's close_notify."""
        try:
            return self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLEOFError as error:
            raise CipherError(f"tls: {TRUNCATED}") from error
        except ssl.SSLError as error:
            raise CipherError(f"tls: {failure_of(error, shaking=False).problem}") from error

    def send(self, data: bytes) -> int:
        """As of a socket."""
        try:
            return self._sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLError as error:
            raise CipherError(f"tls: {failure_of(error, shaking=False).problem}") from error

    def fileno(self) -> int:
        """As of a socket."""
        return self._sock.fileno()

    def getsockopt(self, level: int, option: int) -> int:
        """As of a socket."""
        return self._sock.getsockopt(level, option)

    def close(self) -> None:
        """Send close_notify, if it goes now, and close: what the peer still sends is not waited for."""
        with contextlib.suppress(OSError, ValueError):  # the handshake has not ended; the peer has not answered yet
            self._sock.unwrap()
        self._sock.close()
