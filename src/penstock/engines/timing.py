"""The deadlines of a connection: when the next one is due, what is done then, and the place of a handshake."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..codecs.base import Codec
from ..config import Timeouts
from ..core.contract import NO_HANDSHAKE
from ..core.inbound import StreamInbound
from ..core.law.closing import CLOSED, CUT, RESET
from ..core.law.deadlines import ANY, IDLE, LIFETIME, NOT_DUE, OWN, RESTART, SILENCE, TAKE_REST, TELL, TIMEOUTS, WRITE
from ..core.law.rate import GO_ON
from ..core.records import RecordInbound
from ..core.timeouts import Timeout
from ..errors import LocalProtocolError
from ..reasons import CloseReason
from .context import Context
from .sending import SendingConnection

if TYPE_CHECKING:
    from ..core.gate import Handshake

M = TypeVar("M")

# How long a coroutine or a thread that was woken has until the deadlines are looked at again.
AGAIN_S: Final = 0.01


class TimedConnection(SendingConnection[M], Generic[M]):
    """The part of a connection that ends what takes too long. What that is, the law says.

    Args:
        context: Who made it.
        codec: What cuts its stream into messages.
        records: Its link carries records, not bytes.
    """

    __slots__ = ("_handshake", "_inbound", "_overdue")

    def __init__(self, context: Context, codec: Codec[M], *, records: bool) -> None:
        super().__init__(context, codec, records=records)
        self._inbound: StreamInbound[M] | RecordInbound[M] = RecordInbound(codec) if records else StreamInbound(codec)
        self._handshake: Handshake | None = None  # its place at the gate
        self._overdue = False  # what was woken in time calls `_decide` when it waits again

    @property
    def opened_at(self) -> float:  # type: ignore[override]
        """When it began, on the engine's clock."""
        return self._opened_at

    @property
    def timeouts(self) -> Timeouts:
        """Its own."""
        return self._durations.timeouts

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _close(self, reason: CloseReason) -> None:
        """Send what is queued, then end."""

    @abstractmethod
    def _timed_out(self, which: Timeout) -> bool:
        """A deadline passed. Return whether the connection will close by itself; else it is closed right after this."""

    @abstractmethod
    def _look(self) -> None:
        """Read what has come and send what waits, as far as the kernel lets; then call `_decide`: law 11."""

    @abstractmethod
    def _go_on(self) -> None:
        """There is room for a message again: `_allows` held it back before."""

    @abstractmethod
    def _is_read(self) -> bool:
        """Return whether what the peer sends is read as it comes."""

    @abstractmethod
    def _take_rest(self) -> None:
        """Handle what the input's silence has made a message, or have it received where one is waited for."""

    def _asks_whether_idle_may_stay(self) -> bool:
        """Ask the handler about the connection, which is idle, if it wants to be; return whether that was done."""
        return False

    def _is_woken(self) -> bool:
        """Return whether a coroutine or thread that waits for messages was told of something and has not run since."""
        return False

    # -- the handshake -------------------------------------------------------------------------------------------------

    def begin_handshake(self) -> None:
        """Give the peer so long to show who it is."""
        self._begin_handshake_of(OWN)

    def end_handshake(self) -> None:
        """The peer has shown who it is."""
        if self._in_handshake() and self._attached:
            self._link.trust()
        self._end_handshake_of(OWN)

    def _begin_handshake_of(self, whose: int) -> None:
        if self._closing:
            return
        now = self._clock.time()
        if self._handshake is None:
            self._keep_place(self._take_place(now))
        if not self._closing:
            try:
                self._begins_handshake(now, whose)
            except BaseException:  # there was no memory or stack to note it
                self._end_place(whose)
                raise
            self._arm_next()

    def _end_handshake_of(self, whose: int) -> None:
        self._end_place(whose)
        self._arm_next()

    def _take_place(self, now: float) -> Handshake:
        gate = self._context.gate
        if gate is None:
            raise LocalProtocolError(NO_HANDSHAKE)
        return gate.begin_handshake(now)

    def _keep_place(self, handshake: Handshake) -> None:
        """Keep a place, unless a signal handler has begun a handshake meanwhile, or ended the connection."""
        if self._handshake is None and not self._closing:
            self._handshake = handshake
        else:
            handshake.end()

    def _end_place(self, whose: int = ANY) -> None:
        """Give the place at the gate back, if there is one, and nobody else's handshake needs it.

        Should that fail it is done by whatever ends a handshake next, or by the end of the connection.
        """
        self._ends_handshake(whose)
        handshake = self._handshake
        if handshake is not None and not self._in_handshake():
            self._give_back(handshake)
            if self._handshake is handshake:  # else a signal handler has done it meanwhile
                self._handshake = None
                if self._in_handshake():  # or it has begun the next one, which had this place
                    self._keep_place(self._take_place(self._clock.time()))

    def _give_back(self, handshake: Handshake) -> None:
        handshake.end()

    # -- deadlines -----------------------------------------------------------------------------------------------------

    def set_timeouts(self, **timeouts: float | None) -> None:
        """Change this connection's timeouts."""
        self._durations = self._context.durations_of(self._durations.timeouts.merged(**timeouts))
        self._arm_next()

    def _arm_next(self) -> None:
        """Have `expired` called when the next deadline is due."""
        self._arm(self._due_at(self._inbound.pending_bytes))

    def _arm(self, when: float) -> None:
        """Have `expired` called no later than ``when``. A timer that comes earlier is left: it sets the next one."""
        if when < self.due_at and self._state != CLOSED:
            self._context.alarms.arm(self, when)

    def _disarm(self) -> None:
        self._context.alarms.disarm(self)

    def expired(self) -> None:
        """Do what is due. Called when the timer fires."""
        self._disarm()
        which = self._due_now()
        if which == SILENCE and self._is_put_off(self._clock.time()):
            self._decide()
        elif NOT_DUE < which < LIFETIME:  # it holds something against the peer
            self._look()
        else:
            self._decide()

    def _due_now(self) -> int:
        return self._due(self._clock.time(), self._inbound.pending_bytes)

    def _decide(self) -> None:
        """Do what is due by now, or set the timer for what is next."""
        self._overdue = False
        if self._state == CLOSED:
            return  # the peer's EOF was faster than the end of the wait for it
        which = self._due_now()
        if which == NOT_DUE:
            self._arm_next()
        elif which < WRITE and self._is_woken():
            self._overdue = True
            self._arm(self._clock.time() + AGAIN_S)  # it may not wait again for long, and other deadlines count
        elif which == IDLE and self._asks_whether_idle_may_stay():
            self._arm_next()
        else:
            self._expire(which)
            if which >= WRITE:  # the peer reads on; or a handler at work comes to its end, and waits for no reader long
                self._arm_next()

    def _expire(self, which: int) -> None:
        verdict = self._expires(which, self._has_progressed(self._link.queued_bytes) if self._attached else False)
        deadline = TIMEOUTS[which] if which < len(TIMEOUTS) else None
        if verdict == TELL:
            assert deadline is not None
            if not self._timed_out(deadline):
                self._close(deadline.value)
            self._arm_next()  # what its handler still sends has a peer that may not read it
        elif verdict == RESTART:
            self._stall_begins()
        elif verdict == RESET:
            assert deadline is not None
            self._lose(deadline.value)
        elif verdict == CUT:
            self._link.abort()
        elif verdict == GO_ON:
            self._go_on()
        elif verdict == TAKE_REST:
            self._fell_silent()

    def _fell_silent(self) -> None:
        """Nothing has come for long enough: end the message at hand, if that is true of all that counts."""
        inbound = self._inbound
        if inbound.quiet_s is None:
            self._listens_for(None)  # the peer ends its messages itself by now
        elif not self._is_read():
            self._stops_listening(self._clock.time())
        else:
            self._falls_silent()
            inbound.note_silence()
            self._take_rest()
        self._arm_next()
