"""The life of a stream connection as one table: every change of state is an entry in it, and nothing else is one.

Engines report what happened (`Input`) and obey the state that follows. Neither client nor server is mentioned:
both sides live by the same table.
"""

from enum import Enum

from ..errors import LocalProtocolError


class State(Enum):
    """Where a connection is between its first and its last byte."""

    OPEN = "open"  # bytes may go both ways
    PEER_EOF = "peer_eof"  # the peer will send no more; we may
    LOCAL_EOF = "local_eof"  # we will send no more; the peer may
    BOTH_EOF = "both_eof"  # neither side will send; what was received is still being handled
    CLOSING = "closing"  # we are leaving: queued output goes out, input is discarded
    FLUSHING = "flushing"  # as CLOSING, and the peer will send no more
    LINGERING = "lingering"  # all output went out and EOF after it; input is discarded until the peer's EOF
    CLOSED = "closed"  # the transport is gone

    # Members are compared by identity; Enum's own hash is written in Python, and engines look states up for every read.
    __hash__ = object.__hash__


class Input(Enum):
    """What can happen to a connection."""

    PEER_EOF = "peer_eof"  # read returned zero
    SEND_EOF = "send_eof"  # the handler ended its direction
    CLOSE = "close"  # the handler, the codec or the server ends the connection gracefully
    FLUSHED = "flushed"  # the transport took the last byte of output
    LOST = "lost"  # reset, aborted, or closed at a deadline

    __hash__ = object.__hash__


S = State

# After close() the socket is not closed at once: closing one with unread input makes the kernel answer with a reset,
# which can destroy the last reply on its way (RFC 1122 section 4.2.2.13, RFC 2525 section 2.17). So: flush, send EOF,
# read and discard until the peer's EOF or the linger timeout.
TRANSITIONS: dict[State, dict[Input, State]] = {
    S.OPEN: {
        Input.PEER_EOF: S.PEER_EOF,
        Input.SEND_EOF: S.LOCAL_EOF,
        Input.CLOSE: S.CLOSING,
        Input.LOST: S.CLOSED,
    },
    S.PEER_EOF: {
        Input.SEND_EOF: S.BOTH_EOF,
        Input.CLOSE: S.FLUSHING,
        Input.LOST: S.CLOSED,
    },
    S.LOCAL_EOF: {
        Input.PEER_EOF: S.BOTH_EOF,
        Input.CLOSE: S.CLOSING,
        Input.LOST: S.CLOSED,
    },
    S.BOTH_EOF: {
        Input.CLOSE: S.FLUSHING,
        Input.LOST: S.CLOSED,
    },
    S.CLOSING: {
        Input.PEER_EOF: S.FLUSHING,
        Input.FLUSHED: S.LINGERING,
        Input.LOST: S.CLOSED,
    },
    S.FLUSHING: {
        Input.FLUSHED: S.CLOSED,
        Input.LOST: S.CLOSED,
    },
    S.LINGERING: {
        Input.PEER_EOF: S.CLOSED,
        Input.LOST: S.CLOSED,
    },
    S.CLOSED: {},
}

# States in which a message may still be sent, in which received bytes still reach the codec, and in which the
# connection is on its way out whatever its handler does.
SENDABLE = frozenset({S.OPEN, S.PEER_EOF})
RECEIVABLE = frozenset({S.OPEN, S.LOCAL_EOF})
LEAVING = frozenset({S.CLOSING, S.FLUSHING, S.LINGERING, S.CLOSED})


def after(state: State, given: Input) -> State:
    """Return the state that follows.

    Raises:
        LocalProtocolError: The table has no such entry: the engine, or its caller, broke the rules.
    """
    try:
        return TRANSITIONS[state][given]
    except KeyError:
        raise LocalProtocolError(f"{given.value} cannot happen to a connection that is {state.value}") from None
