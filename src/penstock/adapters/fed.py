"""The transport of a protocol on the native engine, which hands over what was read and writes in compiled code."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from ..core.contract import Connection
from .transport import ConnectionTransport


def transport_of(conn: Connection[bytes], loop: asyncio.AbstractEventLoop) -> ConnectionTransport:
    """Return the transport of a protocol."""
    make_feed = getattr(conn, "protocol_feed", None)  # of connections in compiled code
    return ConnectionTransport(conn, loop) if make_feed is None else FedTransport(conn, loop, make_feed)


class FedTransport(ConnectionTransport):
    """As its base, which does what is rare: bytes that come while its task waits for nothing else go past the task.

    Args:
        conn: The connection.
        loop: The loop that runs.
        make_feed: Makes what hands them over, and writes, for a transport.
    """

    __slots__ = ("write",)  # until the end, that of the feed: found faster here than among the other attributes

    def __init__(self, conn: Connection[bytes], loop: asyncio.AbstractEventLoop, make_feed: Any) -> None:
        super().__init__(conn, loop)
        self._feed = feed = make_feed(self)
        self.write = feed.write  # type: ignore[method-assign]  # the same, compiled
        self._receive_once = feed.receive

    def __getattr__(self, name: str) -> Any:
        """Return the base's `write` once the connection is over."""
        if name == "write":
            return partial(ConnectionTransport.write, self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def write_rarely(self, data: Any) -> None:
        """Write what the feed leaves to the base."""
        ConnectionTransport.write(self, data)

    def _tell_feed(self) -> None:
        """Say whom what is read goes to at once: the protocol, or nobody while the task has to look at it first."""
        directly = self._resumed is None and not (self._gives_buffers or self._left)
        self._feed.protocol = self._protocol if directly else None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell another protocol from now on."""
        super().set_protocol(protocol)
        self._tell_feed()

    def pause_reading(self) -> None:
        """Give the protocol nothing until `resume_reading`. The engine reads on as far as its limits let it."""
        super().pause_reading()
        self._tell_feed()

    def resume_reading(self) -> None:
        """Give the protocol what has come, and what comes."""
        super().resume_reading()
        self._tell_feed()

    def _let_go(self) -> None:
        super()._let_go()
        self._feed.let_go()
        del self.write, self._receive_once  # which refer to what refers to this
