"""How a connection ended, for code that still uses it."""

from __future__ import annotations

from typing import TypeVar

from ..codecs.base import NEED_DATA
from ..errors import (
    BrokenError,
    ClosedError,
    CodecError,
    ConnectionEndedError,
    EndOfStreamError,
    HandshakeError,
    RemoteProtocolError,
    SlowPeerError,
)
from ..reasons import CloseReason
from .inbound import StreamInbound
from .records import RecordInbound
from .refused import refusal_of
from .states import LEAVING, State

M = TypeVar("M")

# Ends without fault: the code that goes on using the connection has closed it itself, or was told.
_GRACEFUL = frozenset({None, CloseReason.DONE, CloseReason.DRAINED})
_TOO_SLOW = frozenset({CloseReason.SLOW_CONSUMER, CloseReason.WRITE_TIMEOUT})


def why_not(state: State, reason: CloseReason | None, *, leaving: bool) -> ClosedError | BrokenError:
    """Return the error for a send or a receive on a connection that does not take part any more.

    Args:
        state: The connection's.
        reason: Why it ended or is ending, if it is.
        leaving: It will close as soon as its handler returns.
    """
    if reason not in _GRACEFUL or state is State.CLOSED:
        if reason in _GRACEFUL or reason is None or reason is CloseReason.ABORTED:
            return ClosedError("the connection is closed")
        return (SlowPeerError if reason in _TOO_SLOW else BrokenError)(reason)
    if leaving or state in LEAVING:
        return ClosedError("the connection is closing")
    return ClosedError("EOF was already sent")


def last_message(inbound: StreamInbound[M] | RecordInbound[M], *, peer_ended: bool) -> M:
    """Return the message that is complete only because nothing more will come, or raise why there is none.

    Args:
        inbound: Has given all its whole messages.
        peer_ended: The peer sent EOF; else the server drains, and what is incomplete stays so.

    Raises:
        EndOfStreamError: Nothing is left.
        RemoteProtocolError, CodecError: The peer's stream ended in the middle of a message; the codec failed at it.
    """
    last = inbound.finish() if peer_ended else NEED_DATA
    if last is NEED_DATA:
        raise EndOfStreamError("the peer sent EOF" if peer_ended else "the server drains")
    inbound.clear()
    return last


def tells_of_its_end(error: BaseException) -> bool:
    """Whether an exception is what a handler is told of its connection's end by: there is no more to say about it."""
    if isinstance(error, CodecError):
        return error.is_about_input  # and was reported when it happened
    return isinstance(error, ConnectionEndedError | RemoteProtocolError)


def reason_after(error: BaseException) -> CloseReason:
    """Return what a connection ends with whose handler let this out."""
    if isinstance(error, CodecError):
        return CloseReason.CODEC_ERROR
    return refusal_of(error) or CloseReason.HANDLER_ERROR


def reason_of(error: BaseException | None) -> CloseReason:
    """Return the reason for what the transport reported; None is our own doing."""
    if error is None:
        return CloseReason.ABORTED
    if isinstance(error, HandshakeError):
        return error.reason
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return CloseReason.RESET
    return CloseReason.NETWORK
