"""When a connection's patience ends, and with whom. Pure arithmetic on instants the engine tells.

A deadline moves without touching a timer per message: the engine keeps one timer per connection, set to
`Deadlines.next`. Traffic only moves instants in here; when the timer fires, `due` says whether anything really is due,
and the engine sets the timer again.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from math import inf

from ..config import Timeouts
from ..reasons import CloseReason


class Deadline(Enum):
    """Which patience ended. The value is the close reason."""

    HANDSHAKE = CloseReason.HANDSHAKE_TIMEOUT  # the peer has not shown who it is
    FIRST_MESSAGE = CloseReason.FIRST_MESSAGE_TIMEOUT  # nothing complete since the connection opened
    IDLE = CloseReason.IDLE_TIMEOUT  # no byte in either direction
    MESSAGE = CloseReason.MESSAGE_TIMEOUT  # a message began and did not end
    WRITE = (
        CloseReason.WRITE_TIMEOUT
    )  # output over the high watermark, or owed at the close, and the peer does not read
    LIFETIME = CloseReason.LIFETIME
    LINGER = CloseReason.DONE  # everything was sent; the peer does not end its side


# Those that hold something against the peer: that it did not send, or did not read. Its age is no fault of its own.
BLAMING = frozenset(Deadline) - {Deadline.LIFETIME}


# Those that end with what the peer has to send, once somebody has made something of it.
SILENCE = frozenset({Deadline.HANDSHAKE, Deadline.FIRST_MESSAGE, Deadline.IDLE, Deadline.MESSAGE})


class Deadlines:
    """The instants one connection's deadlines are counted from.

    All instants are seconds on the engine's clock. None means: not counting. A peer is blamed for silence only while
    somebody waits for it.

    Attributes:
        timeouts: How long each patience lasts.
        opened_at: When the connection was made.
        lifetime_since: The same, until it leaves or is told to: then its age is nothing to close it for.
        handshake_since: When its handshake began; None when there is none. Until it has ended the peer is blamed for
            no message: of the others only its lifetime and a stall of output count.
        first_since: Since when its first message has been waited for.
        idle_since: Since when nothing has moved while a message was waited for; None while a handler works.
        partial_since: When the first byte of the incomplete message at hand came.
        partial_bytes: How many bytes of it are there, as of the engine's latest look: it need not tell each read.
        stalled_since: Since when output has been over its high watermark, or is being flushed for the close, without
            the peer having read as much of it as lies between the watermarks.
        lingering_since: When the last byte of output went out after the close.
    """

    __slots__ = (
        "first_since",
        "handshake_since",
        "idle_since",
        "lifetime_since",
        "lingering_since",
        "opened_at",
        "partial_bytes",
        "partial_since",
        "stalled_since",
        "timeouts",
    )

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.timeouts = timeouts
        self.opened_at = now
        self.lifetime_since: float | None = now
        self.handshake_since: float | None = None
        self.first_since: float | None = None
        self.idle_since: float | None = None
        self.partial_since: float | None = None
        self.partial_bytes = 0
        self.stalled_since: float | None = None
        self.lingering_since: float | None = None

    def next(self) -> tuple[float, Deadline] | None:
        """Return the earliest instant at which something would be due if nothing more happened, and what; or None."""
        timeouts = self.timeouts
        if self.lingering_since is not None:
            return None if timeouts.linger_s is None else (self.lingering_since + timeouts.linger_s, Deadline.LINGER)
        earliest, found = inf, None
        for since, patience, which in (
            *self._input(),
            (self.stalled_since, timeouts.write_s, Deadline.WRITE),
            (self.lifetime_since, timeouts.lifetime_s, Deadline.LIFETIME),
        ):
            if since is not None and patience is not None and since + patience < earliest:
                earliest, found = since + patience, which
        return None if found is None else (earliest, found)

    def _input(self) -> Iterable[tuple[float | None, float | None, Deadline]]:
        """Return what the peer may be blamed for not having sent: since when, for how long, and what it is called."""
        timeouts = self.timeouts
        if self.handshake_since is not None:
            return ((self.handshake_since, timeouts.handshake_s, Deadline.HANDSHAKE),)
        return (
            (self.first_since, timeouts.first_message_s, Deadline.FIRST_MESSAGE),
            (self.idle_since, timeouts.idle_s, Deadline.IDLE),
            (self.partial_since, self._message_s(), Deadline.MESSAGE),
        )

    def _message_s(self) -> float | None:
        """Return how long the message at hand may take: a long one more, as long as it comes at the slowest rate."""
        timeouts = self.timeouts
        if timeouts.message_s is None or timeouts.message_bytes_per_s is None:
            return timeouts.message_s
        return timeouts.message_s + self.partial_bytes // timeouts.message_bytes_per_s

    def due(self, now: float) -> Deadline | None:
        """Return which deadline has passed at ``now``, or None."""
        entry = self.next()
        return entry[1] if entry is not None and entry[0] <= now else None

    def closing(self, now: float) -> None:
        """The connection leaves: from here on only its flush is waited for, and then the peer's EOF."""
        self.handshake_since = self.first_since = self.idle_since = self.partial_since = self.lifetime_since = None
        self.stalled_since = now

    def lingering(self, now: float) -> None:
        """All output went out: from here on only the peer's EOF is waited for."""
        self.stalled_since = None
        self.lingering_since = now
