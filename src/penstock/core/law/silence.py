"""How long a peer has sent nothing, where its codec takes that for the end of a message: `Codec.quiet_s`."""

from __future__ import annotations

from math import inf

_INFINITY = inf

# A timer that comes later than this was held up: the loop was at work elsewhere, or the process did not run. Timers are
# late by a tick or two on a machine with nothing else to do.
HELD_UP_S = 0.005
_HELD_UP_S = HELD_UP_S
_UNKNOWN = -1


class Silence:
    """The clock of one connection's silence. Only time in which the peer could have been heard counts.

    Args:
        quiet_s: How long nothing has to come.

    Attributes:
        due_at: When that will be so; infinity while it stands still, or nothing is left that a silence could end.
        left_s: How long is left of it, while it stands still; infinity for none.
        heard_bytes: How many bytes of the message at hand there were when it was set; -1: a message was taken since.
        stands_still: The peer is not read.
        was_held_up: Its end came late once, and was put off.
    """

    __slots__ = ("due_at", "heard_bytes", "left_s", "quiet_s", "stands_still", "was_held_up")

    def __init__(self, quiet_s: float) -> None:
        self.quiet_s = quiet_s
        self.due_at = self.left_s = _INFINITY
        self.heard_bytes = 0
        self.stands_still = False
        self.was_held_up = False

    def hears(self, now: float, partial_bytes: int) -> float:
        """So many bytes of a message are there: set the clock, if they are others than before. Return `due_at`."""
        if partial_bytes != self.heard_bytes:
            self.heard_bytes = partial_bytes
            self.was_held_up = False
            self.due_at = self.left_s = _INFINITY
            if not partial_bytes:
                pass
            elif self.stands_still:
                self.left_s = self.quiet_s
            else:
                self.due_at = now + self.quiet_s
        return self.due_at

    def takes(self) -> None:
        """A message was taken: as many bytes as before are others from now on. The clock goes on until they come."""
        self.heard_bytes = _UNKNOWN

    def leaves(self, now: float, partial_bytes: int) -> float:
        """So many bytes are left behind a message that was taken: their silence goes on, or begins. Return `due_at`."""
        if not partial_bytes:
            self.due_at = self.left_s = _INFINITY
        elif self.due_at == _INFINITY and self.left_s == _INFINITY:
            return self.hears(now, partial_bytes)
        self.heard_bytes = partial_bytes
        return self.due_at

    def stops(self, now: float) -> None:
        """The peer is not read any more."""
        self.stands_still = True
        if self.due_at != _INFINITY:
            self.left_s = self.due_at - now
            self.due_at = _INFINITY

    def goes_on(self, now: float) -> float:
        """The peer is read again. Return `due_at`."""
        self.stands_still = False
        if self.left_s != _INFINITY:
            self.due_at = now + self.left_s
            self.left_s = _INFINITY
        return self.due_at

    def is_put_off(self, now: float) -> bool:
        """Its timer has come: say whether it came so late that the silence has to go on, for as long again.

        What the peer sent while the engine was held up may have been held up as well. Once in a silence: an engine that
        is always late would never come to an end.
        """
        held_up_s = now - self.due_at
        if held_up_s <= _HELD_UP_S or self.was_held_up:
            return False
        self.was_held_up = True
        self.due_at = now + min(held_up_s, self.quiet_s)
        return True

    def ends(self) -> None:
        """It was long enough, and what had come by then was read."""
        self.due_at = _INFINITY
        self.heard_bytes = 0
