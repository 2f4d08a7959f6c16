"""Datagram sockets on the native engine: read, and for the most part answered, in compiled code."""

from __future__ import annotations

import asyncio
from typing import Any

from ...codecs.base import Codec
from ...core.handlers import CallbackHandler, MessageHandler
from ..datagram import OneDatagram
from ..listener import Listener
from ..loop.datagrams import LoopEndpoint
from .datagrams import DatagramState, Port
from .host import Host


class NativeDatagram(DatagramState, OneDatagram[Any]):  # type: ignore[misc]  # the compiled class is not typed alike
    """One datagram and its sender, kept in a compiled object."""

    __slots__ = ()


class NativeEndpoint(LoopEndpoint):
    """One datagram listener at work in a poller."""

    def __init__(
        self,
        host: Host,
        loop: asyncio.AbstractEventLoop,
        listener: Listener,
        handler: MessageHandler | CallbackHandler,
        codec: Codec[Any],
        **others: Any,
    ) -> None:
        super().__init__(loop, listener, handler, codec, **others)
        self._answers = 0
        self._port = Port(host, self, listener, handler, NativeDatagram)

    @property
    def keeps(self) -> bool:
        """Whether answers wait for the kernel: others go behind them."""
        return bool(self._replies)

    @property
    def answers(self) -> int:
        """How many datagrams were sent, or kept until the kernel has room."""
        return self._answers + self._port.answered

    @answers.setter
    def answers(self, count: int) -> None:
        self._answers = count - self._port.answered

    def send(self, data: bytes, to: Any) -> bool:
        """Send one datagram, after those that wait for the end of a batch."""
        self._port.flush()
        return super().send(data, to)

    def cut(self) -> None:
        """Forget what is being handled and what waits to be sent."""
        self._port.clear()
        super().cut()

    def _poll_reading(self) -> None:
        self._poll()

    def _poll_writing(self) -> None:
        self._poll()

    def _poll(self) -> None:
        self._port.poll(self._reading, self._waiting)
