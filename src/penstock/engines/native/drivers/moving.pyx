"""Connections that may go on in another process, as `engines.loop.moving` has them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from posix.unistd cimport close as close_fd

from ..connection.transport cimport Block, Stack
from ..framing.uncompiled cimport CodecInput
from ..sealed cimport seal

from ....core.compiled_law.closing cimport _CLOSED as CLOSED, _LOCAL_EOF as LOCAL_EOF
from ....core.compiled_law.deadlines cimport _OWN as OWN
from ....core.compiled_law.durations cimport Durations
from ....core.compiled_law.levels cimport Levels

from ....core.events import HandlerFailed
from ....core.handover import CannotMoveError
from ....core.handover.law import go_on as clocks_go_on, stall_goes_on, why_it_stays
from ....core.inbound import Remembered
from ....core.interrupts import is_interrupt
from ....reasons import CloseReason
from ...held import HeldLink
from ...luggage import Late, Luggage, take_state

cdef object DONE = CloseReason.DONE
cdef object HANDED_OVER = CloseReason.HANDED_OVER


cdef class HeldStack(Stack):
    """That of a connection that is held."""


cdef class MovingConnection(Connection):
    """The part of a connection that moves. While it is held it is as in the middle of a callback: nothing begins."""

    cdef object while_held(self):
        """Return the `HeldLink` of a connection that is held; None where it is not."""
        return (<Stack>self.layer).top if self.layer is not None and isinstance(self.layer, HeldStack) else None

    # What a connection that is held does not do.

    cdef int watch_wanted(self) except -1:
        return 0 if self.while_held() is not None else Connection.watch_wanted(self)

    cdef int tick(self) except -1:
        return 0 if self.while_held() is not None else Connection.tick(self)

    cdef int obey(self, int verdict) except -1:
        return 0 if verdict and self.while_held() is not None else Connection.obey(self, verdict)

    cdef int lose(self, object reason) except -1:
        held = self.while_held()
        if held is None or not held.is_gone:
            return Connection.lose(self, reason)
        held.lost = held.lost or reason  # the other process ends it
        return 0

    cdef Py_ssize_t behind(self) except -1:
        held = self.while_held()
        return Connection.behind(self) + (0 if held is None else len(held.sent))

    def held_more(self, queued_bytes):
        """So much is kept by the link that it has while it is held."""
        self.owe(self.all_owed())
        self._queued(queued_bytes, self.room_bytes(), self.time())

    cdef str why_handler_stays(self):
        """Say why its handler cannot go on in another process from here; empty where it can."""
        return "its handler is at work" if self._handling else ""

    def is_at_work(self):
        """Say whether only its handler's work keeps it, which has been at a point before from which it moves on."""
        return False

    cdef bytes tell(self, object mover):
        """Return what its handler has to say to the next process."""
        context = self.host.contexts.enter(self.variables)
        try:
            return mover.state_of(self, self.callbacks)
        finally:
            self.variables = self.host.contexts.leave(self.variables, context)

    cdef bint handler_waits(self) except -1:
        """Say whether its handler, which has spoken, goes on nowhere yet."""
        return True

    cdef int handler_leaves(self) except -1:
        """The connection is another process's: let go of the handler, then of the connection."""
        return self.released()

    cdef int handler_arrives(self, object arrival) except -1:
        """Have the handler know what it knew in the process before."""
        context = self.host.contexts.enter(self.variables)
        try:
            take_state(self, self.callbacks, arrival.state, arrival.snapshot.places)
        finally:
            self.variables = self.host.contexts.leave(self.variables, context)
        return 0

    cdef int handler_goes_on(self) except -1:
        """The connection is this process's: a handler that has to begin for that begins."""
        return 0

    cdef int called(self, object error) except -1:
        """A callback has returned, or raised."""
        return 0

    cdef int go_on(self) except -1:
        """Handle what is there, and read on, unless something keeps it from that."""
        return 0

    # -- leaving -------------------------------------------------------------------------------------------------------

    def why_it_stays(self):
        """Say why it cannot be handed over now; empty where it can."""
        return self.why_handler_stays() or self.why_held_up()

    cdef str why_link_stays(self):
        if not self.begun or self._gone or self.lost or (self.host.upgrades and self in self.host.upgrades):
            return "it has not begun, or has ended"
        if self.layer is not None or self.read_over or self.shutting:
            return "its link cannot move"
        return ""

    cdef str why_held_up(self):
        cdef CodecInput uncompiled = self.uncompiled
        why = self.why_link_stays()
        if why:
            return why
        if self.framing is None:
            inbound = uncompiled.inbound
            if inbound.requests:
                return "its peer owes a reply"
            if uncompiled.at < len(uncompiled.batch) and not inbound.gives_back:
                return "a message is at work"
        return why_it_stays(self)

    def hold(self, mover):
        """Stop here: read and send nothing, and return what another process has to know; None where it has to stay.

        `stay` or `move_on` follows.
        """
        cdef bytes state = b""
        failure = None
        if self.why_it_stays():
            return None
        self.corking = self._handling = True
        try:
            state = self.tell(mover)
        except BaseException as error:
            failure = error
        if failure is None and self._close_after is None:
            try:
                self.uncork()
            except BaseException as error:
                failure = error
            if failure is None and not self.why_held_up():
                return self.stop_here(mover, state)
        elif failure is not None and not is_interrupt(failure):
            self.host.told(HandlerFailed(self, failure))
            failure = None
        self.corking = self._handling = False
        self.called(failure)
        return None

    cdef object stop_here(self, object mover, bytes state):
        cdef double now = self.time()
        cdef HeldStack stack = HeldStack.__new__(HeldStack)
        held = HeldLink(None, self.held_more)
        self.disarm()
        self._stops_listening(now)
        held.reads = bool(self.reading)
        held.remember(self)
        held.owed_bytes = self.owed()
        self.reading = self.sending = False
        self.watch_wanted()
        stack.bottom = stack.top = held
        self.layer = stack
        snapshot = None
        try:
            snapshot = self.put_down(mover, held, state, now)
        except BaseException as error:
            self.stay()
            if not isinstance(error, CannotMoveError):
                raise
        if snapshot is None:
            return None
        self._forgets_output()
        self._write_paused = held.output_paused
        self.sending = True  # what is posted goes by the policy; see `watch_wanted`
        held.knows(self, snapshot.places)
        return snapshot

    cdef object put_down(self, object mover, object held, bytes state, double now):
        cdef Block* out = self.out
        cdef CodecInput uncompiled = self.uncompiled
        cdef bytes pending = b"", owed = b""
        if out != NULL:
            owed = PyBytes_FromStringAndSize(<char*>(out + 1) + out.at, self.owed())
        if self.framing is None:
            inbound = uncompiled.inbound
            if uncompiled.at < len(uncompiled.batch):
                uncompiled.cut_by(inbound.codec, inbound.silence_counts)
            pending = inbound.pending()
        elif self.input != NULL:
            pending = self.input.at[:self.input.end - self.input.at]
        return mover.snapshot(self, Luggage(pending, self.remembered(), owed, held.waiting(), state), now)

    cdef object remembered(self):
        """Return what is known of the input beside its bytes: compiled framing cuts where silence counts no longer."""
        cdef CodecInput uncompiled = self.uncompiled
        if self.framing is None:
            inbound = uncompiled.inbound
            return inbound.remembered()
        return None if self.framing.codec.quiet_s is None else Remembered(None, False, None)

    def still_moves(self):
        """Whether nothing has come up since `hold` that has to end here. If so it is the other process's."""
        cdef CodecInput uncompiled = self.uncompiled
        held = self.while_held()
        if held is None or self._state == CLOSED:
            return False
        if self._close_after is not None or self._gone or self.lost or (self.host.upgrades and self in self.host.upgrades):
            return False
        if uncompiled is not None and uncompiled.inbound.requests:
            return False
        if (self._rare is not None and self._rare.tasks) or not held.is_as_told(self) or not self.handler_waits():
            return False
        held.is_gone = True
        return True

    def stay(self):
        """Go on here: nobody took it over."""
        held = self.while_held()
        if held is None or self.lost:
            return
        self.layer = None
        later = held.restore(self)
        sent = bytes(held.sent) + self.take_corked() + later
        self.sending = self.owed() > 0
        self.watch_wanted()
        if sent and self._write_paused:
            self._queue().keep(sent)
            self.count_owed()
        elif sent:
            self.sent(len(sent))
            self.transmit_before(sent)
        if held.sends_eof:
            self.end_output_below()
        self.corking = self._handling = False
        self.called(None)
        if held.lost is not None:
            self.lose(held.lost)
        if self.lost or self._state == CLOSED:
            return
        if held.reads and not self._write_paused:
            self.read_again()
        self.arm_next()
        if self.drains and not self._closing:  # it was told so meanwhile
            (<object>self).drain()

    cdef int transmit_before(self, bytes data) except -1:
        """Send bytes before those that are being gathered."""
        return self.transmit_through(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), NULL)

    def move_on(self):
        """Be here no more: another process goes on with it. Return what it has to do that was asked for meanwhile."""
        held = self.while_held()
        queue = self._queue_if_any()
        rest = queue.take(len(queue)) if queue else b""
        sent = b"" if held is None else bytes(held.sent)
        data = sent + self.take_corked() + rest + self.host.server.waiting_for(self)
        lost = "" if held is None else str(held.lost or "")
        late = Late(data, bool(self._closing) or self._close_after is not None, lost)
        if not self._gone and not self.lost:
            self.unwatch()
            self.poller.release(self)
            self.vanish()
        return late

    cdef int vanish(self) except -1:
        """Leave without a word to the peer: close this copy of the descriptor, and tell that it is another process's."""
        self.layer = self.callbacks = None
        self.lost = self.shutting = True
        self.sending = self.corking = self._handling = False
        self.drop_output()
        self._lost(HANDED_OVER)
        self._gone = True
        self._forgets_output()
        self.disarm()
        self.handshake_is_over()
        self.owe(0)
        close_fd(self.fd)
        self.fd = -1
        return self.handler_leaves()

    # -- arriving ------------------------------------------------------------------------------------------------------

    def take_over(self, arrival):
        """Be what another process was told of; have the handler take over. `begin` follows, or `never_was`.

        Raises:
            Exception: What the handler raises.
        """
        cdef double now = self.time()
        snapshot = arrival.snapshot
        self.id = snapshot.id
        self.bytes_in = snapshot.bytes_in
        self.messages_in = snapshot.messages_in
        self.messages_out = snapshot.messages_out
        self.bytes_out = snapshot.bytes_out - len(snapshot.owed)
        if snapshot.timeouts:
            self._durations = Durations(arrival.timeouts)
        if snapshot.limits:
            self._levels = Levels(arrival.limits)
        self.take_input(arrival)
        clocks_go_on(self, arrival.ages, now)
        if "handshake" in arrival.ages:
            self.host.handshakes[self] = self.host.gate.begin_handshake(now)
            self._begins_handshake(now - <double>arrival.ages["handshake"], OWN)
        self._handling = True
        try:
            self.handler_arrives(arrival)
        finally:
            self._handling = False

    cdef int take_input(self, object arrival) except -1:
        cdef CodecInput uncompiled
        if arrival.codec is not self.codec:
            self.switch(arrival.codec)
        if self.framing is not None:
            return self.hold_rest(arrival.snapshot.pending)
        uncompiled = self.uncompiled
        uncompiled.inbound.recall(arrival.snapshot.pending, arrival.remembered)
        return 0

    def never_was(self):
        """Be no connection of this process after `take_over`: it has gone on where it was."""
        self.vanish()

    def begin(self, arrival):
        """Read and send from now on: no other process does any more."""
        try:
            self.begin_again(arrival)
        except BaseException as error:
            self.failed(error)
            if is_interrupt(error):
                raise

    cdef int begin_again(self, object arrival) except -1:
        cdef double now = self.time()
        snapshot = arrival.snapshot
        self.open(self.fd)
        self._attached = self.begun = True
        if self._state == CLOSED:  # its handler has aborted it
            self.reset_on_close()
            self.break_down(None)
            return 0
        if snapshot.owed:
            self.sent(len(snapshot.owed))
            self.transmit_before(snapshot.owed)
        if snapshot.frames and not self.lost:
            if self._write_paused:
                self._queue().recall(snapshot.waiting, snapshot.frames, arrival.names)
            else:
                self.sent(len(snapshot.waiting))
                self.transmit_before(snapshot.waiting)
        stall_goes_on(self, arrival.ages, now)
        self.corking = False
        self.uncork()
        if self._state == LOCAL_EOF:
            self.end_output_below()
        if self._close_after is not None:
            self.leave(self._close_after)
        if self.lost or self._closing:
            return 0
        self.arm_next()
        self.handler_goes_on()
        if self.drains:
            (<object>self).drain()
        elif not self._rate_held() and not self._write_paused:
            self.go_on()
        return 0

    def arrived_late(self, late):
        """Do what was asked for in the other process while the connection moved."""
        if late.lost:
            self.lose(CloseReason(late.lost))
            return
        if late.data and self._can_send:
            self.put(late.data)
            self.messages_out += 1
        if late.closes:
            self.leave(DONE)


seal(globals())
