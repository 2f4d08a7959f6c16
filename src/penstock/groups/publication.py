"""A message on its way to the members of a group: for whom it is, and its frames."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..codecs import guard
from ..codecs.base import Codec
from ..core.contract import ConnectionBase
from ..errors import LocalProtocolError, PenstockError

if TYPE_CHECKING:
    from .membership import Membership

OnSlow = Literal["disconnect", "drop", "drop_oldest", "drop_newest", "latest"]


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
        return self.for_codec(member.conn.codec, member.records)

    def for_codec(self, codec: Codec[Any], records: bool) -> bytes:
        """Return the frame for a codec, over a transport that keeps the bounds of messages or one that does not.

        Raises:
            LocalProtocolError, TypeError, CodecError: The codec refuses the message, or fails at it.
        """
        key = id(codec), records
        found = self._frames.get(key)
        if found is None:  # with the codec, which so keeps its id
            encode = guard.encode_datagram if records else guard.encode
            found = self._frames[key] = codec, encode(codec, self._message)
            self.size = len(found[1])
        return found[1]


class ArrivedFrames(Frames):
    """One message of another worker, which has encoded it.

    Args:
        frames: By what the workers know a codec by.
        kind_of: Returns what they know a member's codec by.
    """

    __slots__ = ("_arrived", "_kind_of")

    def __init__(
        self,
        frames: Mapping[tuple[str, bool], bytes],
        kind_of: Callable[[Membership[Any]], tuple[str, bool]],
    ) -> None:
        super().__init__(None)
        self._arrived = frames
        self._kind_of = kind_of
        self.size = max(map(len, frames.values()), default=0)

    def of(self, member: Membership[Any]) -> bytes:
        """Return the frame for a member.

        Raises:
            LocalProtocolError: The worker that has published it knew of no member that speaks its codec, or the codec
                refused it.
        """
        found = self._arrived.get(self._kind_of(member))
        if found is None:
            raise LocalProtocolError("the message was not encoded for this codec")
        return found


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


class FramedAlready(Frames):
    """A message that is a frame already."""

    __slots__ = ("_frame",)

    def __init__(self, frame: bytes) -> None:
        super().__init__(None)
        self._frame = frame
        self.size = len(frame)

    def of(self, member: Membership[Any]) -> bytes:
        """Return it."""
        return self._frame


class Publication:
    """One message on its way to the members that there were when it was published.

    Args:
        frames: The message.
        members: For whom it is.
        conns: Theirs, in the same order.
        exclude: The ids of those who do not get it.
        on_slow: As of `Group.publish`.
        key: Likewise.
        origin: The worker that has published it, and its number there; None where it went to no other one.
    """

    __slots__ = ("at", "conns", "exclude", "frames", "joined", "key", "members", "on_slow", "origin")

    def __init__(
        self,
        frames: Frames,
        members: tuple[Membership[Any], ...],
        conns: tuple[ConnectionBase[Any], ...],
        exclude: frozenset[int],
        *,
        on_slow: OnSlow | None,
        key: Hashable,
        origin: tuple[int, int] | None = None,
    ) -> None:
        self.origin = origin  # the worker that has published it, and its number there
        self.frames = frames
        self.members = members
        self.conns = conns  # theirs, in the same order
        self.exclude = exclude
        self.on_slow = on_slow
        self.key = key
        self.at = 0
        self.joined: JoinedFrames | None = None  # of this one and those after it, in place of ``frames``

    @property
    def count(self) -> int:
        """How many messages it is."""
        return 1 if self.joined is None else len(self.joined.parts)

    def joins(self, other: Publication) -> bool:
        """Whether another one is for the same members, all of whom get it the same way."""
        return (
            self.members is other.members
            and self.exclude == other.exclude
            and self.on_slow is None is other.on_slow
            and self.worker == other.worker
        )

    @property
    def worker(self) -> int | None:
        """The worker that has published it; None where it went to no other one."""
        return None if self.origin is None else self.origin[0]

    def is_ahead_of(self, member: Membership[Any]) -> bool:
        """Whether a member is still to get it."""
        return member in self.members[self.at :]

    def alone(self, member: Membership[Any]) -> Iterator[Publication]:
        """Go through its messages, each as a publication of its own to one member."""
        assert self.joined is not None
        for frames in self.joined.parts:
            yield Publication(frames, (member,), (member.conn,), frozenset(), on_slow=self.on_slow, key=self.key)
