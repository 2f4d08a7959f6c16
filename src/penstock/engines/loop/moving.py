"""Connections that may go on in another process: held, told of, then given up here or taken back; or taken over."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar, cast

from ...core.events import HandlerFailed
from ...core.handover import CannotMoveError
from ...core.handover import law as moving
from ...core.inbound import StreamInbound
from ...core.interrupts import is_interrupt
from ...core.law.closing import CLOSED, LOCAL_EOF
from ...core.law.deadlines import OWN
from ...reasons import CloseReason
from ..held import HeldLink
from ..link import Link
from ..luggage import Arrival, Late, Luggage
from .stream import StreamConnection

if TYPE_CHECKING:
    from ...core.handover.snapshot import Snapshot
    from ..handover import Mover
    from .link import SocketLink

M = TypeVar("M")


class MovingConnection(StreamConnection[M]):
    """The part of a connection that moves. While it is held it is as in the middle of a callback: nothing begins."""

    __slots__ = ()

    # -- what a subclass does ------------------------------------------------------------------------------------------

    @abstractmethod
    def _why_handler_stays(self) -> str:
        """Say why its handler cannot go on in another process from here; empty where it can."""

    def is_at_work(self) -> bool:
        """Say whether only its handler's work keeps it, which has been at a point before from which it moves on."""
        return False

    @abstractmethod
    def _tell(self, mover: Mover) -> bytes:
        """Return what its handler has to say to the next process."""

    @abstractmethod
    def _asks_for_more(self) -> bool:
        """Whether the handler, which has spoken, has asked for something that is to be done here."""

    @abstractmethod
    def _called(self, error: BaseException | None, handled: int, unhandled: int) -> None:
        """It is held no longer, or will not be: do what was asked for meanwhile."""

    @abstractmethod
    def _handler_leaves(self) -> None:
        """The connection is another process's: let go of the handler, then of the connection."""

    @abstractmethod
    def _handler_arrives(self, arrival: Arrival) -> None:
        """Have the handler know what it knew in the process before."""

    @abstractmethod
    def _handler_goes_on(self) -> None:
        """The connection is this process's: a handler that has to begin for that begins."""

    @abstractmethod
    def _goes_on(self) -> None:
        """Handle what is there, and read on, unless something keeps it from that."""

    # -- leaving -------------------------------------------------------------------------------------------------------

    def why_it_stays(self) -> str:
        """Say why it cannot be handed over now; empty where it can."""
        return self._why_handler_stays() or self._why_held_up()

    def _why_held_up(self) -> str:
        if why := self._why_link_stays():
            return why
        if self._inbound.requests:
            return "its peer owes a reply"
        return moving.why_it_stays(self)

    def _why_link_stays(self) -> str:
        if not self._begun or self._gone or self._upgrade is not None:
            return "it has not begun, or has ended"
        if self._records or not self._link.may_move:
            return "its link cannot move"
        return ""

    def hold(self, mover: Mover) -> Snapshot | None:
        """Stop here: read and send nothing, and return what another process has to know; None where it has to stay.

        `stay` or `move_on` follows.
        """
        if self.why_it_stays():
            return None
        self._corking = self._handling = True
        state, failure = b"", None
        try:
            state = self._tell(mover)
        except BaseException as error:
            failure = error
        if failure is not None and is_interrupt(failure):
            self._called(failure, 0, 0)
            return None
        if failure is None and not self._asks_for_more() and self._close_after is None:
            self._corking = False
            try:
                self._uncork()
            except BaseException as error:
                failure = error
            self._corking = True
            if failure is None and not self._why_held_up():
                return self._hold(mover, state)
        elif failure is not None:
            self._emit(HandlerFailed(self, failure))
            failure = None
        self._called(failure, 0, 0)
        return None

    def _hold(self, mover: Mover, state: bytes) -> Snapshot | None:
        now = self._clock.time()
        self._disarm()
        self._stops_listening(now)
        held = HeldLink(self._link)
        held.reads = not self._reading_paused
        held.remember(self)
        link, self._link = self._link, held
        try:
            owed = link.hold()
            held.owed_bytes = len(owed)
            inbound = cast("StreamInbound[M]", self._inbound)
            luggage = Luggage(inbound.pending(), inbound.remembered(), owed, held.waiting(), state)
            snapshot = mover.snapshot(self, luggage, now)
        except BaseException as error:
            self.stay()
            if isinstance(error, CannotMoveError):
                return None
            raise
        self._forgets_output()
        self._write_paused = held.output_paused
        held.knows(self, snapshot.places)
        return snapshot

    def still_moves(self) -> bool:
        """Whether nothing has come up since `hold` that has to end here. If so it is the other process's."""
        held = self._link
        if not isinstance(held, HeldLink) or self._state == CLOSED or self._close_after is not None or self._gone:
            return False
        if self._asks_for_more() or self._upgrade_or_task() or not held.is_as_told(self):
            return False
        held.is_gone = True
        return True

    def _held(self) -> HeldLink | None:
        link = getattr(self, "_link", None)  # an observer that hears of its acceptance is told before there is one
        return link if isinstance(link, HeldLink) else None

    def expired(self) -> None:
        """Do what is due, unless it is held: `stay` looks again, and so does the other process."""
        if self._held() is not None:
            self._disarm()
        else:
            super().expired()

    def _obey(self, verdict: int) -> None:
        if verdict and self._held() is None:
            super()._obey(verdict)

    def _lose(self, reason: CloseReason) -> None:
        held = self._held()
        if held is not None and held.is_gone:
            held.lost = held.lost or reason  # the other process ends it
        else:
            super()._lose(reason)

    def _upgrade_or_task(self) -> bool:
        rare = self._rare
        return self._upgrade is not None or bool(self._inbound.requests) or (rare is not None and rare.tasks > 0)

    def stay(self) -> None:
        """Go on here: nobody took it over."""
        held = self._link
        if not isinstance(held, HeldLink) or self._state == CLOSED:
            return
        link = cast("Link", held.below)
        self._link = link
        later = held.restore(self)
        sent = bytes(held.sent) + b"".join(self._corked) + later
        self._let_go_of_corked()
        link.take_back()
        if sent and self._write_paused:
            self._queue().keep(sent)
        elif sent:
            self._write(sent)
        if held.sends_eof:
            link.send_eof()
        self._called(None, 0, 0)
        if held.lost is not None:
            self._lose(held.lost)
            return
        if held.reads and not self._reading_paused and not self._closing:
            link.resume_reading()
        self._arm(self._listens_again(self._clock.time()))
        self._arm_next()
        if self._draining and not self._closing:  # it was told so meanwhile
            self.drain()

    def move_on(self) -> Late:
        """Be here no more: another process goes on with it. Return what it has to do that was asked for meanwhile."""
        held = cast("HeldLink", self._link)
        queue = self._queue_if_any()
        rest = queue.take(len(queue)) if queue else b""
        data = bytes(held.sent) + b"".join(self._corked) + rest + self.server.waiting_for(self)
        late = Late(data, self._closing or self._close_after is not None, str(held.lost or ""))
        if self._state == CLOSED:
            return late  # aborted, and told
        cast("SocketLink", held.below).depart()
        self._lost(CloseReason.HANDED_OVER)
        self._gone = True
        self._drop_output()
        self._inbound.clear()
        self._corking = self._handling = False
        self._handler_leaves()
        return late

    # -- arriving ------------------------------------------------------------------------------------------------------

    def take_over(self, arrival: Arrival) -> None:
        """Be what another process was told of; have the handler take over. `go_on` follows, or nothing at all.

        Raises:
            Exception: What the handler raises.
        """
        snapshot, now = arrival.snapshot, self._clock.time()
        self.id = snapshot.id
        self.bytes_in, self.messages_in = snapshot.bytes_in, snapshot.messages_in
        self._messages_out = snapshot.messages_out
        self.bytes_out = snapshot.bytes_out - len(snapshot.owed)
        if snapshot.timeouts:
            self._durations = self._context.durations_of(arrival.timeouts)
        if snapshot.limits:
            self._levels = self._context.levels_of(arrival.limits)
        if arrival.codec is not self.codec:
            self.codec = arrival.codec
            self._inbound = StreamInbound(arrival.codec, skips_bad=self._on_bad_message != "close")
            self._watch_input()
        cast("StreamInbound[M]", self._inbound).recall(snapshot.pending, arrival.remembered)
        moving.go_on(self, arrival.ages, now)
        if "handshake" in arrival.ages:
            self._handshake = self._take_place(now)
            self._begins_handshake(now - arrival.ages["handshake"], OWN)
        self._handling = True
        try:
            self._handler_arrives(arrival)
        finally:
            self._handling = False

    def never_was(self) -> None:
        """Be no connection of this process after `take_over`: it has gone on where it was."""
        self._lost(CloseReason.HANDED_OVER)
        self._gone = True
        self._drop_output()
        self._handler_leaves()

    def go_on(self, link: Link, arrival: Arrival) -> None:
        """Read and send from now on: no other process does any more."""
        snapshot, now = arrival.snapshot, self._clock.time()
        self._link = link
        self._attached = self._begun = True
        self._reading_paused = True
        link.pause_reading()
        self._await_notice()
        if self._state == CLOSED:  # its handler has aborted it
            self._reset()
            return
        if snapshot.owed:
            self._write(snapshot.owed)
        if snapshot.frames and not self._closing:
            if self._write_paused:
                self._queue().recall(snapshot.waiting, snapshot.frames, arrival.names)
            else:
                self._write(snapshot.waiting)
        moving.stall_goes_on(self, arrival.ages, now)
        self._corking = False
        self._uncork()
        if self._state == LOCAL_EOF:
            link.send_eof()
        if self._close_after is not None:
            self._close(self._close_after)
        if self._state == CLOSED or self._closing:
            return
        self._arm_next()
        self._handler_goes_on()
        if self._draining:
            self.drain()
        elif not self._rate_held() and not self._write_paused:
            self._goes_on()

    def arrived_late(self, late: Late) -> None:
        """Do what was asked for in the other process while the connection moved."""
        if late.lost:
            self._lose(CloseReason(late.lost))
            return
        if late.data and self._can_send:
            self._put(late.data)
        if late.closes:
            self._close(CloseReason.DONE)
