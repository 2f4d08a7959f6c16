"""One connection in one group: from its joining to its leaving, by word or by its end."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..address import Kind
from ..codecs.base import Codec
from ..core.contract import ConnectionBase
from ..core.send_queue import SendQueue
from ..errors import ClosedError, LocalProtocolError, PenstockError

if TYPE_CHECKING:
    import asyncio

    from .group import Group

M = TypeVar("M")


class Membership(Generic[M]):
    """A connection in a group. ``async with group.join(conn)`` leaves at the end of the block; ``with`` does so, too.

    Attributes:
        conn: The connection.
        active: Whether it is in the group.
    """

    __slots__ = ("_group", "_slow", "active", "conn", "records", "waiting")

    def __init__(self, group: Group[M], conn: ConnectionBase[Any]) -> None:
        self._group = group
        self.conn = conn
        self.active = True
        self.records = conn.local.kind is not Kind.STREAM
        self.waiting: SendQueue | None = None  # as long as nothing ever did
        self._slow: Collection[int] = ()

    def attach(self) -> None:
        """Hear of the connection's end, and of its peer's reading again.

        Raises:
            LocalProtocolError: It is a client's connection, or stands for a datagram: nobody would tell of its end.
            ClosedError: It is closing already.
        """
        server = self.conn.server
        if server is None or self.conn.is_datagram:
            what = "a datagram" if self.conn.is_datagram else "a client's connection"
            raise LocalProtocolError(f"{what} cannot be in a group: only connections of a server can")
        if not server.when_closed(self.conn, self.leave, self._resume):
            raise ClosedError("the connection is closing: it joins no group")
        self._slow = server.slow_connections

    def detach(self) -> None:
        """Hear no more."""
        self.conn.server.forget_closed(self.conn, self.leave, self._resume)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its server."""
        loop: asyncio.AbstractEventLoop = self.conn.server.loop
        return loop

    @property
    def is_slow(self) -> bool:
        """Whether its peer is owed more than its high watermark, and has not read down to the low one since."""
        return self.conn.id in self._slow

    def queue(self) -> SendQueue:
        """Return what waits for its peer to read again, to put something there."""
        if self.waiting is None:
            self.waiting = SendQueue()
        return self.waiting

    def place(self, app: Any) -> tuple[str, str] | None:
        """Say what it is in words that another process of the application knows; None for a group that has no such."""
        name = self._group.name
        return ("group", name) if app is not None and app.has_group(name, self._group) else None

    def take_waiting(self) -> bytes:
        """Give away what waits for its peer to read again: whole frames."""
        return self._group.give_away(self)

    def leave(self) -> None:
        """Leave the group. May be repeated."""
        self._group.leave(self)

    def _resume(self) -> None:
        if self.waiting:
            self._group.resume(self)

    def __enter__(self) -> Group[M]:
        return self._group

    def __exit__(self, *exc_info: object) -> None:
        self.leave()

    async def __aenter__(self) -> Group[M]:
        return self._group

    async def __aexit__(self, *exc_info: object) -> None:
        self.leave()


class Frames:
    """One message, encoded once for each codec and kind of transport that members have.

    Args:
        message: The message.
    """

    __slots__ = ("_frames", "_message", "size")

    def __init__(self, message: Any) -> None:  # Any: of whatever codec
        self._message = message
        self.size = 0  # of the frame that was made last
        self._frames: dict[tuple[int, bool], tuple[Codec[Any], bytes]] = {}

    def of(self, member: Membership[Any]) -> bytes:
        """Return the frame for a member.

        Raises:
            LocalProtocolError, TypeError, CodecError: Its codec refuses the message, or fails at it.
        """
        codec = member.conn.codec
        key = id(codec), member.records
        found = self._frames.get(key)
        if found is None:  # with the codec, which so keeps its id
            found = self._frames[key] = codec, member.conn.frame(self._message)
            self.size = len(found[1])
        return found[1]


class JoinedFrames:
    """Several messages, framed and joined once for each codec.

    Args:
        parts: Each message.
    """

    __slots__ = ("_joined", "parts")

    def __init__(self, parts: Sequence[Frames]) -> None:
        self.parts = parts
        self._joined: dict[int, tuple[Codec[Any], bytes]] = {}

    def of(self, member: Membership[Any]) -> bytes:
        """Return the frames for a member; nothing where they have to be sent one by one.

        That is where its codec refuses one, its transport keeps the bounds of each, or its policy gives up some.
        """
        conn: Any = member.conn
        if member.records or conn.slow_consumer != "disconnect":
            return b""
        found = self._joined.get(id(conn.codec))
        if found is None:
            try:
                joined = b"".join([part.of(member) for part in self.parts])
            except (PenstockError, TypeError):
                joined = b""
            found = self._joined[id(conn.codec)] = conn.codec, joined
        return found[1]
