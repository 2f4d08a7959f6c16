"""Coroutine functions of a stream: anyio's `SocketStream`, with the names that trio has for the same beside them.

Only what is told to serve one imports this, for it needs anyio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
from anyio.abc import SocketStream
from anyio.lowlevel import checkpoint_if_cancelled

from ..core.contract import Connection
from ..core.handlers import ConnectionHandler
from ..core.service import Service
from ..core.signatures import is_async, name_of, positional, summary_of
from ..core.turns import turn_of
from ..errors import ApplicationError, BrokenError, ClosedError, EndOfStreamError, LocalProtocolError
from .sockets import CODEC, TransportSocket
from .without import OF_BYTES


class EndedError(EndOfStreamError, anyio.EndOfStream):
    """The peer sent EOF, or the server drains, as a program of anyio expects to be told."""


class LostStreamError(BrokenError, anyio.BrokenResourceError):
    """The connection is gone, as a program of anyio expects to be told."""


class ClosedStreamError(ClosedError, anyio.ClosedResourceError):
    """It was closed here, as a program of anyio expects to be told."""


def of_stream(function: Any, name: str) -> Service[bytes]:
    """Make a service of ``async def f(stream)``, as `anyio.abc.SocketListener.serve` takes it.

    Raises:
        ApplicationError: It is no coroutine function, or takes other arguments.
    """
    positional(function, "a handler of a stream takes one argument, the stream", 1)
    if not is_async(function):
        raise ApplicationError(f"{name_of(function)} is def: a handler of a stream is async def")
    return Service(
        name=name or name_of(function),
        handler=ConnectionHandler(partial(_serve, function), is_async=True),
        codec=CODEC,
        summary=summary_of(function),
        written_for="anyio streams",
        without=OF_BYTES,
    )


async def _serve(function: Any, conn: Connection[bytes]) -> None:
    await function(ConnectionStream(conn))


@contextmanager
def _as_anyio() -> Iterator[None]:
    """Have the end of a connection be what anyio calls it."""
    try:
        yield
    except BrokenError as error:
        raise LostStreamError(error.reason) from error
    except ClosedError as error:
        raise ClosedStreamError(str(error)) from error


class ConnectionStream(SocketStream):
    """One connection over `penstock.codecs.Raw`, as a stream of anyio.

    Args:
        conn: The connection.
    """

    def __init__(self, conn: Connection[bytes]) -> None:
        self._conn = conn
        self._turn = turn_of(asyncio.get_running_loop())
        self._rest = memoryview(b"")  # received and not asked for
        self._ended = False

    @property
    def _raw_socket(self) -> Any:
        return TransportSocket(self._conn)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what there is, at most ``max_bytes``, or wait.

        Raises:
            EndedError: The peer sent EOF, or the server drains.
            LostStreamError: The connection is gone.
            ClosedStreamError: It was closed here.
            anyio.BusyResourceError: Another task is receiving.
        """
        await checkpoint_if_cancelled()
        await self._turn.take()
        if not self._rest:
            self._rest = memoryview(await self._receive())
        data = bytes(self._rest[:max_bytes])
        self._rest = self._rest[len(data) :]
        return data

    async def _receive(self) -> bytes:
        if self._ended:
            raise EndedError
        try:
            with _as_anyio():
                return await self._conn.receive()
        except EndOfStreamError as error:
            self._ended = True
            raise EndedError from error
        except LocalProtocolError as error:
            raise anyio.BusyResourceError("reading from") from error

    async def send(self, item: bytes | bytearray | memoryview) -> None:
        """Send all of it; return once the peer is not owed too much.

        Raises:
            LostStreamError: The connection is gone, or the peer did not read in time.
            ClosedStreamError: It was closed here, or this direction was ended.
        """
        await checkpoint_if_cancelled()
        with _as_anyio():
            await self._conn.send(bytes(item))

    async def send_eof(self) -> None:
        """End this direction; the peer may go on."""
        self._conn.send_eof()

    async def aclose(self) -> None:
        """Close: what was sent arrives first."""
        self._conn.close()

    # -- as trio calls it ----------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive as `receive` does; return b"" at the end."""
        try:
            return await self.receive(65536 if max_bytes is None else max_bytes)
        except anyio.EndOfStream:
            return b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send as `send` does."""
        await self.send(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the peer is not owed too much.

        Raises:
            LostStreamError, ClosedStreamError: As of `send`.
        """
        await checkpoint_if_cancelled()
        with _as_anyio():
            await self._conn.wait_writable()
