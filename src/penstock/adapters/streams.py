"""Callbacks of `asyncio.start_server`: a reader and a writer for each connection.

The reader is asyncio's own, and takes what it lacks from the connection at the moment when somebody waits for it: no
task stands between the two.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from ..core.contract import Connection
from ..core.handlers import ConnectionHandler
from ..core.service import Service
from ..core.signatures import name_of, positional, summary_of
from ..core.turns import turn_of
from ..errors import BrokenError, ClosedError, ConnectionEndedError, EndOfStreamError
from .sockets import CODEC, LostError
from .transport import ConnectionTransport, loss_of
from .without import OF_BYTES


def of_streams(function: Callable[..., Any], name: str) -> Service[bytes]:
    """Make a service of ``f(reader, writer)``, as `asyncio.start_server` takes it: ``async def``, or ``def``.

    Raises:
        ApplicationError: It takes other arguments.
    """
    positional(function, "a callback of streams takes (reader, writer)", 2)
    return Service(
        name=name or name_of(function),
        handler=ConnectionHandler(partial(_serve, function), is_async=True),
        codec=CODEC,
        summary=summary_of(function),
        written_for="asyncio streams",
        without=OF_BYTES,
    )


async def _serve(function: Callable[..., Any], conn: Connection[bytes]) -> None:
    try:
        await _call(function, conn)
    except LostError:
        if conn.close_reason is None:
            raise  # another connection's
    # What kept the writer closes it, also after the function has returned; with the last of them it closes itself.
    await conn.wait_closed()


async def _call(function: Callable[..., Any], conn: Connection[bytes]) -> None:
    loop = asyncio.get_running_loop()
    transport = StreamsTransport(conn, loop)
    reader = ConnectionReader(conn, loop)
    flow: Any = _Flow(transport, conn)
    writer = ConnectionWriter(transport, flow, reader, loop, conn)
    answer = function(reader, writer)
    if inspect.isawaitable(answer):
        await answer


class StreamsTransport(ConnectionTransport):
    """A writer's transport: nothing pumps what comes, so no TLS can be begun over it."""

    _start_tls_compatible = False

    def write(self, data: Any) -> None:
        """As any transport's; nobody is told to pause."""
        if type(data) is bytes and data and not self._eof and not self._left:
            try:  # `suppress` would cost as much as the rest
                self._conn.post(data)
            except ConnectionEndedError:
                return  # reading tells why
        else:
            super().write(data)

    def _pause_writing(self) -> None:
        """Do nothing: who writes asks by `drain`."""

    def pause_reading(self) -> None:
        """Do nothing: what nobody waits for is not read."""


class ConnectionReader(asyncio.StreamReader):
    """A reader that receives from a connection what it is asked for.

    Args:
        conn: The connection, which speaks `CODEC`.
        loop: The loop that runs.
    """

    def __init__(self, conn: Connection[bytes], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._buffer: bytearray  # these are asyncio's
        self._eof: bool
        self._limit: int
        self._exception: BaseException | None
        self._conn = conn
        self._receiving = False
        self._turn = turn_of(loop)

    # What is buffered, and the end, is returned at once: law 12. What can be served from what is there, or from what
    # comes next, is served in place. The rest, errors and long ones, is served by asyncio's reader. Each counts its
    # turn in place, as `Turn.take` does: a coroutine more would cost as much as the method.

    async def readline(self) -> bytes:
        """As asyncio's."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        if self._is_asked_for_more():
            await self._wait_for_data("readline")
        return self._take_until(b"\n") or await super().readline()

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        """As asyncio's."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        if type(separator) is bytes and separator:
            if self._is_asked_for_more():
                await self._wait_for_data("readuntil")
            if found := self._take_until(separator):
                return found
        return await super().readuntil(separator)

    async def readexactly(self, n: int) -> bytes:
        """As asyncio's."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        if n > 0 and self._is_asked_for_more():
            await self._wait_for_data("readexactly")
        if 0 < n <= len(self._buffer) and self._exception is None:
            return self._take(n)
        return await super().readexactly(n)

    async def read(self, n: int = -1) -> bytes:
        """As asyncio's."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        if n > 0 and self._is_asked_for_more():
            await self._wait_for_data("read")
        if n > 0 and self._buffer and self._exception is None:
            return self._take(n)
        return await super().read(n)

    def _is_asked_for_more(self) -> bool:
        return not (self._buffer or self._eof or self._exception is not None)

    def _take_until(self, separator: bytes) -> bytes:
        """Take what there is to the end of the next separator; nothing where that is not there, or too far."""
        found: int = self._buffer.find(separator)
        if found < 0 or found > self._limit or self._exception is not None:
            return b""
        return self._take(found + len(separator))

    def _take(self, size: int) -> bytes:
        buffer = self._buffer
        if size >= len(buffer):
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[:size])
            del buffer[:size]
        return data

    async def _wait_for_data(self, func_name: str) -> None:
        """Receive once: what all methods of a reader that wait are made of."""
        if self._receiving:
            raise RuntimeError(f"{func_name}() called while another coroutine is already waiting for incoming data")
        self._receiving = True
        try:
            self._buffer += await self._conn.receive()
        except EndOfStreamError:
            self.feed_eof()
        except BrokenError as error:
            lost = loss_of(self._conn)
            if lost is None:
                self.feed_eof()
            else:
                self.set_exception(lost)
                raise lost from error
        except ClosedError:
            self.feed_eof()  # as asyncio, when the writer was closed
        finally:
            self._receiving = False


class ConnectionWriter(asyncio.StreamWriter):
    """A writer; the connection closes with the last reference to it."""

    def __init__(
        self, transport: StreamsTransport, flow: Any, reader: ConnectionReader, loop: Any, conn: Connection[bytes]
    ) -> None:
        super().__init__(transport, flow, reader, loop)
        self.write = transport.write  # type: ignore[method-assign]  # as asyncio's, with a call less
        self._conn: Any = conn
        self._turn = turn_of(loop)

    async def drain(self) -> None:
        """As asyncio's, which does not wait where there is room, nor where the connection was lost: law 12."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        conn = self._conn
        if conn.output_paused or conn.close_reason is not None or self._transport.is_closing():  # type: ignore[attr-defined]
            await super().drain()

    def __del__(self) -> None:
        if not self._transport.is_closing():  # type: ignore[attr-defined]
            self.close()


class _Flow:
    """What a writer asks of its protocol: to wait until the peer has read, and for the end."""

    _client_connected_cb = True  # of a server

    def __init__(self, transport: StreamsTransport, conn: Connection[bytes]) -> None:
        self._transport = transport
        self._conn = conn

    async def _drain_helper(self) -> None:
        had_to_wait = self._conn.output_paused  # type: ignore[attr-defined]  # of every engine
        goes_on = await self._transport.wait_sunk()
        lost = loss_of(self._conn)
        if lost is not None:
            raise lost
        if not goes_on and not had_to_wait:  # it was over before; one that ends well meanwhile ends the wait
            raise ConnectionResetError("Connection lost")

    async def _wait_closed(self) -> None:
        await self._conn.wait_closed()
        if (lost := loss_of(self._conn)) is not None:
            raise lost

    def _get_close_waiter(self, stream: asyncio.StreamWriter) -> Any:
        return self._wait_closed()
