# cython: boundscheck=True, nonecheck=True
# Python code may make these types bare, and call any method with anything: that raises, and reads no memory of others.
"""Where a connection stands between its first and its last byte, and how it ends. The table is `core.states`."""

from __future__ import annotations

from ...reasons import CloseReason
from ..endings import reason_after, tells_of_its_end
from ..states import TRANSITIONS, Input, State, after

STATES = tuple(State)
INPUTS = tuple(Input)

# The members' places in their enums. Those with an underscore are C integers where this file is compiled.
OPEN, PEER_EOF, LOCAL_EOF, BOTH_EOF, CLOSING, FLUSHING, LINGERING, CLOSED = range(len(STATES))
_OPEN, _PEER_EOF, _LOCAL_EOF, _BOTH_EOF = OPEN, PEER_EOF, LOCAL_EOF, BOTH_EOF
_CLOSING, _FLUSHING, _LINGERING, _CLOSED = CLOSING, FLUSHING, LINGERING, CLOSED
_GOT_EOF, _SENT_EOF, _TOLD_TO_CLOSE, _ALL_SENT, _LOST = range(len(INPUTS))

# Verdicts: what the engine is to do, in this order. Several may be added up.
SEND_ALL = 1  # hand all output to the link, whatever it is worth to anybody
SEND_EOF = 2  # end our direction after it
DISCARD = 4  # forget the input; read on, and drop what comes until the peer's EOF
END = 8  # close the link once it has sent all
CUT = 16  # close the link now
RESET = 32  # close it now, with a reset, so that the peer does not take the cut for an end
INPUT_OVER = 64  # what was received so far is all there will be
_SEND_ALL, _SEND_EOF, _DISCARD, _END, _RESET, _INPUT_OVER = SEND_ALL, SEND_EOF, DISCARD, END, RESET, INPUT_OVER

_CANNOT_HAPPEN = 255

# By state and input, the state that follows.
_AFTER = bytes(
    STATES.index(row[given]) if given in row else _CANNOT_HAPPEN
    for row in (TRANSITIONS[state] for state in STATES)
    for given in INPUTS
)

# Looked up once: on Python 3.11 a member of an enum costs a tenth of a microsecond each time it is named.
_DONE, _PEER_CLOSED = CloseReason.DONE, CloseReason.PEER_CLOSED


class Closing:
    """The state of one connection, and why it ends.

    Attributes:
        close_reason: Why it ended or is ending; None while it lives. The first one that is given stays.
        _state: One of the constants above.
        _can_send: Messages may be sent.
        _can_receive: What is received still goes to the codec.
        _closing: It closes, or is closed; its handler can do nothing about it.
        _attached: It has a link, or had one. Until then `close` waits.
        _handling: A callback, or the handler of a message, is at work. `close` waits for its return: its reply is sent.
        _close_after: The reason it closes for once that handler has returned, or once there is a link.
    """

    __slots__ = (
        "_attached",
        "_can_receive",
        "_can_send",
        "_close_after",
        "_closing",
        "_handling",
        "_state",
        "close_reason",
    )

    def __init__(self) -> None:
        self._begin_closing()

    def _begin_closing(self) -> None:
        # Not in `__init__`: compiled, this is a call in C, and a connection is made for each peer.
        self.close_reason: CloseReason | None = None
        self._close_after: CloseReason | None = None
        self._attached = False
        self._handling = False
        self._become(_OPEN)

    @property
    def phase(self) -> str:
        """Between its first and its last byte, where it is: a word of `core.states.State`."""
        return STATES[self._state].value

    def _become(self, state: int) -> None:
        # Asked for every read and every message: three flags cost less than three comparisons. All of them change, or
        # nothing does: at the limit of recursion even a comparison may be refused.
        can_send = state == _OPEN or state == _PEER_EOF  # noqa: PLR1714 - a tuple would be made for it
        # Once it is told to end, what is received goes nowhere: a half-close of ours changes nothing about that.
        is_open = state == _OPEN or state == _LOCAL_EOF  # noqa: PLR1714
        closing = state >= _CLOSING
        self._state = state
        self._can_send = can_send
        self._can_receive = is_open and self.close_reason is None
        self._closing = closing

    def _happen(self, given: int) -> int:
        """Go on to the state that follows.

        Raises:
            LocalProtocolError: The table has no such entry: the engine broke the rules.
        """
        follows = _AFTER[self._state * 5 + given]
        if follows == _CANNOT_HAPPEN:
            after(STATES[self._state], INPUTS[given])
        self._become(follows)
        return 0

    # -- what happens --------------------------------------------------------------------------------------------------

    def _got_eof(self) -> int:
        """The peer sent EOF.

        Returns:
            INPUT_OVER; or END where it was all that was waited for, or is the last thing to wait for; or 0 for a
            connection that is closed.
        """
        if self._state == _CLOSED:
            return 0
        self._happen(_GOT_EOF)
        return _END if self._closing else _INPUT_OVER

    def _sends_eof(self) -> int:
        """The handler ends our direction.

        Returns:
            SEND_ALL and SEND_EOF; or 0 where that was done before.
        """
        if not self._can_send:
            return 0
        self._happen(_SENT_EOF)
        return _SEND_ALL | _SEND_EOF

    def _closes(self, reason: CloseReason) -> int:
        """The handler, the codec or the server ends the connection gracefully.

        Returns:
            SEND_ALL, with SEND_EOF and DISCARD until the peer has sent its EOF, and with END once it has. Or 0: it
            closes already, or will when its handler has returned.
        """
        if self._closing:
            return 0
        if self._handling or not self._attached:
            if self._close_after is None:
                self._close_after = reason
            return 0
        before = self._state
        if self.close_reason is None:
            peer_ended = before == _PEER_EOF or before == _BOTH_EOF  # noqa: PLR1714
            self.close_reason = _PEER_CLOSED if peer_ended and reason is _DONE else reason
        self._happen(_TOLD_TO_CLOSE)
        if self._state == _FLUSHING:
            return _SEND_ALL | _END
        return _SEND_ALL | _DISCARD if before == _LOCAL_EOF else _SEND_ALL | _SEND_EOF | _DISCARD

    def _sent_all(self) -> int:
        """The kernel took the last byte of output, and the connection is closing.

        Returns:
            END where the peer's EOF has come, or 0: it is waited for, for ``linger_s`` at most.
        """
        if self._state == _CLOSING:
            self._happen(_ALL_SENT)
            return 0
        return _END

    def _loses(self, reason: CloseReason) -> int:
        """It ends now, by our own will.

        Returns:
            RESET; or 0: it is closed, or its link has yet to come.
        """
        if self._state == _CLOSED:
            return 0
        if self.close_reason is None:
            self.close_reason = reason
        self._happen(_LOST)
        return _RESET if self._attached else 0

    def _breaks(self, reason: CloseReason) -> None:
        """Its link met an error: nothing more can be sent, and `_lost` follows for ``reason``."""
        self._can_send = False
        if self.close_reason is None:
            self.close_reason = reason

    def _lost(self, reason: CloseReason) -> int:
        """Its link is gone, or broken; ``reason`` is why, if nobody knew before."""
        if self.close_reason is None:
            self.close_reason = reason
        if self._state != _CLOSED:
            self._happen(_LOST)
        return 0

    # -- the handler ---------------------------------------------------------------------------------------------------

    def _fails(self, error: BaseException) -> bool:
        """A handler raised. Say whether that is its failure, to be told of and to close for.

        False where it only noticed that the connection has ended. Else a close that the handler asked for is forgotten:
        it would have come after its return.
        """
        if (self._closing or self.close_reason is not None) and tells_of_its_end(error):
            return False
        self._close_after = reason_after(error)
        return True
