"""Delivery to the members of a group: what is pending, in order, a slice at a time; and what waits for slow ones."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Hashable
from time import perf_counter
from typing import Any, Final, Generic, TypeVar

from ..core.contract import ConnectionBase
from ..errors import ConnectionEndedError, PenstockError, QueueFullError
from .membership import Membership
from .publication import JoinedFrames, OnSlow, Publication
from .stats import GroupStats

M = TypeVar("M")

# How long a publication holds the loop until the others have their turn.
SLICE_S: Final = 0.001
# How many members are served between two looks at the clock: a look costs a tenth of a delivery.
_LOOK_EVERY: Final = 64
# How many publications may wait for the loop. Beyond them a thread that publishes waits. A handler on the loop cannot
# wait: as many of the first ones are delivered at once, so that it holds its own loop, and not all of the memory.
MAX_PENDING: Final = 256
# Of what is pending as many messages are joined as are this long together: each member gets them in one write.
JOIN_BYTES: Final = 16 * 1024
# How often a thread that waits looks whether the loop still runs: a loop that stops tells nobody.
_LOOP_LOOK_S: Final = 0.1


class Delivering(Generic[M]):
    """What is pending, and who gets it. `Group` says who is a member, and what is published.

    Args:
        name: What the group is called.
        max_waiting: As of `Group`.

    Attributes:
        name: As above.
        stats: Counts.
    """

    def __init__(self, name: str, max_waiting: int) -> None:
        self.name = name
        self.stats = GroupStats()
        self._max_waiting = max_waiting
        # An engine may end a member, and so have it leave, while it is being posted to.
        self._lock = threading.RLock()
        self._room = threading.Condition(self._lock)  # for another publication
        self._snapshot: tuple[Membership[M], ...] | None = ()
        self._late: set[int] = set()  # members for whom something waits, by id
        self._pending: deque[Publication] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pumping = False
        self._scheduled = False

    def leave(self, conn: ConnectionBase[M] | Membership[M]) -> None:
        """Have a connection hear no more."""
        raise NotImplementedError

    def _wait_for_room(self, running: asyncio.AbstractEventLoop | None) -> None:
        """Wait until the loop has delivered enough of what is pending. The lock is held, except while waiting.

        Args:
            running: The loop of this thread.

        Raises:
            QueueFullError: The loop stands still; or this thread has one of its own, for which that one may wait.
        """
        while len(self._pending) >= MAX_PENDING:
            if running is not None or self._loop is None or not self._loop.is_running():
                why = (
                    "runs in another loop than this thread's"
                    if running is not None
                    else "is of a loop that stands still"
                )
                raise QueueFullError(f"{MAX_PENDING} messages to the group {self.name} wait, and it {why}")
            self._room.wait(_LOOP_LOOK_S)

    def _forget_pending(self) -> None:
        """What is pending has no member left that it could be delivered to."""
        for publication in self._pending:
            rest = publication.members[publication.at :]
            heirs = sum(member.conn.id not in publication.exclude for member in rest)
            self.stats.gone += heirs * publication.count
        self._pending.clear()
        self._room.notify_all()

    def resume(self, member: Membership[M]) -> None:
        """A member's peer reads again: send what waits for it, in the loop's next turn."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the connection with it
            member.loop.call_soon_threadsafe(self._flush, member, False)

    def _deliver_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver what is pending at once, in the loop, as far as that may take; unless its turn is to come."""
        too_many = len(self._pending) - MAX_PENDING
        if not self._pumping and (too_many > 0 or not self._scheduled):
            self._pump(loop, too_many)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        try:
            loop.call_soon_threadsafe(self._continue, loop)
        except RuntimeError:  # the loop is closed, and all members with it
            with self._lock:
                self._scheduled = False
                self._forget_pending()

    def _continue(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        if not self._pumping:
            self._pump(loop)

    def _pump(self, loop: asyncio.AbstractEventLoop, at_least: int = 0) -> None:
        """Deliver what is pending, for as long as a slice lasts; the rest in the loop's next turn.

        Args:
            loop: The group's.
            at_least: How many publications are delivered however long that takes. What other threads add meanwhile is
                not among them: they wait.
        """
        self._pumping = True
        try:
            until = perf_counter() + SLICE_S
            pending = self._pending
            while pending:
                publication = pending[0]
                if len(pending) > 1 and publication.at == 0 and publication.joined is None:
                    self._join_those_after(publication)
                self._deliver_some(publication)
                if publication.at >= len(publication.members):
                    at_least -= publication.count
                    if pending and pending[0] is publication:  # else the group has moved to another loop
                        pending.popleft()
                if at_least <= 0 and perf_counter() >= until:
                    break
        finally:
            self._pumping = False
            if self._pending:
                self._schedule(loop)
            if len(self._pending) < MAX_PENDING:
                with self._room:
                    self._room.notify_all()

    def _join_those_after(self, first: Publication) -> None:
        """Make the first publications that are pending one of them, as long as that is not too long."""
        pending = self._pending
        with self._lock:
            parts, size = [first.frames], first.frames.size
            while len(pending) > 1 and first.joins(pending[1]):
                size += pending[1].frames.size
                if size > JOIN_BYTES:
                    break
                parts.append(pending[1].frames)
                del pending[1]
            if len(parts) > 1:
                first.joined = JoinedFrames(parts)

    def _deliver_some(self, publication: Publication) -> None:
        """Deliver one message to the next few of its members."""
        members, stop = publication.members, min(publication.at + _LOOK_EVERY, len(publication.members))
        exclude, on_slow, frames, stats = publication.exclude, publication.on_slow, publication.frames, self.stats
        joined, count = publication.joined, publication.count
        codec: object = None
        records = False
        frame = b""
        delivered = 0
        try:
            while publication.at < stop:
                member = members[publication.at]
                publication.at += 1  # what an interrupt comes out of is not met again
                conn = member.conn
                if exclude and conn.id in exclude:
                    continue
                if not member.active:
                    stats.gone += count
                    continue
                if joined is not None and (
                    member.waiting or member.kept is not None or not (frame := joined.of(member))
                ):
                    for each in publication.alone(member):
                        self._deliver_some(each)
                    continue
                try:
                    if joined is not None:
                        post: Any = conn
                        post.post_joined(frame, count)
                        delivered += count
                        continue
                    if conn.codec is not codec or member.records is not records:
                        frame = frames.of(member)
                        codec, records = conn.codec, member.records
                    if member.takes_its_time or (on_slow is not None and member.is_slow):
                        self._deliver_late(member, frame, publication)
                    else:
                        conn.post_frame(frame)
                        delivered += 1
                except ConnectionEndedError:
                    stats.gone += count
                    self.leave(member)
                except QueueFullError:
                    stats.dropped["raise"] += count
                except (PenstockError, TypeError):
                    stats.dropped["refused"] += count
                else:  # an engine may have a faster way for those that follow and are alike
                    to_each = getattr(conn, "post_frame_to_each", None)
                    if to_each is not None:
                        # No member has left since, and nothing waits for any: then members need not be looked at.
                        to_each(publication, stop, frame, codec, stats, self._snapshot is members and not self._late)
        finally:
            stats.delivered += delivered

    def _deliver_late(self, member: Membership[M], frame: bytes, publication: Publication) -> None:
        """Deliver to a member that is slow, or for whom something waits already."""
        policy, stats = publication.on_slow, self.stats
        if member.kept is not None:
            member.kept.append((frame, policy, publication.key))
            return
        if not member.is_slow:  # it reads again, and its `resume` has not had its turn
            self._flush(member, False)
            if not member.waiting:
                member.conn.post_frame(frame)
                stats.delivered += 1
                return
        if policy == "drop_newest":
            stats.dropped[policy] += 1
        elif policy in ("drop_oldest", "latest") and frame:
            self._keep(member, frame, policy, publication.key)
            # On an engine with threads its peer may have read since the first look: then nobody resumes it any more.
            if not member.is_slow:
                self.resume(member)
        else:
            self._flush(member, True)
            member.conn.post_frame(frame, on_full=policy)
            stats.delivered += 1

    def _keep(self, member: Membership[M], frame: bytes, policy: OnSlow, key: Hashable) -> None:
        """Have a message wait until a member reads again."""
        stats = self.stats
        with self._lock:
            if not member.active:
                stats.gone += 1
                return
            waiting = member.queue()
            if given_up := waiting.admit(frame, policy, 0, key, waiting.count + 1 - self._max_waiting):
                stats.dropped[policy] += given_up[0]
            self._late.add(member.conn.id)

    def _flush(self, member: Membership[M], all_of_it: bool) -> None:
        """Send what waits for a member, until it is slow again, or all of it."""
        waiting, stats = member.waiting, self.stats
        while waiting and member.kept is None and (all_of_it or not member.is_slow):
            with self._lock:
                if not waiting:  # it has left, in another thread
                    return
                frame, policy, key = waiting.take_as_posted()
                if not waiting:
                    self._late.discard(member.conn.id)
            try:
                member.conn.post_frame(frame, on_full=policy, key=key)  # it may be given up there, too
                stats.delivered += 1
            except ConnectionEndedError:
                stats.gone += 1
                self.leave(member)
            except (PenstockError, TypeError):
                stats.dropped["refused"] += 1
