"""The requests that a connection's peer owes a reply. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar

from ..codecs import guard
from ..codecs.base import Buffer, Codec
from ..errors import EndOfStreamError, LocalProtocolError, QueueFullError
from .matching import InOrder, Matcher, matcher_of

M = TypeVar("M")

# A reply that nobody waits for any more is still owed, and told apart by that. A peer that never replies stops here.
MAX_OWED: Final = 1024


class Reply(Protocol):
    """What waits for one: a future of asyncio's, or of another thread's."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Any, /) -> None:
        """It has come."""

    def set_exception(self, exception: Any, /) -> None:
        """It will not come."""


class Requests(Generic[M]):
    """The books of one connection.

    Args:
        codec: What cuts the replies, and knows which request each belongs to, if their order does not say so.
        replied: Called for each reply.

    Attributes:
        codec: As given.
        unseen_bytes: How many of the bytes that wait, the last of them, hold no whole message as far as is known.
        unseen: These bytes once more, as far as none was passed over, with the codec's notes: what was searched for
            the end of a frame is not searched again. None: they have to be looked at from their beginning.
        is_stuck: They begin with a frame that is bad: nothing behind it is looked at while it is there.
    """

    __slots__ = ("_matcher", "_replied", "codec", "is_stuck", "unseen", "unseen_bytes")

    def __init__(self, codec: Codec[M], replied: Callable[[], object]) -> None:
        self.codec = codec
        self.is_stuck = False
        self.unseen: Buffer | None = None
        self.unseen_bytes = 0
        self._replied = replied
        self._matcher: Matcher[M, tuple[Hashable, Reply]] = matcher_of(codec)

    def __len__(self) -> int:
        """How many are owed a reply."""
        return len(self._matcher)

    def look_again(self, unseen_bytes: int) -> None:
        """What waits, so much from its end, has to be looked at from its beginning."""
        self.unseen = None
        self.is_stuck = False
        self.unseen_bytes = unseen_bytes

    @property
    def in_order(self) -> bool:
        """Whether the next message is the reply, whatever it says."""
        return isinstance(self._matcher, InOrder)

    def check(self, message: M) -> Hashable:
        """Return the id that a request will be known by; called before it is sent.

        Raises:
            LocalProtocolError: It cannot be told from another that still is owed a reply.
            QueueFullError: The peer owes too many.
        """
        if len(self._matcher) >= MAX_OWED:
            raise QueueFullError(f"the peer owes the replies to {MAX_OWED} requests")
        return self._matcher.check(message)

    def sent(self, request_id: Hashable, reply: Reply) -> None:
        """A request was sent, after all that are owed a reply."""
        self._matcher.sent(request_id, (request_id, reply))

    def forget(self, request_id: Hashable) -> None:
        """A request that was checked was not sent."""
        self._matcher.forget(request_id)

    def answer(self, message: M) -> bool:
        """Give a message to who waits for it; return whether it is a reply, be it one that comes too late."""
        try:
            found = self._matcher.take(message)
        except Exception as error:
            self.fail(guard.failure(self.codec, "reply_id", error))
            return False
        if found is None:
            return False
        request_id, reply = found
        self._matcher.forget(request_id)
        self._replied()
        if not reply.done():
            reply.set_result(message)
        return True

    def fail(self, error: BaseException) -> None:
        """Tell all who wait that there will be no reply."""
        for request_id, reply in self._matcher.clear():
            self._matcher.forget(request_id)
            if not reply.done():
                reply.set_exception(error)


def refuse_silence(codec: Codec[Any]) -> None:
    """Raise LocalProtocolError where silence ends messages: where a reply ends is known only as they are taken."""
    if codec.quiet_s is not None:
        raise LocalProtocolError("silence ends a message of this codec, which tells no reply apart: post, and receive")


def refuse_owed(requests: Requests[Any] | None) -> None:
    """Raise LocalProtocolError where replies are owed: they come in clear, and TLS is about to begin."""
    if requests:
        raise LocalProtocolError(f"{len(requests)} requests have no reply yet, which would come in clear: wait for it")


def end_superseded(requests: Requests[Any] | None, codec: Codec[Any]) -> None:
    """Tell all who wait that there will be no reply, where another codec is to cut the input: that looks for none."""
    if requests and requests.codec is not codec:
        requests.fail(EndOfStreamError("another codec was set before the reply came"))


class Asked(Protocol):
    """An input from which replies may be taken."""

    requests: Requests[Any] | None
    pending_bytes: int


def requests_of(inbound: Asked, codec: Codec[Any], replied: Callable[[], object]) -> Requests[Any]:
    """Return an input's books, under the codec at hand, made when they are first asked for.

    Raises:
        LocalProtocolError: Another codec has cut it when requests were sent that are still owed a reply; or silence
            ends its messages.
    """
    requests = inbound.requests
    if requests is None or requests.codec is not codec:
        if requests:
            raise LocalProtocolError(f"{len(requests)} replies are owed to requests of another codec")
        refuse_silence(codec)
        requests = inbound.requests = Requests(codec, replied)
    if not requests:
        requests.look_again(inbound.pending_bytes)
    return requests
