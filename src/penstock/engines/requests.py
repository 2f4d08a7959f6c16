"""A request to a peer, on every engine: sent, and its reply waited for."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from ..core.contract import TimerHandle
from ..core.deadline import Deadline
from ..core.requests import Reply, Requests
from ..errors import EndOfStreamError, LocalProtocolError, QueueFullError, RequestLostError
from ..reasons import CloseReason

M = TypeVar("M")


class Asking(Protocol):
    """A connection, as far as requests go."""

    @property
    def codec(self) -> Any:
        """What cuts what its peer sends."""

    @property
    def close_reason(self) -> CloseReason | None:
        """Why it has ended, if it has."""

    @property
    def bytes_out(self) -> int:
        """How many bytes were sent, or are about to be."""

    @property
    def draining(self) -> bool:
        """Whether the server drains."""

    def refusal(self) -> Exception | None:
        """Return what sending would raise, or None."""

    @property
    def is_to_be_secured(self) -> bool:
        """Whether TLS begins once the handler of the message at hand has returned."""

    def hears(self) -> bool:
        """Whether what the peer sends from now on is read."""

    def try_send(self, message: Any) -> bool:
        """Send a message if there is room."""

    def abort(self) -> None:
        """End the connection now."""

    def take_requests(self) -> Requests[Any]:
        """Have the replies to what is sent from now on taken out of the input."""

    def find_replies(self) -> None:
        """Look for them among what was received before."""

    def listens(self) -> None:
        """Read on, if nothing else but what waits to be received has stopped that."""

    def new_reply(self) -> asyncio.Future[Any] | Future[Any]:
        """Return what waits for a reply."""

    def put_request(self, message: Any, reply: Reply) -> None:
        """As the function of this name, with nothing else sent or read meanwhile."""

    def time_reply(self, reply: Reply, timeout_s: float | None) -> TimerHandle | None:
        """Have the reply given up after that time, when what has come by then was read."""


async def request_of(conn: Asking, message: M, timeout_s: float | None) -> M:
    """Send one message and return its reply; raises as `ConnectionBase.request`."""
    reply = conn.new_reply()
    conn.put_request(message, reply)
    timer = conn.time_reply(reply, timeout_s)
    try:
        answer: M = await (asyncio.wrap_future(reply) if isinstance(reply, Future) else reply)
        return answer
    except EndOfStreamError as ended:
        why = str(ended)
        raise (EndOfStreamError(why) if why else _lost(conn)) from None
    finally:
        if timer is not None:
            timer.cancel()


def put_request(conn: Asking, message: Any, reply: Reply) -> None:
    """Send a request, and note who waits for its reply."""
    if (refusal := conn.refusal()) is not None:
        raise refusal
    if not conn.hears():
        raise EndOfStreamError("the server drains" if conn.draining else "the peer sent EOF")
    if conn.is_to_be_secured:
        raise LocalProtocolError("TLS begins once this handler has returned: a request before that would be in clear")
    requests = conn.take_requests()
    request_id = requests.check(message)
    before = conn.bytes_out
    try:
        try:
            has_room = conn.try_send(message)
        except BaseException:
            if (
                conn.bytes_out != before and conn.refusal() is None
            ):  # it may have left: from here on the next reply could be anybody's
                conn.abort()
            raise
        if not has_room:
            raise QueueFullError("the peer does not read what it was sent: it is asked nothing more")
        if not conn.hears():  # the kernel said just now that nobody is there
            raise _lost(conn)
    except BaseException:
        requests.forget(request_id)
        raise
    requests.sent(request_id, reply)
    # What noted it, an id of the user's say, may have ended the input, or had another codec cut it: no reply is found.
    if not conn.hears():
        requests.fail(EndOfStreamError(""))
    elif conn.codec is not requests.codec:
        requests.fail(EndOfStreamError("another codec was set as the request was sent"))
    conn.find_replies()
    conn.listens()


def give_up(reply: Reply, limit: Deadline) -> None:
    """The time for a reply is over, and it has not come."""
    if not reply.done():
        reply.set_exception(limit.error())


def _lost(conn: Asking) -> RequestLostError:
    return RequestLostError(conn.close_reason or CloseReason.BAD_FRAME)  # which ends the input, before the connection
