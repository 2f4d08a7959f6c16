"""Readers of asyncio's streams that take what they lack from a connection at the moment when somebody waits for it.

No task stands between the two. On the native engine what is common is done in compiled code.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any, Final

from ..core.contract import Connection
from ..core.turns import turn_of
from ..errors import BrokenError, ClosedError, EndOfStreamError, LocalProtocolError
from .transport import loss_of

LIMIT_BYTES: Final = 64 * 1024  # of a line, as `asyncio.start_server` has it


class ConnectionReader(asyncio.StreamReader):
    """A reader that receives from a connection what it is asked for.

    Args:
        conn: The connection, which speaks `CODEC`.
        loop: The loop that runs.
    """

    def __init__(self, conn: Connection[bytes], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(LIMIT_BYTES, loop)
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
        another_waits = f"{func_name}() called while another coroutine is already waiting for incoming data"
        if self._receiving:
            raise RuntimeError(another_waits)
        self._receiving = True
        try:
            self._buffer += await self._conn.receive()
        except LocalProtocolError as error:  # past this reader: in compiled code, or from the connection itself
            raise RuntimeError(another_waits) from error
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


@cache
def fed_reader(feed: Any) -> Any:
    """Return the class of readers whose methods are in compiled code, which has a `ConnectionReader` for what is rare.

    Args:
        feed: The compiled class, which has these methods.
    """

    class FedReader(feed, asyncio.StreamReader):  # type: ignore[misc]
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._transport = self._waiter = None  # these are asyncio's
            self._paused = False

    for name in (
        "_buffer",
        "_eof",
        "_exception",
        "_limit",
    ):  # what asyncio's methods, and those who know it well, look at
        setattr(FedReader, name, _of_rare(name))
    feed.own_methods(FedReader)
    return FedReader


def _of_rare(name: str) -> Any:
    """Return a property that is the rare reader's, which has then what was received."""

    def get(self: Any) -> Any:
        return getattr(self._rarely(), name)

    def put(self: Any, value: Any) -> None:
        setattr(self._rarely(), name, value)
        if name == "_limit":
            self._set_feed_limit(value)

    return property(get, put)
