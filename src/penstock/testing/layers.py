"""Layers that change nothing, or everything: what passes them is what a connection sent and received."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..engines.link import Layer, LinkUser


class Tap(Layer):
    """Counts what passes, in both directions.

    Attributes:
        bytes_in: Bytes that came from the peer.
        bytes_out: Bytes that were sent to it.
        ends: How often EOF came from the peer, and how often one was sent.
        lost: How often the end was told.
    """

    def __init__(self, user: LinkUser) -> None:
        super().__init__(user)
        self.bytes_in = self.bytes_out = self.lost = 0
        self.ends = [0, 0]
        self._failed = False  # to tell the end

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.bytes_in += len(data)
        super().data_received(data)

    def eof_received(self) -> object:
        """Count."""
        self.ends[0] += 1
        return super().eof_received()

    def send(self, data: bytes) -> int:
        """Count."""
        self.bytes_out += len(data)
        return super().send(data)

    def send_eof(self) -> None:
        """Count."""
        self.ends[1] += 1
        super().send_eof()

    def connection_lost(self, error: BaseException | None) -> None:
        """Count; a call that failed, at the limit of recursion say, and is made once more, counts once."""
        self.lost += not self._failed
        self._failed = True
        super().connection_lost(error)
        self._failed = False


class Taps(list[Tap]):
    """Makes taps, and keeps them."""

    def make(self, user: LinkUser) -> Tap:
        """Make one."""
        tap = Tap(user)
        self.append(tap)
        return tap


class Cipher(Layer):
    """Each byte is another one on the wire: what does not pass it cannot be read."""

    __slots__ = ()

    _TABLE = bytes(byte ^ 0x55 for byte in range(256))

    @classmethod
    def of(cls, data: bytes) -> bytes:
        """Return what bytes are at the other side of it, from either."""
        return data.translate(cls._TABLE)

    def data_received(self, data: bytes) -> None:
        """Decipher."""
        super().data_received(self.of(data))

    def send(self, data: bytes) -> int:
        """Encipher."""
        return super().send(self.of(data))


def listener_with(
    listener: type, maker: Callable[[LinkUser], Layer], *, streams_only: bool = False
) -> Callable[..., object]:
    """Return what makes listeners whose connections have a layer: in place of the class, where a server makes them.

    Args:
        listener: The class.
        maker: Makes the layer.
        streams_only: Connections of records have none.
    """

    def make(sock: socket.socket, *args: object, **options: object) -> object:
        layer = None if streams_only and sock.type != socket.SOCK_STREAM else maker
        return listener(sock, *args, layer=layer, **options)

    return make
