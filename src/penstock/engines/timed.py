"""What connections written in Python share whichever engine moves their bytes: their state, and one timer for all."""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import Any, Final, Protocol, TypeVar

from ..config import Timeouts
from ..core.contract import Clock, ConnectionBase
from ..core.deadlines import BLAMING, SILENCE, Deadline, Deadlines
from ..core.gate import Handshake
from ..core.states import LEAVING, RECEIVABLE, SENDABLE, Happening, State, after

M = TypeVar("M")

# How long whoever was woken has until the deadlines are looked at again.
AGAIN_S: Final = 0.01

# Looked up once: on Python 3.11 a member of an enum costs a tenth of a microsecond each time it is named.
_OPEN, _CLOSED = State.OPEN, State.CLOSED


class Timed(Protocol):
    """Something that has one timer.

    Attributes:
        due_at: When `expired` will be called; infinity for never.
        place: Where its timer is kept; None when there is none. Whoever keeps timers sets both.
    """

    due_at: float
    place: Any

    def expired(self) -> object:
        """The instant has come; or had come when the timer was changed at the last moment."""


class Alarms(Protocol):
    """Keeps the timers of many."""

    def arm(self, timed: Timed, when: float) -> None:
        """Have ``expired`` called at ``when``, and at no other instant that was set before."""

    def disarm(self, timed: Timed) -> None:
        """Do not call it."""


class ClockAlarms:
    """A timer of a clock for each.

    Args:
        clock: Where time comes from.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def arm(self, timed: Timed, when: float) -> None:
        """Have ``expired`` called at ``when``, and at no other instant that was set before."""
        timer = self._clock.call_at(when, timed.expired)
        self.disarm(timed)
        timed.due_at, timed.place = when, timer

    def disarm(self, timed: Timed) -> None:
        """Do not call it."""
        timer, timed.place = timed.place, None
        timed.due_at = inf
        if timer is not None:
            timer.cancel()


class TimedConnection(ConnectionBase[M]):
    """A connection that goes through the table of states, and through its deadlines with one timer.

    Traffic moves instants in `_deadlines`; the timer looks at them when it fires. Whoever starts a clock that may end
    before the timer calls `_arm`.

    Args:
        clock: Where time comes from.
        alarms: Keeps the timer.
        timeouts: At first.
    """

    __slots__ = (
        "_alarms",
        "_can_receive",
        "_can_send",
        "_clock",
        "_deadlines",
        "_handshake",
        "_leaving",
        "_overdue",
        "_state",
        "due_at",
        "place",
    )

    def __init__(self, clock: Clock, alarms: Alarms, timeouts: Timeouts) -> None:
        self._clock = clock
        self._alarms = alarms
        self._deadlines = Deadlines(timeouts, clock.time())
        self.due_at = inf
        self.place: Any = None
        self._handshake: Handshake | None = None
        self._overdue = False  # whoever was woken by what came in time calls `_decide` when it waits again
        self._become(_OPEN)

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _take_handshake(self, now: float) -> Handshake:
        """Ask the gate for one.

        Raises:
            LocalProtocolError: A client has no gate.
        """

    @abstractmethod
    def _pending_bytes(self) -> int:
        """Return how many bytes of incomplete messages there are."""

    @abstractmethod
    def _look(self) -> None:
        """Read what has come and send what waits, as far as the kernel lets; then call `_decide`: law 11."""

    @abstractmethod
    def _is_woken(self) -> bool:
        """Return whether whoever waits for messages was told of something and has not run since."""

    @abstractmethod
    def _expire(self, which: Deadline) -> None:
        """A deadline has passed."""

    # -- states --------------------------------------------------------------------------------------------------------

    def _happen(self, happening: Happening) -> None:
        self._become(after(self._state, happening))

    def _become(self, state: State) -> None:
        self._state = state
        # Asked for every read and every message: three attributes cost less than three look-ups in sets.
        self._can_send = state in SENDABLE
        self._can_receive = state in RECEIVABLE
        self._leaving = state in LEAVING
        if self._leaving:
            self._leave_handshake()

    # -- the handshake -------------------------------------------------------------------------------------------------

    def begin_handshake(self) -> None:
        """Give the peer so long to show who it is."""
        if self._handshake is None and not self._leaving:
            self._handshake = self._take_handshake(self._clock.time())
            self._deadlines.handshake_since = self._handshake.since
            self._arm_next()

    def end_handshake(self) -> None:
        """The peer has shown who it is."""
        self._leave_handshake()
        self._arm_next()

    def _leave_handshake(self) -> None:
        if self._handshake is not None:
            self._give_back_handshake(self._handshake)
            self._handshake = self._deadlines.handshake_since = None

    def _give_back_handshake(self, handshake: Handshake) -> None:
        """Tell the gate that it is over."""
        handshake.end()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        self._deadlines.timeouts = self._deadlines.timeouts.merged(**timeouts)
        self._arm_next()

    def _arm_next(self) -> None:
        """Have `expired` called when the next deadline is due."""
        entry = self._deadlines.next()
        if entry is not None and self._state is not _CLOSED:
            self._arm(entry[0])

    def _arm(self, when: float) -> None:
        """Have `expired` called no later than ``when``. A timer that comes earlier is left: it sets the next one."""
        if when < self.due_at:
            self._alarms.arm(self, when)

    def _disarm(self) -> None:
        self._alarms.disarm(self)

    def expired(self) -> None:
        """Do what is due. Called when the timer fires."""
        self._disarm()
        if self._state is _CLOSED:
            return  # the peer's EOF was faster than the end of the wait for it
        if self._due() in BLAMING:
            self._look()
        else:
            self._decide()

    def _due(self) -> Deadline | None:
        self._deadlines.partial_bytes = self._pending_bytes()
        return self._deadlines.due(self._clock.time())

    def _decide(self) -> None:
        """Expire if anything is due by now, else set the timer for what is next."""
        self._overdue = False
        if self._state is _CLOSED:
            return
        which = self._due()
        if which is None:
            self._arm_next()
        elif which in SILENCE and self._is_woken():
            self._overdue = True
            self._arm(self._clock.time() + AGAIN_S)  # it may not wait again for long, and other deadlines count
        elif which is Deadline.LIFETIME:
            # Said once: a handler at work comes to its end first, and must not wait for ever for a peer to read.
            self._deadlines.lifetime_since = None
            self._expire(which)
            self._arm_next()
        else:
            self._expire(which)
