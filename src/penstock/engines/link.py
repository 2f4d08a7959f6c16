"""What moves the bytes of one connection: a socket, a loop's own transport, or a layer over another link.

A link knows neither messages nor limits nor time. It is told what to do by its connection, and tells it what happened.
All bytes of a connection leave by `Link.send` and enter by `LinkUser.data_received`: so a layer (TLS, PROXY, a tap)
is a link that has a link, and the user of that one.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from typing import Protocol

from .wire import SocketOptions


class LinkUser(Protocol):
    """Whoever a link tells what happened: a connection, or a layer. Nothing is told after `connection_lost`."""

    def data_received(self, data: bytes, /) -> None:
        """Bytes came; on a link of records, one record."""

    def eof_received(self) -> object:
        """The peer sent EOF. Told once, after all its bytes."""

    def output_sank(self) -> None:
        """The link holds fewer bytes than before. Told whenever the kernel took some that it had not taken at once."""

    def connection_broke(self, error: BaseException, /) -> None:
        """Nothing can be sent any more; `connection_lost` follows. Told in the middle of the call that met it."""

    def connection_lost(self, error: BaseException | None, /) -> None:
        """The link is gone; ``error`` is why, None when it was told to close or to reset."""


class Link(ABC):
    """One connected peer, in bytes or records. Every method returns at once."""

    __slots__ = ()

    @property
    @abstractmethod
    def queued_bytes(self) -> int:
        """How many bytes it was given and the kernel has not taken."""

    @property
    @abstractmethod
    def socket(self) -> SocketOptions | socket.socket | None:
        """The socket under it, to ask or to set its options; None where there is none."""

    @abstractmethod
    def send(self, data: bytes) -> int:
        """Send, now or when the kernel takes it; nothing once it was told to close or to end this direction.

        Returns:
            How many bytes wait for the kernel, these included.
        """

    @abstractmethod
    def pause_reading(self) -> None:
        """Leave what comes with the kernel. May be repeated."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Read again, unless the peer's EOF came or it was told to close. May be repeated."""

    @abstractmethod
    def send_eof(self) -> None:
        """End this direction, after what was sent. May be repeated."""

    @abstractmethod
    def close(self) -> None:
        """Read no more; close once all was sent. May be repeated."""

    @abstractmethod
    def abort(self) -> None:
        """Close now, and drop what was not sent. May be repeated."""

    def watch(self, high: int, low: int) -> None:  # noqa: B027 - a link may tell of every byte
        """Tell, by `send` and `output_sank`, at least of more than ``high`` bytes, and of no more than ``low``.

        A link over a transport that tells no more than that has to be told both. Where both are the same, output is
        paused, and ``output_sank`` is to come in any case.
        """
