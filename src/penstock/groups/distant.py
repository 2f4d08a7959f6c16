"""A connection of another worker, found in a registry by its key."""

from __future__ import annotations

from collections.abc import Awaitable, Hashable
from typing import Any, Protocol


class Carrier(Protocol):
    """What has requests done where the connection is."""

    def ask(self, conn: DistantConnection, message: Any, timeout_s: float | None, /) -> Awaitable[Any]:
        """As `DistantConnection.request`."""

    def tell(self, conn: DistantConnection, message: Any, /) -> None:
        """As `DistantConnection.post`."""

    def end(self, conn: DistantConnection, /) -> None:
        """As `DistantConnection.close`."""


class DistantConnection:
    """A connection that another worker of the server has: what a registry finds where the key is held there.

    It stands for whatever connection has the key when it is used, also where that has moved to another worker since.
    Messages are plain data, `msgspec.Struct` or dataclasses; a tuple in another one arrives as a list.

    Attributes:
        registry: The name of the registry.
        key: The key.
        worker: The number of the worker that had it when it was found.
    """

    __slots__ = ("_carrier", "key", "registry", "worker")

    def __init__(self, carrier: Carrier, registry: str, key: Hashable, worker: int) -> None:
        self._carrier = carrier
        self.registry = registry
        self.key = key
        self.worker = worker

    def __repr__(self) -> str:
        return f"<DistantConnection {self.key!r} in {self.registry}: worker {self.worker}>"

    async def request(self, message: Any, timeout_s: float | None = None) -> Any:
        """Send one message; return the reply to it, as `Connection.request` does in the worker that has it.

        It is sent once at most, and answered once, or fails. Cancelling is safe: the reply is dropped when it comes.

        Args:
            message: What to send.
            timeout_s: How long to wait for the reply, the way to the other worker included; None for as long as the
                connection's own timeouts allow.

        Raises:
            LocalProtocolError, TypeError, QueueFullError, EndOfStreamError, BrokenError: As `Connection.request`.
                Nothing was sent.
            ClosedError: Nobody has the key any more. Nothing was sent.
            TimeoutError: ``timeout_s`` passed.
            RequestLostError: The connection has ended before the reply came, or the worker that has it has. Whether it
                was done is unknown. With the reason ``codec_error``: the codec has failed there; or the reply cannot be
                told to another worker, or is of a class that this one does not know, as ``__cause__`` says then. With
                ``handler_error``: what was raised there is an error of your own code.
        """
        return await self._carrier.ask(self, message, timeout_s)

    def post(self, message: Any) -> None:
        """Have the other worker queue one message; never wait. What comes of it there is not told.

        Raises:
            LocalProtocolError: It is nothing that can be told to another worker.
            QueueFullError: That worker is too far behind. Nothing was sent.
            ClosedError: Nobody has the key any more.

        Safe from every thread.
        """
        self._carrier.tell(self, message)

    def close(self) -> None:
        """Have the other worker close it, as `Connection.close`. May be repeated. Safe from every thread."""
        self._carrier.end(self)
