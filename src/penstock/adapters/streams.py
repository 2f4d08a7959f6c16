"""Callbacks of `asyncio.start_server`: a reader and a writer for each connection."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from ..core.contract import Connection
from ..core.handlers import ConnectionHandler
from ..core.service import Service
from ..core.signatures import name_of, positional, summary_of
from ..core.turns import turn_of
from ..errors import ConnectionEndedError
from .readers import LIMIT_BYTES, ConnectionReader, fed_reader
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
    answer = None
    try:
        answer = function(*_ends_of(conn, asyncio.get_running_loop()))
        if inspect.isawaitable(answer):
            await answer
    except LostError:
        if conn.close_reason is None:
            raise  # another connection's
    # What kept the writer closes it, also after the function has returned; with the last of them it closes itself.
    answer = None
    await conn.wait_closed()


def _ends_of(conn: Connection[bytes], loop: asyncio.AbstractEventLoop) -> tuple[asyncio.StreamReader, ConnectionWriter]:
    """Return the reader and the writer of a connection."""
    transport = StreamsTransport(conn, loop)
    flow: Any = _Flow(transport, conn)
    types = getattr(conn, "stream_types", None)  # of connections in compiled code
    if types is None:
        reader = ConnectionReader(conn, loop)
        writer = ConnectionWriter(transport, flow, reader, loop, conn)
        writer.write = transport.write  # type: ignore[method-assign]  # as asyncio's, with a call less
        return reader, writer
    fed = fed_reader(types[0])(loop)
    writer = _fed_writer(types[1])(transport, flow, fed, loop, conn)
    make_reader = partial(ConnectionReader, conn, loop)
    conn.feed_streams(  # type: ignore[attr-defined]
        fed, writer, LIMIT_BYTES, make_reader, transport, partial(_drain, transport, flow)
    )
    return fed, writer


async def _drain(transport: StreamsTransport, flow: _Flow, reader: asyncio.StreamReader | None) -> None:
    """Wait as `asyncio.StreamWriter.drain` does, for a writer that must not be kept."""
    if reader is not None and (error := reader.exception()) is not None:
        raise error
    if transport.is_closing():
        await asyncio.sleep(0)
    await flow._drain_helper()  # noqa: SLF001 - what a writer asks


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


class ConnectionWriter(asyncio.StreamWriter):
    """A writer; the connection closes with the last reference to it."""

    def __init__(
        self, transport: StreamsTransport, flow: Any, reader: asyncio.StreamReader, loop: Any, conn: Connection[bytes]
    ) -> None:
        super().__init__(transport, flow, reader, loop)
        self._conn: Any = conn
        self._turn = turn_of(loop)

    async def drain(self) -> None:
        """As asyncio's, which does not wait where there is room, nor where the connection was lost: law 12."""
        turn = self._turn
        if turn.left <= 0:
            await turn.end()
        turn.left -= 1
        lost: Any = self._reader.exception()  # type: ignore[attr-defined]
        if self._conn.output_paused or lost is not None or self._transport.is_closing():  # type: ignore[attr-defined]
            await super().drain()

    def __del__(self) -> None:
        if not self._transport.is_closing():  # type: ignore[attr-defined]
            self.close()


@cache
def _fed_writer(sink: Any) -> Any:
    """Return the class of writers whose `write` and `drain` are in compiled code: those of ``sink``."""

    class FedWriter(sink, ConnectionWriter):  # type: ignore[misc]
        pass

    sink.own_methods(FedWriter)
    return FedWriter


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
