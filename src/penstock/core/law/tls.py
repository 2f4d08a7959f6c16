"""How far a TLS layer is with its peer, and what the two ends of a stream mean to it. It does nothing itself.

A connection over TLS has two ends in each direction: that of the cipher, close_notify (RFC 8446 section 6.1), and
that of the transport under it. Only the first one is the peer's word. EOF of the transport without it may be
anybody's doing, and is never taken for the end of what the peer had to say.
"""

from __future__ import annotations

from ...reasons import CloseReason

# What `Secrecy.state` is.
SHAKING, OPEN, FAILED, OVER = range(4)

# Verdicts: what the layer is to do.
NOTHING = 0
NOTIFY = 1  # send close_notify
END_OUTPUT = 2  # end the transport's direction, after what was sent
TELL_EOF = 4  # tell the user that the peer's direction has ended
FAIL = 8  # the handshake has failed
CUT = 16  # the peer's direction was cut: nothing says that all has come

# So many bytes may come without one of the user's among them. The longest record has 16,645, of which nothing can
# be deciphered before its end; beyond that only keys are changed, again and again, or records are empty.
MOST_BARREN_BYTES = 65536

# So many connections in the middle of a handshake are read in one turn of a loop; the others in the next ones. A step
# of one is a signature or its verification, a hundred times the work of a short message; whatever else there is waits.
STEPS_PER_TURN = 8

# The first byte of a TLS record of a handshake (RFC 8446 section 5.1), and of an alert.
_HANDSHAKE, _ALERT = 0x16, 0x15
_MAJOR = 3
# So many bytes tell in any case: the kind of the first record, and the major version.
TELLING_BYTES = 2


class Secrecy:
    """The state of one TLS layer.

    Attributes:
        state: SHAKING until the handshake is done, then OPEN; FAILED where it was not; OVER once the transport is gone.
        reason: Why the handshake failed; None while it has not.
    """

    __slots__ = ("_barren_bytes", "_beginning", "_ends", "_notified", "_peer_notified", "reason", "state")

    def __init__(self) -> None:
        self.state = SHAKING
        self.reason: CloseReason | None = None
        self._beginning = b""  # the first bytes that came, as many as say whether they can be TLS
        self._ends = False  # our direction is to end once the handshake is done, and what waits for it was sent
        self._barren_bytes = 0  # came since something of the user's did
        self._notified = False  # our close_notify was sent, or has no peer to go to
        self._peer_notified = False

    @property
    def may_send(self) -> bool:
        """Whether what is to be sent can be enciphered."""
        return self.state == OPEN and not self._notified

    @property
    def may_read(self) -> bool:
        """Whether something may come that is worth reading."""
        return self.state == SHAKING or (self.state == OPEN and not self._peer_notified)

    def hears(self, data: bytes) -> bool:
        """Bytes came in the handshake. Say whether they can be TLS, as far as the first ones tell."""
        if len(self._beginning) == TELLING_BYTES:
            return True
        self._beginning += data[: TELLING_BYTES - len(self._beginning)]
        return tells_tls(self._beginning) is not False

    def is_done(self) -> None:
        """The handshake is done: what was kept can be enciphered; then `goes_on` says what is next."""
        self.state = OPEN

    def goes_on(self) -> int:
        """What was kept was sent. As `ends_output`, where that was asked for in the handshake; else NOTHING."""
        return self.ends_output() if self._ends else NOTHING

    def fails(self, reason: CloseReason) -> None:
        """The handshake has failed. The first reason stays."""
        if self.state == SHAKING:
            self.state = FAILED
            self.reason = reason
            self._notified = True

    def goes_too_far(self, heard_bytes: int, *, brings_something: bool) -> bool:
        """So many bytes came after the handshake. Say whether that is too much work for nothing."""
        if brings_something:
            self._barren_bytes = 0
            return False
        self._barren_bytes += heard_bytes
        return self._barren_bytes > MOST_BARREN_BYTES

    def is_notified(self) -> int:
        """The peer's close_notify came.

        Returns:
            TELL_EOF, or NOTHING: it was told before.
        """
        if self.state != OPEN or self._peer_notified:
            return NOTHING
        self._peer_notified = True
        return TELL_EOF

    def reaches_eof(self) -> int:
        """The transport's EOF came.

        Returns:
            NOTHING after close_notify; CUT without it. In the handshake FAIL, and TELL_EOF after it: the peer has left.
        """
        if self.state == SHAKING:
            self.fails(CloseReason.TLS_HANDSHAKE if self._beginning else CloseReason.PEER_CLOSED)
            return FAIL | TELL_EOF
        if self.state == FAILED:
            return TELL_EOF
        if self.state == OVER or self._peer_notified:
            return NOTHING
        self._peer_notified = True
        return CUT

    def ends_output(self) -> int:
        """Our direction ends.

        Returns:
            NOTIFY where close_notify has a peer to go to and was not sent; and END_OUTPUT, unless it is too late. Or
            NOTHING: the handshake comes first.
        """
        if self.state == OVER:
            return NOTHING
        if self.state == SHAKING:
            self._ends = True
            return NOTHING
        if self._notified or self.state != OPEN:
            return END_OUTPUT
        self._notified = True
        return NOTIFY | END_OUTPUT

    def is_over(self) -> None:
        """The transport is gone."""
        self.state = OVER


def tells_tls(beginning: bytes) -> bool | None:
    """Say whether a stream that begins like this can be TLS: the first record is of a handshake, or an alert.

    Returns:
        None where `TELLING_BYTES` are needed to tell, and fewer are there.
    """
    if not beginning:
        return None
    if beginning[0] not in (_HANDSHAKE, _ALERT):
        return False
    return None if len(beginning) < TELLING_BYTES else beginning[1] == _MAJOR
