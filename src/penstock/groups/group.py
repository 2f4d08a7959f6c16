"""A group: its members get what is published to it, each message once, in one order for all."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar, get_args

from ..core.contract import ConnectionBase
from ..core.handover import key_of
from ..core.send_queue import check_policy
from ..errors import ConfigurationError, LocalProtocolError
from . import elsewhere
from .delivering import Delivering
from .elsewhere import Elsewhere, Scope, check_scope
from .keys import plain_key
from .membership import Membership
from .publication import FramedAlready, Frames, OnSlow, Publication

M = TypeVar("M")

# How many messages may wait for one member that is slow, in a policy that has them wait.
DEFAULT_MAX_WAITING: Final = 256


class Published(NamedTuple):
    """For how many members a message is.

    Attributes:
        here: Members in this process.
        elsewhere: Members in other workers, as far as they have told.
    """

    here: int
    elsewhere: int = 0


class Group(Delivering[M]):
    """Connections that get what is published, in one order for all of them.

    A member leaves by `leave`, at the end of ``async with group.join(conn)``, or by closing. Members may speak several
    codecs: a message is encoded once for each. They may be of several services of one application, on any engine
    and model, in one event loop. All methods may be called from every thread.

    Args:
        name: What it is called.
        max_waiting: How many messages wait for one slow member at most, in the policies that have them wait.
        scope: Whose members it has. ``workers``: those of the groups of this name in all workers of the server; then
            there is one order for what one worker publishes. ``process``: those of this process.

    Attributes:
        name: As above.
        stats: Counts.

    Raises:
        ConfigurationError: ``max_waiting`` is no whole number above 0; ``scope`` is none of these, or there is no name
            by which the workers know the group.
    """

    def __init__(self, name: str = "", *, max_waiting: int = DEFAULT_MAX_WAITING, scope: Scope = "process") -> None:
        if type(max_waiting) is not int or max_waiting < 1:
            raise ConfigurationError(f"max_waiting is {max_waiting!r}: it has to be a whole number above 0")
        self._spans = check_scope(scope, name)
        super().__init__(name, max_waiting)
        self._members: dict[int, Membership[M]] = {}
        self._conns: tuple[ConnectionBase[M], ...] = ()  # of the snapshot

    def __repr__(self) -> str:
        return f"<Group {self.name}: {len(self)} members>"

    # -- who is in it --------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many are in it, in this process."""
        return len(self._members)

    @property
    def elsewhere(self) -> int:
        """How many are in it in the other workers, as far as they have told: what they say comes a moment later."""
        far = self._far
        return 0 if far is None else far.members_of(self.name)

    @property
    def _far(self) -> Elsewhere | None:
        """The other workers; None where there are none, or the group is this process's."""
        return elsewhere.current() if self._spans else None

    def __iter__(self) -> Iterator[ConnectionBase[M]]:
        """Go through the connections that are in it now, in the order in which they joined."""
        return iter([member.conn for member in self._now()])

    def __contains__(self, conn: object) -> bool:
        return getattr(conn, "id", None) in self._members

    def join(self, conn: ConnectionBase[M]) -> Membership[M]:
        """Have a connection hear what is published from now on. One that is in it already stays, as it is.

        Raises:
            LocalProtocolError: It is a client's, stands for a datagram, or belongs to another loop than the others; or
                there is another group of this name that spans the workers.
            ClosedError: It is closing.
        """
        with self._lock:
            known = self._members.get(conn.id)
            if known is not None:
                return known
            member = Membership(self, conn)
            member.attach()
            if self._loop is not member.loop:
                if self._members:
                    member.detach()
                    raise LocalProtocolError("a group is of one event loop, and this connection is of another")
                self._move(member.loop)
            far = self._far
            if far is not None:
                try:
                    far.joined(self, member)
                except BaseException:
                    member.detach()
                    raise
            self._members[conn.id] = member
            self._snapshot, self._conns = None, ()
            return member

    def codec_changed(self, member: Membership[M]) -> None:
        """A member speaks another codec: what others publish is to be encoded by it."""
        far = self._far
        if far is not None and member.active:
            far.codec_changed(member)

    def join_from(
        self,
        conn: ConnectionBase[M],
        cursor: Mapping[int, int] | None,
        data: bytes = b"",
        frames: Sequence[int] = (),
        names: Sequence[tuple[int, Any]] = (),
    ) -> None:
        """Have a connection that comes from the worker before be a member, as it was there.

        Args:
            conn: The connection.
            cursor: What had come for it there, by worker: what has come since is delivered here. None where it was
                delivered there.
            data: What waited there for its peer to read again: it is older than that.
            frames: Of each frame of it the size and the way, as `SendQueue.told` has it.
            names: Of those that a later one may replace, the place and the key.
        """
        far = self._far
        with self._lock:
            member = self.join(conn)
            if frames:
                self.stats.deliveries += len(frames)
                member.queue().recall(data, frames, {place: key_of(key) for place, key in names})
                self._late.add(conn.id)
                self.resume(member)
            if far is not None and cursor is not None:
                far.catch_member_up(self, member, cursor)

    def leave(self, conn: ConnectionBase[M] | Membership[M]) -> None:
        """Have a connection hear no more, not even what was published before and waits. May be repeated."""
        with self._lock:
            member = conn if isinstance(conn, Membership) else self._members.get(conn.id)
            if member is None or not member.active:
                return
            member.active = False
            del self._members[member.conn.id]
            self._snapshot, self._conns = None, ()
            self._late.discard(member.conn.id)
            if member.waiting:
                self.stats.gone += member.waiting.count
                member.waiting.clear()
            if member.kept:
                self.stats.gone += len(member.kept)
                member.kept.clear()
            far = self._far
            if far is not None:
                far.left(self, member)
            member.detach()

    # -- members that move to another worker ---------------------------------------------------------------------------

    def keep_for(self, member: Membership[M]) -> dict[int, int] | None:
        """Deliver no more to a member that is held, and keep it; return what has come for it by now, by worker.

        None where what is published here is known nowhere else: then it is delivered, and follows the member.
        """
        far = self._far
        if far is None:
            return None
        with self._lock:
            cursor = far.cursor()
            for publication in self._pending:
                if publication.origin is not None and publication.is_ahead_of(member):
                    worker, number = publication.origin
                    cursor[worker] = min(cursor.get(worker, number), number - 1)
            member.kept = []
            self._late.add(member.conn.id)
            return cursor

    def deliver_kept(self, member: Membership[M]) -> None:
        """A member is not held any more: deliver what was kept for it."""
        with self._lock:
            kept, member.kept = member.kept, None
            if kept is None:
                return
            if not member.waiting:
                self._late.discard(member.conn.id)
            elif not member.is_slow:  # it may have read while nothing was sent
                self.resume(member)
            for frame, on_slow, key in kept:
                publication = Publication(
                    FramedAlready(frame), (member,), (member.conn,), frozenset(), on_slow=on_slow, key=key
                )
                self._deliver_some(publication)

    def deliver_arrived(
        self,
        frames: Frames,
        origin: tuple[int, int],
        exclude: frozenset[int],
        on_slow: OnSlow | None,
        key: Hashable,
        *,
        only: Membership[M] | None = None,
    ) -> None:
        """Deliver what another worker has published, in the loop.

        Args:
            frames: The message.
            origin: That worker, and the number of the publication.
            exclude: As of `publish`, by id.
            on_slow: Likewise.
            key: Likewise.
            only: The only member that it is for; None for all.
        """
        with self._lock:
            members, conns = (self._now(), self._conns) if only is None else ((only,), (only.conn,))
            here = sum(member.conn.id not in exclude for member in members)
            if not here or self._loop is None:
                return
            self.stats.deliveries += here
            publication = Publication(frames, members, conns, exclude, on_slow=on_slow, key=key, origin=origin)
            self._pending.append(publication)
            loop = self._loop
        self._deliver_soon(loop)

    def give_away(self, member: Membership[M]) -> bytes:
        """Return what waits for a member whose connection goes on elsewhere, and there is sent: whole frames.

        Nothing where its place has told of it.
        """
        with self._lock:
            self._late.discard(member.conn.id)
            if not member.waiting:
                return b""
            if member.kept is not None:
                return b""
            self.stats.delivered += member.waiting.count
            return member.waiting.take(len(member.waiting))

    def _move(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be of another loop, in another life of the application: whom it had members of before is gone."""
        self._forget_pending()
        self._scheduled = False
        self._loop = loop

    def _now(self) -> tuple[Membership[M], ...]:
        with self._lock:
            if self._snapshot is None:
                self._snapshot = tuple(self._members.values())
                self._conns = tuple([member.conn for member in self._snapshot])
            return self._snapshot

    # -- publishing ----------------------------------------------------------------------------------------------------

    def publish(
        self,
        message: M,
        *,
        exclude: ConnectionBase[Any] | Iterable[ConnectionBase[Any]] = (),
        on_slow: OnSlow | None = None,
        key: Hashable = None,
    ) -> Published:
        """Send a message to every member; never wait for one.

        Called on the loop, it has been posted to all when this returns, or to as many as a millisecond allows; the
        others follow in the loop's next turns, before anything that is published later. From another thread all of it
        follows; a thread that publishes faster than the loop delivers waits for the loop. A thread that runs a loop of
        its own must not wait, and where the group's loop stands still there is nothing to wait for: then it is refused.

        Args:
            message: What to send. It is encoded once for all members that speak the same codec.
            exclude: Who does not get it: a connection, or several.
            on_slow: What becomes of it for a member that is slow, whose peer is owed more than its high watermark.
                None: what its own ``limits.slow_consumer`` says, at its hard limit. ``disconnect``: it is aborted at
                its hard limit, whatever that says. ``drop``, or ``drop_newest``: it does not get this one.
                ``drop_oldest``: this one waits until it reads again; of those that wait the oldest is given up where
                there are more than ``max_waiting``.
                ``latest``: likewise, and what waits with the same ``key`` gives way to it.
                What waits when a message comes that does not wait leaves the group before it, and then may be given
                up as what was posted with the same word of `post`'s ``on_full``. There is no ``raise``: a publication
                has many members, and no one of them speaks for the others.
            key: What ``latest`` tells messages apart by: a symbol, a sensor. None is a key as well. Where there
                are workers, and they are the scope, it is one as of `Registry.hold`.

        Returns:
            For how many members it is.

        Raises:
            ConfigurationError: ``on_slow`` is none of these, or ``key`` is not hashable and ``latest`` needs it, or it
                is nothing that other workers can be told.
            LocalProtocolError, TypeError, CodecError: The codec of the member who joined first refuses it. It was sent
                to nobody. What only another member's codec refuses is counted in ``stats.dropped["refused"]``.
            QueueFullError: 256 messages wait for the group's loop, which stands still or is not this thread's own. In a
                thread without a loop (`asyncio.to_thread`) this waits.
        """
        if on_slow is not None:
            on_slow = check_policy("on_slow", on_slow, key, get_args(OnSlow))
        far = self._far
        if key is not None and far is not None:
            key = plain_key(key)
        running = asyncio._get_running_loop()  # noqa: SLF001  # the public one raises where there is none
        # Some connections can be iterated over, too: their messages are not meant.
        excluded = [exclude] if isinstance(exclude, ConnectionBase) else exclude
        ids = frozenset(conn.id for conn in excluded)
        if far is not None:
            far.catch_up()
        with self._lock:
            if self._members and running is not self._loop:
                self._wait_for_room(running)
            members = self._now()
            here = len(members) - len(ids & self._members.keys())
            frames = Frames(message)
            if members:
                frames.of(members[0])
            there, origin = 0, None
            if far is not None:
                there, number = far.publish(self, frames, ids, on_slow, key)
                origin = (far.number, number) if number else None
            self.stats.published += 1
            self.stats.deliveries += here
            self.stats.elsewhere += there
            if not here:
                return Published(0, there)
            publication = Publication(frames, members, self._conns, ids, on_slow=on_slow, key=key, origin=origin)
            self._pending.append(publication)
            loop = self._loop
            assert loop is not None
        if running is not loop:
            self._schedule(loop)
        else:
            self._deliver_soon(loop)
        return Published(here, there)
