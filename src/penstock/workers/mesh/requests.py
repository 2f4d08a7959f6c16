"""Requests to a connection that another worker has: asked here, done there, answered once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ... import errors
from ...core.handover import key_of
from ...errors import (
    BrokenError,
    ClosedError,
    ConnectionEndedError,
    EndOfStreamError,
    LocalProtocolError,
    PenstockError,
    QueueFullError,
    RemoteProtocolError,
    RequestLostError,
    SlowPeerError,
)
from ...groups.distant import DistantConnection
from ...reasons import CloseReason
from .frames import Dropped, Reply, Request, encoded
from .link import Link
from .values import packed, unpacked

if TYPE_CHECKING:
    from .mesh import Mesh

# In place of an error: the key is not held there, and nothing was done.
_GONE: Final = "gone"
# Likewise: it was done, and its reply cannot be told.
_UNTOLD: Final = "untold"

# A key may move once more while it is looked for.
_PLACES: Final = 3

_BUILTIN: Final = {kind.__name__: kind for kind in (TimeoutError, TypeError)}


class Requests:
    """Both ends: what is asked of others, and what they ask.

    Args:
        mesh: Whose links are used.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Link, asyncio.Future[Reply]]] = {}
        self._served: dict[tuple[int, int], asyncio.Task[None]] = {}

    # -- asking --------------------------------------------------------------------------------------------------------

    async def ask(self, conn: DistantConnection, message: Any, timeout_s: float | None, /) -> Any:
        """As `DistantConnection.request`."""
        told = packed(message)
        async with asyncio.timeout(timeout_s):
            for _ in range(_PLACES):
                link = self._mesh.link(conn.worker)
                if link is not None:
                    reply = await self._ask(link, conn, told, timeout_s)
                    if reply.error != _GONE:
                        return _result_of(reply)
                # Nothing was sent: another worker has the key by now, or this one.
                found = self._found_again(conn)
                if not isinstance(found, DistantConnection):
                    return await found.request(message, timeout_s)
                conn = found
            raise _no_key(conn)

    async def _ask(
        self, link: Link, conn: DistantConnection, told: tuple[str, bytes], timeout_s: float | None
    ) -> Reply:
        number = next(self._numbers)
        if not self._queue(link, Request(number, conn.registry, conn.key, "request", told, timeout_s)):
            return Reply(number, error=_GONE)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[number] = link, answer
        try:
            return await answer
        finally:
            del self._asked[number]
            if not answer.done() or answer.cancelled():
                # Where this task is collected the thread may be anywhere, and in the link itself.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(link.say, Dropped(number))

    def tell(self, conn: DistantConnection, message: Any, /) -> None:
        """As `DistantConnection.post`."""
        told = packed(message)
        self._tell(conn, Request(0, conn.registry, conn.key, "post", told), lambda found: found.post(message))

    def end(self, conn: DistantConnection, /) -> None:
        """As `DistantConnection.close`."""
        with suppress(ClosedError):
            self._tell(conn, Request(0, conn.registry, conn.key, "close"), lambda found: found.close(), may_drop=False)

    def _tell(
        self, conn: DistantConnection, said: Request, do: Callable[[Any], object], *, may_drop: bool = True
    ) -> None:
        """Say what has no answer where the key is; ``do`` it where that is this worker by now."""
        for _ in range(_PLACES):
            link = self._mesh.link(conn.worker)
            if link is not None and self._queue(link, said, may_drop=may_drop):
                return
            found = self._found_again(conn)
            if not isinstance(found, DistantConnection):
                if asyncio._get_running_loop() is self._loop:  # noqa: SLF001  # the public one raises where there is none
                    do(found)
                else:
                    self._loop.call_soon_threadsafe(_quietly, do, found)
                return
            conn = found
        raise _no_key(conn)

    def _queue(self, link: Link, said: Request, *, may_drop: bool = True) -> bool:
        """Say something to a worker; return False where that has ended."""
        if not link.queue(encoded(said), may_drop=may_drop):
            if not link.is_open:
                return False
            raise QueueFullError(f"the worker that has the key {said.key!r} is too far behind")
        self._mesh.flush_soon(link)
        return True

    def _found_again(self, conn: DistantConnection) -> Any:
        """Return the connection that has a key by now, wherever it is.

        Raises:
            ClosedError: None has it.
        """
        registry = self._mesh.registry(conn.registry)
        found = None if registry is None else registry.here(conn.key)
        if found is not None:
            return found
        elsewhere = self._mesh.find_named(conn.registry, conn.key)
        if not elsewhere:
            raise _no_key(conn)
        return max(elsewhere, key=lambda each: each[0])[1]

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

    def serve(self, link: Link, asked: Request) -> None:
        """Do what another worker asks for, in the loop's next turn: all of it in the order in which it has come."""
        if asked.verb == "request":
            key = link.number, asked.number
            task = self._loop.create_task(self._serve(link, asked), name="penstock-request")
            self._served[key] = task
            task.add_done_callback(lambda _: self._served.pop(key, None))
        else:
            self._loop.call_soon(self._do, asked)

    def _do(self, asked: Request) -> None:
        """Do what has no answer. What comes of it is not told."""
        conn = self._here(asked)
        if conn is None:
            self._pass_on(asked)
            return
        with suppress(PenstockError, TypeError):
            if asked.verb == "post":
                conn.post(unpacked(asked.message))
            elif asked.verb == "close":
                conn.close()

    def _here(self, asked: Request) -> Any:
        registry = self._mesh.registry(asked.registry)
        return None if registry is None else registry.here(key_of(asked.key))

    def _pass_on(self, asked: Request) -> None:
        """The key has moved since another worker looked: say it there, once."""
        if asked.is_passed_on:
            return
        found = self._mesh.find_named(asked.registry, key_of(asked.key))
        for _, conn in sorted(found, key=lambda each: each[0])[-1:]:
            link = self._mesh.link(conn.worker)
            if link is not None:
                with suppress(QueueFullError):
                    said = msgspec.structs.replace(asked, is_passed_on=True)
                    self._queue(link, said, may_drop=asked.verb != "close")

    async def _serve(self, link: Link, asked: Request) -> None:
        conn = self._here(asked)
        if conn is None:
            link.say(Reply(asked.number, error=_GONE))
            return
        try:
            message = unpacked(asked.message)
            result = await conn.request(message, asked.timeout_s)
        except Exception as error:
            reason = getattr(error, "reason", "")
            link.say(Reply(asked.number, error=_name_of(error), problem=str(error), reason=str(reason)))
            return
        try:
            reply = Reply(asked.number, packed(result))
        except LocalProtocolError as error:  # it was done: the asker must not take it for refused
            reply = Reply(asked.number, error=_UNTOLD, problem=str(error))
        link.say(reply)

    def drop(self, link: Link, number: int) -> None:
        """An answer is not wanted any more."""
        task = self._served.get((link.number, number))
        if task is not None:
            task.cancel()


def _quietly(do: Callable[[Any], object], conn: Any) -> None:
    with suppress(PenstockError, TypeError):
        do(conn)


def _no_key(conn: DistantConnection) -> ClosedError:
    return ClosedError(f"no connection has the key {conn.key!r} any more")


def _name_of(error: Exception) -> str:
    """Return the name of the nearest class of an error that every worker can make again."""
    for kind in type(error).__mro__:
        if getattr(errors, kind.__name__, None) is kind or _BUILTIN.get(kind.__name__) is kind:
            return kind.__name__
    return "Exception"


def _result_of(reply: Reply) -> Any:
    """Return the reply that was told.

    Raises:
        Exception: In its place an error was; or it is one that is not known here.
    """
    if reply.error == _UNTOLD:
        raise RequestLostError(CloseReason.CODEC_ERROR) from LocalProtocolError(reply.problem)
    if reply.error:
        raise _error_of(reply)
    try:
        return unpacked(reply.message)
    except (LocalProtocolError, msgspec.DecodeError) as error:
        raise RequestLostError(CloseReason.CODEC_ERROR) from error  # for it was done


def _error_of(reply: Reply) -> Exception:
    """Return what was raised in the other worker, as far as it can be made again.

    What is not known to be raised before a request is sent is a `RequestLostError`: it may have been done.
    """
    kind: Any = _BUILTIN.get(reply.error) or getattr(errors, reply.error, None)
    if not isinstance(kind, type):  # of the user's code, as of a codec
        return RequestLostError(CloseReason.HANDLER_ERROR)
    for like in (TimeoutError, TypeError):
        if issubclass(kind, like):
            return like(reply.problem)
    reason = CloseReason(reply.reason) if reply.reason in set(CloseReason) else CloseReason.NETWORK
    for broken in (RequestLostError, SlowPeerError, BrokenError):
        if issubclass(kind, broken):
            return broken(reason)
    for refused in (EndOfStreamError, ClosedError, ConnectionEndedError, QueueFullError, LocalProtocolError):
        if issubclass(kind, refused):
            return refused(reply.problem)
    if issubclass(kind, errors.CodecError | RemoteProtocolError):
        return RequestLostError(reason)
    return RequestLostError(CloseReason.HANDLER_ERROR)
