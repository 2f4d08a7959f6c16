"""What is on the wire between a connected datagram socket and the codec."""

from __future__ import annotations

import errno
import socket

from .wire import MAX_DATAGRAM_BYTES


def whole(data: bytes) -> bytes:
    """Return a datagram that was read with room for one byte too many; half of one is nothing.

    Raises:
        OSError: There was more of it than `MAX_DATAGRAM_BYTES` (EMSGSIZE).
    """
    if len(data) > MAX_DATAGRAM_BYTES:
        raise OSError(errno.EMSGSIZE, f"a datagram of more than {MAX_DATAGRAM_BYTES} bytes came, and half is nothing")
    return data


class DatagramWire:
    """What is on the wire between a connected socket and the codec: nothing, here."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def write(self, data: bytes, flags: int = 0) -> None:
        """Send one message. Raises what send(2) says of this one.

        Of an earlier one, that nobody listened or that a router refused it, a connected socket tells once, and then
        nothing has been sent: a peer that listens now is to get this one.
        """
        try:
            self._sock.send(data, flags)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise
            self._sock.send(data, flags)

    def read(self, flags: int = 0) -> bytes:
        """Return the next message.

        Raises:
            OSError: As recv(2), and when the datagram is longer than `MAX_DATAGRAM_BYTES`: then it is gone.
        """
        return whole(self._sock.recv(MAX_DATAGRAM_BYTES + 1, flags))
