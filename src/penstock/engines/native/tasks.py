"""Connections whose handler is a coroutine: the pure engine's, woken on the spot."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from ...address import Address, Peer
from ...codecs.base import Codec
from ...core.service import AnyHandler
from ..pure.stream import Host
from ..pure.tasks import TaskConnection
from .poller import Poller
from .waiter import Waiter

M = TypeVar("M")


class NativeTaskConnection(TaskConnection[M]):
    """A connection whose task the poller resumes as soon as bytes have been read for it.

    Args:
        host, handler, codec, peer, local: As `TaskConnection`.
        poller: Serves its socket.
    """

    __slots__ = ("_poller",)

    def __init__(
        self, host: Host, handler: AnyHandler, codec: Codec[M], peer: Peer, local: Address, *, poller: Poller
    ) -> None:
        super().__init__(host, handler, codec, peer, local)
        self._poller = poller

    def _new_waiter(self) -> asyncio.Future[None]:
        return Waiter(self._poller, self._host.loop)
