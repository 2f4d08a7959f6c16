"""One connection in one group: from its joining to its leaving, by word or by its end."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..address import Kind
from ..core.contract import ConnectionBase
from ..core.send_queue import SendQueue
from ..errors import ClosedError, LocalProtocolError

if TYPE_CHECKING:
    import asyncio

    from .group import Group

M = TypeVar("M")


class Membership(Generic[M]):
    """A connection in a group. ``async with group.join(conn)`` leaves at the end of the block; ``with`` does so, too.

    Attributes:
        conn: The connection.
        active: Whether it is in the group.
        records: Whether its transport keeps the bounds of each message.
        kind: What the other workers know its codec by; None where they know nothing of it.
        kept: What has come while it was held, to be handed over to another worker; None while it is not.
    """

    __slots__ = ("_cursor", "_group", "_slow", "active", "conn", "kept", "kind", "records", "waiting")

    def __init__(self, group: Group[M], conn: ConnectionBase[Any]) -> None:
        self._group = group
        self.conn = conn
        self.active = True
        self.records = conn.local.kind is not Kind.STREAM
        self.waiting: SendQueue | None = None  # as long as nothing ever did
        self._slow: Collection[int] = ()
        self.kind: tuple[str, bool] | None = None
        self.kept: list[tuple[bytes, Any, Hashable]] | None = None
        self._cursor: Mapping[int, int] = {}

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
    def group_name(self) -> str:
        """What its group is called."""
        return self._group.name

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its server."""
        loop: asyncio.AbstractEventLoop = self.conn.server.loop
        return loop

    @property
    def takes_its_time(self) -> bool:
        """Whether what comes cannot be sent at once: something waits for it, or it is held."""
        return bool(self.waiting) or self.kept is not None

    @property
    def is_slow(self) -> bool:
        """Whether its peer is owed more than its high watermark, and has not read down to the low one since."""
        return self.conn.id in self._slow

    def queue(self) -> SendQueue:
        """Return what waits for its peer to read again, to put something there."""
        if self.waiting is None:
            self.waiting = SendQueue()
        return self.waiting

    def place(self, app: Any) -> Sequence[Any] | None:
        """Say what it is in words that another process of the application knows; None for a group that has no such.

        From now on what is published is kept, until it `stays`: where the group spans the workers, the next process has
        it, too, and delivers what has not been delivered here.
        """
        name = self._group.name
        if app is None or not app.has_group(name, self._group):
            return None
        if self.kept is None:
            cursor = self._group.keep_for(self)
            if cursor is None:
                return "group", name
            self._cursor = cursor
        place = "group", name, sorted(self._cursor.items())
        if not self.waiting:
            return place
        from ..core.handover.snapshot import names_as_told  # noqa: PLC0415  # few servers hand anything over

        data, frames, keys = self.waiting.told()
        names = names_as_told(keys)
        return *place, data, frames, *([names] if names else [])

    def stays(self) -> None:
        """It does not move: deliver what was kept."""
        self._group.deliver_kept(self)

    def take_waiting(self) -> bytes:
        """Give away what waits for its peer to read again: whole frames."""
        return self._group.give_away(self)

    def codec_changed(self) -> None:
        """Its connection speaks another codec."""
        self._group.codec_changed(self)

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
