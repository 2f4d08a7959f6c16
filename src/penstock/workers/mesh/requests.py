"""Requests to a connection that another worker has: asked here, done there, answered once."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ... import errors
from ...errors import (
    BrokenError,
    ClosedError,
    EndOfStreamError,
    LocalProtocolError,
    PenstockError,
    QueueFullError,
    RequestLostError,
)
from ...groups.distant import DistantConnection
from ...groups.registry import Registry
from ...reasons import CloseReason
from .frames import Dropped, Reply, Request, encoded
from .link import Link
from .values import key_of, packed, unpacked

if TYPE_CHECKING:
    from .mesh import Mesh

# In place of an error: the key is not held there, and nothing was done.
_GONE: Final = "gone"


class Requests:
    """Both ends: what is asked of others, and what they ask.

    Args:
        mesh: Whose links are used.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Link, asyncio.Future[Reply]]] = {}
        self._served: dict[tuple[int, int], asyncio.Task[None]] = {}

    # -- asking --------------------------------------------------------------------------------------------------------

    async def ask(self, conn: DistantConnection, message: Any, timeout_s: float | None, /) -> Any:
        """As `DistantConnection.request`."""
        told = packed(message)
        async with asyncio.timeout(timeout_s):
            reply = await self._ask(conn, told, timeout_s)
            if reply.error == _GONE:  # nothing was sent: its connection may have moved to another worker meanwhile
                found = self._found_again(conn)
                if not isinstance(found, DistantConnection):
                    return await found.request(message, timeout_s)
                reply = await self._ask(found, told, timeout_s)
        if reply.error:
            raise _error_of(reply)
        return unpacked(reply.message)

    async def _ask(self, conn: DistantConnection, told: tuple[str, bytes], timeout_s: float | None) -> Reply:
        number = next(self._numbers)
        link = self._send(Request(number, conn.registry, conn.key, "request", told, timeout_s), conn)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = link, answer
        try:
            return await answer
        finally:
            del self._asked[number]
            if not answer.done() or answer.cancelled():
                link.say(Dropped(number))

    def _found_again(self, conn: DistantConnection) -> Any:
        registry = self._mesh.registry(conn.registry)
        found = None if registry is None else registry.get(conn.key)
        if found is None:
            raise ClosedError(f"no connection has the key {conn.key!r} any more")
        return found

    def tell(self, conn: DistantConnection, message: Any, /) -> None:
        """As `DistantConnection.post`."""
        self._send(Request(0, conn.registry, conn.key, "post", packed(message)), conn)

    def end(self, conn: DistantConnection, /) -> None:
        """As `DistantConnection.close`."""
        with suppress(ClosedError):
            self._send(Request(0, conn.registry, conn.key, "close"), conn, may_drop=False)

    def _send(self, request: Request, conn: DistantConnection, *, may_drop: bool = True) -> Link:
        link = self._mesh.link(conn.worker)
        if link is None:
            raise ClosedError(f"the worker that had the key {conn.key!r} has ended")
        if not link.queue(encoded(request), may_drop=may_drop):
            if not link.is_open:
                raise ClosedError(f"the worker that had the key {conn.key!r} has ended")
            raise QueueFullError(f"the worker that has the key {conn.key!r} is too far behind")
        self._mesh.flush_soon(link)
        return link

    def answered(self, reply: Reply) -> None:
        """An answer has come; to what is not asked any more there is none to give it to."""
        found = self._asked.get(reply.number)
        if found is not None and not found[1].done():
            found[1].set_result(reply)

    def lost(self, link: Link) -> None:
        """A worker has ended: it answers nothing any more, and wants no answer."""
        for asked, answer in self._asked.values():
            if asked is link and not answer.done():
                answer.set_exception(RequestLostError(CloseReason.NETWORK))
        for (number, _), task in list(self._served.items()):
            if number == link.number:
                task.cancel()

    def close(self) -> None:
        """This worker ends."""
        for _, answer in self._asked.values():
            if not answer.done():
                answer.set_exception(RequestLostError(CloseReason.STOPPED))
        for task in self._served.values():
            task.cancel()

    # -- being asked ---------------------------------------------------------------------------------------------------

    def serve(self, link: Link, asked: Request, registry: Registry[Any] | None) -> None:
        """Do what another worker asks for."""
        conn = None if registry is None else registry.here(key_of(asked.key))
        if conn is None:
            if asked.number:
                link.say(Reply(asked.number, error=_GONE))
            return
        if asked.verb == "request":
            key = link.number, asked.number
            task = asyncio.get_running_loop().create_task(self._serve(link, asked, conn), name="penstock-request")
            self._served[key] = task
            task.add_done_callback(lambda _: self._served.pop(key, None))
            return
        with suppress(PenstockError, TypeError):  # what comes of it is not told
            if asked.verb == "post":
                conn.post(unpacked(asked.message))
            elif asked.verb == "close":
                conn.close()

    async def _serve(self, link: Link, asked: Request, conn: Any) -> None:
        try:
            message = unpacked(asked.message)
            reply = Reply(asked.number, packed(await conn.request(message, asked.timeout_s)))
        except Exception as error:
            reason = getattr(error, "reason", "")
            reply = Reply(asked.number, error=type(error).__name__, problem=str(error), reason=str(reason))
        link.say(reply)

    def drop(self, link: Link, number: int) -> None:
        """An answer is not wanted any more."""
        task = self._served.get((link.number, number))
        if task is not None:
            task.cancel()


def _error_of(reply: Reply) -> Exception:
    """Return what was raised in the other worker, as far as it can be made again."""
    if reply.error == _GONE:
        return ClosedError("no connection has the key any more")
    if reply.error == "TimeoutError":
        return TimeoutError(reply.problem)
    if reply.error == "TypeError":
        return TypeError(reply.problem)
    kind = getattr(errors, reply.error, None)
    if not isinstance(kind, type):  # of the user's code, as of a codec: the request may have been sent
        return RequestLostError(CloseReason.HANDLER_ERROR)
    if issubclass(kind, BrokenError):
        reason = CloseReason(reply.reason) if reply.reason in set(CloseReason) else CloseReason.NETWORK
        return RequestLostError(reason) if kind is RequestLostError else BrokenError(reason)
    for like in (EndOfStreamError, ClosedError, QueueFullError):
        if issubclass(kind, like):
            return like(reply.problem)
    return LocalProtocolError(reply.problem)
